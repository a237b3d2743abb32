"""Asks mlx_lm's own caches again, and compares them with what is kept and with kvcalc: `make test-live-mlx`.

Small models of each kind are run on a CPU, and cache classes alone, with sizes drawn with the number of the day, or
LIVE_SEED.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))

import write_mlx_vectors
from mlx_lm.models import cache as caches
from transformers_cases import MODELS, config_json

import kvcalc
from kvcalc.importers import import_config
from kvcalc.mechanisms import MHA
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import Model

DAY = int(os.environ.get("LIVE_SEED", dt.datetime.now(tz=dt.UTC).toordinal()))
DRAWN = 200
KEPT: dict[str, Any] = json.loads(write_mlx_vectors.PLACE.read_text(encoding="utf-8"))
ROW = 2 * write_mlx_vectors.WIDTH * 2


def test_mlx_lm_still_keeps_what_is_kept() -> None:
    for name in MODELS:
        assert write_mlx_vectors.of_model(name) == KEPT["models"][name], name


def counted(window: int | None, tokens: int, **options: str) -> int:
    layer = LayerGroup(count=1, attention=MHA(num_heads=1, head_dim=write_mlx_vectors.WIDTH), window=window)
    asked = Model(name="small", dtype="bf16", layers=(layer,))
    options = {name.replace("_", "-"): value for name, value in options.items()}
    return kvcalc.estimate(asked, engine="mlx", context=tokens, engine_option=options).cache.bytes


def test_rows_of_caches_of_any_size() -> None:
    draw = random.Random(DAY)  # noqa: S311  # no secrets
    for _ in range(DRAWN):
        tokens, window, step = draw.randint(1, 9000), draw.randint(5, 5000), 256 * draw.randint(1, 16)
        write_mlx_vectors.PREFILL_STEP = step
        asked = {"prefill_step_size": str(step)}
        full, rotating = caches.KVCache(), caches.RotatingKVCache(max_size=window)
        kept = caches.RotatingKVCache(max_size=window, keep=4)
        told = (tokens, window, step)
        assert counted(None, tokens, **asked) == write_mlx_vectors.rows(full, tokens) * ROW, told
        found = counted(window, tokens, rotating="1", **asked)
        assert found == write_mlx_vectors.rows(rotating, tokens) * ROW, told
        found = counted(None, tokens, max_kv_size=str(window), **asked)
        assert found == write_mlx_vectors.rows(kept, tokens) * ROW, told


def resized(name: str, draw: random.Random) -> dict[str, Any]:
    """A model's file with other sizes, all of them multiples of what they were."""
    config, scale = config_json(name), draw.randint(1, 3)
    if name in {"jamba", "lfm2"}:  # whose classes read no head_dim
        return config
    for key in ("head_dim", "kv_lora_rank", "index_head_dim", "ssm_state_size", "mamba_d_state"):
        if isinstance(config.get(key), int):
            config[key] *= scale
    heads = draw.randint(1, 3)
    for key in ("num_attention_heads", "num_key_value_heads"):
        if isinstance(config.get(key), int) and name not in {"qwen3_next", "qwen3_5_text", "minimax"}:
            config[key] *= heads
    if isinstance(config.get("sliding_window"), int):
        config["sliding_window"] = draw.randint(5, 400)
    return config


def test_models_of_other_sizes_are_to_the_byte() -> None:
    draw, compared = random.Random(DAY), 0  # noqa: S311  # no secrets
    for _ in range(DRAWN):
        name = draw.choice([name for name, found in KEPT["models"].items() if found is not None])
        config, tokens = resized(name, draw), draw.randint(2, 700)
        found = write_mlx_vectors.of_config(config, tokens)
        if found is not None:
            values = {**config, "torch_dtype": found["torch_dtype"]}
            asked = import_config(json.dumps(values), "config.json", "tiny").model
            held = kvcalc.estimate(asked, engine="mlx", context=tokens).cache.bytes
            assert held == found["bytes"], (config, tokens)
            compared += 1
    assert compared >= DRAWN // 2
