"""What transformers keeps: its own caches after forward passes of tiny models, and figures of other versions."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from conftest import DATA
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from transformers_cases import BATCH, MAX_CACHE_LEN, MODELS, PROMPT, built, cache_bytes, config_json, filled_cache

import kvcalc
from kvcalc import KvcalcError
from kvcalc.importers import import_config
from kvcalc.model.model import Model

MEASURED: dict[str, dict[str, dict[str, int | None]]] = json.loads(
    (DATA / "transformers" / "caches.json").read_text(encoding="utf-8")
)
"""Version -> model -> kind of cache -> bytes, as tests/live/write_transformers_vectors.py found them."""

UNFOLLOWED = {
    ("4.57.0", "minimax"): "before 5.5.0 each model keeps states in a cache class of its own",
    **{
        (version, model): "before 5.18.0 models with an indexer keep expanded heads"
        for version in ("5.5.0", "5.14.0", "5.15.0")
        for model in ("deepseek_v32", "glm_moe_dsa")
    },
}


def model_of(values: dict[str, Any]) -> Model:
    return import_config(json.dumps(values), "config.json", "tiny").model


def predicted(model: Model, version: str, context: int, batch: int = BATCH, **options: Any) -> int:
    found = kvcalc.estimate(model, engine=f"transformers@{version}", batch=batch, context=context, **options)
    return found.cache.bytes


def held_by(model: Model, version: str, *, static: bool) -> int:
    """As the models' own passes fill it: a static cache for as many tokens as it can take."""
    tokens, kind = (MAX_CACHE_LEN, "static") if static else (PROMPT + 1, "dynamic")
    return predicted(model, version, tokens, engine_option={"cache": kind})


@pytest.mark.parametrize("version", MEASURED)
def test_caches_of_a_version_are_to_the_byte(version: str) -> None:
    """Every version's figures, kept; of the installed one the next test asks anew."""
    compared = 0
    for name, kinds in MEASURED[version].items():
        if (version, name) in UNFOLLOWED:
            with pytest.raises(KvcalcError, match=UNFOLLOWED[version, name]):
                held_by(model_of(config_json(name)), version, static=False)
            continue
        for kind, measured in kinds.items():
            if measured is not None:
                compared += 1
                assert held_by(model_of(config_json(name)), version, static=kind == "static") == measured, (name, kind)
    assert compared >= 20


@pytest.mark.torch
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_the_installed_transformers_keeps_what_is_predicted(name: str) -> None:
    asked = built(name)
    for static in (False, True):
        if static and name == "minimax":
            with pytest.raises(KvcalcError, match="MiniMaxCache"):
                held_by(model_of(config_json(name)), "5.24.0", static=True)
            continue
        held = cache_bytes(filled_cache(asked, static=static))
        assert held_by(model_of(config_json(name)), "5.24.0", static=static) == held


@pytest.mark.torch
@examples(20)
@given(st.integers(0, 2**32))
def test_random_shapes_through_the_cache_classes(seed: int) -> None:
    """Heads, windows and layer types at random, the tokens in up to three passes of any length."""
    import torch
    from transformers.cache_utils import DynamicCache, StaticCache
    from transformers.models.gemma3.configuration_gemma3 import Gemma3TextConfig

    chance = random.Random(seed)  # noqa: S311  # no secret
    for _ in range(20):
        layers, batch, context = chance.randint(1, 6), chance.randint(1, 3), chance.randint(1, 70)
        kv_heads, window = chance.choice([1, 2, 4]), chance.randint(1, 40)
        shape: dict[str, Any] = {
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": kv_heads,
            "head_dim": 2 * chance.randint(1, 9),
            "hidden_size": 32,
            "sliding_window": window,
            "layer_types": [chance.choice(["sliding_attention", "full_attention"]) for _ in range(layers)],
        }
        static = chance.random() < 0.5
        config = Gemma3TextConfig(**shape)
        cache: Any = StaticCache(config=config, max_cache_len=context) if static else DynamicCache(config=config)
        left = context
        for turn in range(3):
            tokens = left if turn == 2 else chance.randint(0, left)
            left -= tokens
            if tokens:
                rows = torch.zeros((batch, kv_heads, tokens, shape["head_dim"]), dtype=torch.bfloat16)
                for layer in range(layers):
                    cache.update(rows, rows, layer)
        model = model_of({"model_type": "gemma3_text", "torch_dtype": "bfloat16", **shape})
        kind = "static" if static else "dynamic"
        held = predicted(model, "5.24.0", context, batch, engine_option={"cache": kind})
        assert held == cache_bytes(cache), (shape, batch, context, kind)


@pytest.mark.torch
def test_an_fp8_cache_is_to_the_byte() -> None:
    import torch
    from transformers.cache_utils import QuantizedCache

    asked = built("llama")
    cache: Any = QuantizedCache("fp8", asked.config)
    with torch.no_grad():
        for tokens in (PROMPT, 1):
            asked(torch.ones((BATCH, tokens), dtype=torch.long), cache=cache)
    assert predicted(model_of(config_json("llama")), "5.24.0", PROMPT + 1, cache_dtype="fp8") == cache_bytes(cache)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "tensor parallelism": ("llama", {"tp": 2}, "give --pp"),
    "a format it does not keep": ("llama", {"cache_dtype": "q8_0"}, "keeps the cache in the format of computing, bf16"),
    "fp8 of one tensor": ("llama", {"cache_dtype": "k=fp8"}, "keeps the cache in the format of computing"),
    "fp8 with windows": ("mistral", {"cache_dtype": "fp8"}, "and this model has others"),
    "fp8 with states": ("qwen3_next", {"cache_dtype": "fp8"}, "and this model has others"),
    "fp8 before it was there": ("llama", {"cache_dtype": "fp8", "engine": "transformers@5.20.0"}, "since 5.21.0"),
    "static fp8": ("llama", {"cache_dtype": "fp8", "engine_option": {"cache": "static"}}, "leave cache=static out"),
    "states in bf16": ("mamba2", {"state_dtype": "bf16"}, "keeps such states in fp32"),
    "static with unlike widths": (
        "deepseek_v3",
        {"engine": "transformers@4.57.1", "engine_option": {"cache": "static"}},
        "values of one width",
    ),
    "another cache": ("llama", {"engine_option": {"cache": "paged"}}, "none of dynamic, static"),
}


@pytest.mark.parametrize(("name", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_it_does_not_do_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(KvcalcError, match=message):
        kvcalc.estimate(model_of(config_json(name)), **{"engine": "transformers", "context": 21, **options})


def test_each_sequence_keeps_the_prefix() -> None:
    model = model_of(config_json("llama"))
    shared = kvcalc.estimate(model, engine="transformers", batch=3, context=40, shared_prefix=16)
    alone = kvcalc.estimate(model, engine="transformers", batch=3, context=40)
    assert shared.cache.bytes == alone.cache.bytes
    assert "prefix-in-every-sequence" in {each.code for each in shared.notes}
