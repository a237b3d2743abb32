"""What vLLM refuses by the card: its own words for each stand in tests/live (`make test-live LIVE_CARD=...`)."""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc


@pytest.mark.parametrize(
    ("model", "options", "told"),
    [
        # "No valid attention backend found for cuda ... use_sparse=True ... compute capability not supported"
        ("deepseek-v3.2", {"gpu": "a100-80gb", "tp": 8}, "no backend for latents with an indexer on a100-80-sxm"),
        ("deepseek-v3.2", {"gpu": "mi300x", "tp": 8}, "latents with an indexer on mi300x, which other kernels keep"),
        (
            "deepseek-v3.2",
            {"gpu": "h200", "tp": 8, "block_size": 96},
            "pages of 64 tokens .* of which 96 is no multiple",
        ),
        ("glm-5", {"gpu": "l40s", "tp": 8}, "no backend for latents with an indexer on l40s"),
        ("deepseek-v3.2", {"gpu": "rtxpro6000-bw", "engine": "vllm@0.19"}, "vllm before 0.29 has no backend"),
        # "FP8 KV cache is not supported by the Triton attention backend on NVIDIA A100-SXM4-80GB"
        ("llama-3-8b", {"gpu": "a100-80gb", "cache_dtype": "fp8_per_token_head"}, "in fp8_per_token_head on a100"),
        ("mimo-v2-flash", {"gpu": "a100-80gb", "tp": 4, "cache_dtype": "fp8"}, "no cache in fp8 on a100"),
        # "FlashAttention does not support fp8 kv-cache on this device."
        ("mimo-v2-flash", {"gpu": "b200", "tp": 4, "cache_dtype": "fp8"}, "no values of another width than keys"),
        # MiMoV2Attention of 0.31 is made without cache_config: its layers tell torch.bfloat16 where fp8 is asked for
        (
            "mimo-v2-flash",
            {"gpu": "h200", "tp": 4, "cache_dtype": "fp8", "engine": "vllm@0.31"},
            "before 0.32 keeps the cache of mimo-v2-flash in bf16",
        ),
    ],
)
def test_what_a_card_has_no_kernels_for_is_refused(model: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=told):
        kvcalc.capacity(model, context=4096, **{"engine": "vllm@0.33", **options})


@pytest.mark.parametrize(
    ("model", "gpu", "version", "cache_dtype"),
    [
        ("deepseek-v3.2", "rtxpro6000-bw", "0.29", "fp8_ds_mla"),
        ("deepseek-v3.2", "rtxpro6000-bw", "0.33", "fp8_ds_mla"),
        ("glm-5", "b200", "0.31", None),
        ("glm-5", "b200", "0.32", "fp8"),
    ],
)
def test_what_sparse_latents_are_kept_in_where_nobody_says(
    model: str, gpu: str, version: str, cache_dtype: str | None
) -> None:
    """_canonicalize_sparse_mla_kv_cache_dtype of 0.29 to 0.33; GlmMoeDsaForCausalLM of vllm/model_executor/models."""
    asked: dict[str, Any] = {"gpu": gpu, "tp": 8, "context": 4096, "engine": f"vllm@{version}", "cache_memory": "50GiB"}
    told = kvcalc.capacity(model, cache_dtype=cache_dtype or "bf16", **asked)
    assert kvcalc.capacity(model, **asked).tokens == told.tokens


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("deepseek-v3.2", {"gpu": "rtxpro6000-bw", "tp": 8, "pp": 2}),
        ("llama-3-8b", {"gpu": "a100-80gb", "cache_dtype": "fp8"}),
        ("llama-3-8b", {"gpu": "l40s", "cache_dtype": "fp8_per_token_head"}),
        ("mimo-v2-flash", {"gpu": "h200", "tp": 4, "cache_dtype": "fp8"}),
    ],
)
def test_what_it_has_kernels_for_is_counted(model: str, options: dict[str, Any]) -> None:
    assert kvcalc.capacity(model, context=4096, engine="vllm@0.33", **options).tokens
