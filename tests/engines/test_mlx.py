"""What mlx_lm keeps: figures of its own cache classes and of tiny models, from a run on a CPU."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import DATA
from transformers_cases import MODELS, config_json

import kvcalc
from kvcalc import KvcalcError
from kvcalc.importers import import_config
from kvcalc.mechanisms import GQA, MHA
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import Model

MEASURED: dict[str, Any] = json.loads((DATA / "mlx" / "caches.json").read_text(encoding="utf-8"))
"""As tests/live/write_mlx_vectors.py found them."""

TOKENS, WIDTH = 300, 128
ROW = 2 * WIDTH * 2
"""A key and a value of one head in bf16."""
ONE_HEAD = MHA(num_heads=1, head_dim=WIDTH)
HEADS = GQA(num_heads=4, num_kv_heads=2, head_dim=64)


def model(*layers: LayerGroup, **fields: Any) -> Model:
    return Model(name="small", dtype="bf16", layers=layers, **fields)


def cache(asked: Model, context: int, batch: int = 1, **options: Any) -> int:
    return kvcalc.estimate(asked, engine="mlx", context=context, batch=batch, **options).cache.bytes


CLASSES: dict[str, LayerGroup] = {
    "full": LayerGroup(count=1, attention=ONE_HEAD),
    "rotating 128": LayerGroup(count=1, attention=ONE_HEAD, window=128),
    "rotating 512": LayerGroup(count=1, attention=ONE_HEAD, window=512),
    "rotating 1024": LayerGroup(count=1, attention=ONE_HEAD, window=1024),
    "chunk 512": LayerGroup(count=1, attention=ONE_HEAD, chunk=512),
}


@pytest.mark.parametrize("name", CLASSES)
def test_rows_of_its_classes(name: str) -> None:
    for tokens, rows in MEASURED[name].items():
        assert cache(model(CLASSES[name]), int(tokens), engine_option={"rotating": "1"}) == rows * ROW, tokens


def test_a_pass_over_one_token_grows_a_rotating_cache_by_steps() -> None:
    """mlx_lm 0.32.2: after 1,281 tokens in passes of 256, and one more, a window of 2,000 has 1,536 rows."""
    asked = model(LayerGroup(count=1, attention=ONE_HEAD, window=2000))
    options = {"rotating": "1", "prefill-step-size": "256"}
    assert cache(asked, 1282, engine_option=options) == 1536 * ROW
    assert cache(asked, 1283, engine_option=options) == 1538 * ROW


def test_max_kv_size_is_a_rotating_cache_of_every_layer() -> None:
    for tokens, rows in MEASURED["rotating 512"].items():
        assert cache(model(CLASSES["full"]), int(tokens), engine_option={"max-kv-size": "512"}) == rows * ROW


def test_models_are_to_the_byte() -> None:
    assert set(MEASURED["models"]) == set(MODELS)
    compared = 0
    for name, found in MEASURED["models"].items():
        if found is not None:
            values = {**config_json(name), "torch_dtype": found["torch_dtype"]}
            asked = import_config(json.dumps(values), "config.json", "tiny").model
            assert cache(asked, TOKENS) == found["bytes"], name
            compared += 1
    assert compared >= 18


def test_quantised_caches() -> None:
    for name, size in MEASURED["quantised"].items():
        bits, group = name.split()
        options = {"kv-bits": bits, "kv-group-size": group, "quantized-kv-start": "0"}
        assert cache(model(CLASSES["full"]), TOKENS, engine_option=options) == size


def test_a_cache_is_as_computed_until_it_is_quantised() -> None:
    """5,000 tokens are 5,120 rows of 512 bytes; 8 bits in groups of 64 are 272 bytes a row."""
    asked = model(CLASSES["full"])
    held = [cache(asked, tokens, engine_option={"kv-bits": "8"}) for tokens in (4000, 5000, 8000, 12_000)]
    assert held == [4096 * 512, 5120 * 512, 5120 * 512, 12_032 * 272]


def test_each_sequence_has_caches_of_its_own() -> None:
    asked = model(LayerGroup(count=3, attention=HEADS))
    assert cache(asked, TOKENS, batch=4) == 4 * cache(asked, TOKENS)
    shared = kvcalc.estimate(asked, engine="mlx", context=TOKENS, batch=4, shared_prefix=100)
    assert shared.cache.bytes == 4 * cache(asked, TOKENS)
    assert "mlx-prefix-in-every-sequence" in {each.code for each in shared.notes}


REFUSED: dict[str, tuple[Model, dict[str, Any], str]] = {
    "tensor parallelism": (model(LayerGroup(count=2, attention=HEADS)), {"tp": 2}, "give --pp"),
    "a format": (model(LayerGroup(count=2, attention=HEADS)), {"cache_dtype": "q8_0"}, "kv-bits=8"),
    "three bits": (
        model(LayerGroup(count=2, attention=HEADS)),
        {"engine_option": {"kv-bits": "3"}},
        "'3' is none of 2, 4, 8",
    ),
    "quantised windows": (
        model(LayerGroup(count=2, attention=HEADS, window=64), LayerGroup(count=2, attention=HEADS)),
        {"engine_option": {"kv-bits": "8"}},
        "quantises no rotating",
    ),
    "a limit beside windows": (
        model(LayerGroup(count=2, attention=HEADS, window=64), LayerGroup(count=2, attention=HEADS)),
        {"engine_option": {"max-kv-size": "512"}},
        "ignore it; leave it out",
    ),
    "a size where a switch is": (
        model(LayerGroup(count=2, attention=HEADS)),
        {"engine_option": {"rotating": "512"}},
        "the tokens of a rotating cache are max-kv-size",
    ),
    "a pass that steps do not fill": (
        model(LayerGroup(count=2, attention=HEADS)),
        {"engine_option": {"prefill-step-size": "1000"}},
        "multiples of 256",
    ),
}


@pytest.mark.parametrize(("asked", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_it_does_not_do_is_refused(asked: Model, options: dict[str, Any], message: str) -> None:
    with pytest.raises(KvcalcError, match=message):
        kvcalc.estimate(asked, engine="mlx", context=TOKENS, **options)
