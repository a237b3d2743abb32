"""Writes what mlx_lm's caches hold into tests/data/mlx/caches.json: classes alone, and tiny models on a CPU.

Needs `pip install 'mlx[cpu]' mlx-lm`:  PYTHONPATH=tests/engines python tests/live/write_mlx_vectors.py
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_lm.models import cache as caches
from mlx_lm.utils import _get_classes  # as mlx_lm.load finds a model's class
from transformers_cases import MODELS, config_json

PLACE = Path(__file__).parents[1] / "data" / "mlx" / "caches.json"
TOKENS, PREFILL_STEP, WIDTH = 300, 2048, 128
FURTHER: dict[str, Any] = {
    "rms_norm_eps": 1e-5,
    "norm_eps": 1e-5,
    "layer_norm_eps": 1e-5,
    "layer_norm_epsilon": 1e-5,
    "rope_theta": 1e4,
    "sliding_window_pattern": 2,
    "n_ctx": 256,
    "intermediate_size": 64,
    "use_bias": False,
    "use_conv_bias": True,
    "time_step_rank": 4,
    "time_step_limit": (0.0, 1e9),
    "time_step_min": 0.001,
    "time_step_max": 0.1,
    "tie_word_embeddings": False,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "partial_rotary_factor": 0.5,
    "conv_bias": False,
    "block_dim": 32,
    "block_multiple_of": 8,
    "block_ffn_dim_multiplier": 1.0,
    "block_auto_adjust_ff_dim": False,
    "model_max_length": 256,
    "expert_layer_offset": 1,
    "expert_layer_period": 2,
    "attention_bias": False,
    "mamba_proj_bias": False,
    "mlp_bias": False,
    "routed_scaling_factor": 1.0,
    "topk_method": "noaux_tc",
    "scoring_func": "sigmoid",
    "norm_topk_prob": True,
    "moe_layer_freq": 1,
    "residual_in_fp32": False,
    "rope_scaling": {
        "type": "yarn",
        "factor": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 0,
        "beta_fast": 32,
        "beta_slow": 1,
        "original_max_position_embeddings": 256,
    },
}
"""What its classes ask for, and no cache depends on."""


def rows(cache: Any, tokens: int) -> int:
    """Rows of keys after a prompt of all tokens but one, and that one."""
    left = tokens - 1
    while tokens:
        number = min(PREFILL_STEP, left) if left > 0 else 1
        if hasattr(cache, "maybe_trim_front"):
            cache.maybe_trim_front()
        given = mx.zeros((1, 1, number, WIDTH), dtype=mx.bfloat16)
        cache.update_and_fetch(given, given)
        left, tokens = left - number, tokens - number
    keys = cache.keys
    return int((keys[0] if isinstance(keys, tuple | list) else keys).shape[2])


def of_model(name: str) -> dict[str, Any] | None:
    """Bytes at 300 tokens; None where mlx_lm has no such class."""
    return of_config(config_json(name), TOKENS)


def of_config(config: dict[str, Any], tokens: int) -> dict[str, Any] | None:
    """Bytes at so many tokens; None where mlx_lm has no such class. Experts run in fp32 alone on a CPU."""
    for dtype in ("bfloat16", "float32"):
        try:
            model_class, arguments = _get_classes({**FURTHER, **config})
            model = model_class(arguments.from_dict({**FURTHER, **config}))
            model.set_dtype(getattr(mx, dtype))
            held = caches.make_prompt_cache(model)
            for given in (tokens - 1, 1):
                mx.eval(model(mx.ones((1, given), dtype=mx.int32), cache=held))
            return {"torch_dtype": dtype, "bytes": sum(each.nbytes for each in held)}
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
            continue
    return None


def main() -> None:
    lengths = (1, 2, 3, 127, 128, 129, 256, 257, 300, 512, 513, 600, 1200, 2049, 5000)
    found: dict[str, Any] = {
        "mlx_lm": version("mlx-lm"),
        "full": {tokens: rows(caches.KVCache(), tokens) for tokens in lengths},
        **{
            f"rotating {size}": {tokens: rows(caches.RotatingKVCache(max_size=size), tokens) for tokens in lengths}
            for size in (128, 512, 1024)
        },
        "chunk 512": {tokens: rows(caches.ChunkedKVCache(512), tokens) for tokens in lengths},
        "quantised": {},
        "models": {name: of_model(name) for name in MODELS},
    }
    for bits in (2, 4, 8):
        for group in (32, 64, 128):
            cache = caches.QuantizedKVCache(group_size=group, bits=bits)
            rows(cache, TOKENS)
            found["quantised"][f"{bits} {group}"] = cache.nbytes
    PLACE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
