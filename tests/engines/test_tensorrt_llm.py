"""TensorRT-LLM's cache as its source has it, derived by hand, and in part printed by runs of it."""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc
from kvcalc.errors import KvcalcError

GIB = 2**30
TOKEN = [
    ("llama-3.1-8b", 1, "bf16", 131_072),
    ("llama-3.1-8b", 4, "bf16", 32_768),
    ("llama-3.1-8b", 8, "bf16", 16_384),
    ("llama-3.1-8b", 16, "bf16", 16_384),
    ("llama-3.1-8b", 1, "nvfp4", 36_864),
    ("deepseek-v3", 8, "bf16", 70_272),
    ("gpt-oss-120b", 1, "bf16", 73_728),
]
"""resource_manager.py, get_cache_bytes_per_token: bytes on a rank."""


def tokens(model: str, memory: int, **settings: Any) -> int:
    found = kvcalc.capacity(model, engine="tensorrt-llm", gpu="h200", cache_memory=memory, **settings)
    assert found.tokens is not None
    return found.tokens


@pytest.mark.parametrize(("model", "tp", "cache_dtype", "token"), TOKEN)
def test_blocks_are_as_wide_as_the_managers(model: str, tp: int, cache_dtype: str, token: int) -> None:
    memory = 100 * 32 * token
    assert tokens(model, memory, tp=tp, cache_dtype=cache_dtype) == 3200
    assert tokens(model, memory - 32 * token, tp=tp, cache_dtype=cache_dtype) == 3168
    assert tokens(model, memory, tp=tp, cache_dtype=cache_dtype, block_size=64) == 3200


def test_heads_in_nvfp4_are_powers_of_two_wide() -> None:
    """phi-2's are 80 wide."""
    with pytest.raises(KvcalcError, match=r"a power of two, not 80 .*; give fp8"):
        kvcalc.estimate("phi-2", engine="tensorrt-llm", gpu="b200", context=2048, cache_dtype="nvfp4")
    assert tokens("phi-2", 32 * 32 * 2 * 32 * 80, cache_dtype="fp8") == 32


def test_windows_keep_every_token() -> None:
    """1.1 printed 86,720 tokens of gpt-oss-120b in 5.95 GiB, and 86,711 before they were made 2,709.7 blocks."""
    assert round(86_711 * 73_728 / GIB, 2) == 5.95
    assert tokens("gpt-oss-120b", 86_711 * 73_728) == 86_720
    assert tokens("gpt-oss-120b", 86_689 * 73_728 - 1) == 86_688


def test_the_cache_has_a_share_of_what_is_free() -> None:
    found = kvcalc.capacity("llama-3.1-8b", engine="tensorrt-llm", gpu="h100")
    half = kvcalc.capacity(
        "llama-3.1-8b", engine="tensorrt-llm", gpu="h100", engine_option={"free-gpu-memory-fraction": "0.45"}
    )
    assert half.cache_memory_bytes == pytest.approx(found.cache_memory_bytes / 2, rel=1e-8)


def test_stages_have_as_many_blocks_as_the_fullest() -> None:
    """61 layers in two stages: 31 and 30."""
    assert tokens("deepseek-v3", 31 * 1152 * 32 * 7, tp=8, pp=2) == 7 * 32


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("qwen3-next-80b-a3b", "gated_deltanet"),
        ("deepseek-v3.2", "indexer"),
        ("gemma-3n-e4b", "shared"),
        ("mimo-v2-flash", "width"),
    ],
)
def test_what_is_not_followed_is_refused_by_name(model: str, named: str) -> None:
    with pytest.raises(KvcalcError, match=named):
        kvcalc.capacity(model, engine="tensorrt-llm", gpu="h200", tp=2)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"gpu": "mi300x"}, "NVIDIA"),
        ({"gpu": "h200", "tp": 2, "dp": 2, "dp_attention": True}, "--dp-attention"),
        ({"gpu": "h200", "tp": 8, "dcp": 2}, "--dcp"),
        ({"gpu": "h200", "cache_dtype": "int8"}, "--cache-dtype"),
        ({"gpu": "h200", "block_size": 33}, r"33 is no power of two, .*; 32 or 64 is"),
    ],
)
def test_deployments_that_are_not_followed_are_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(KvcalcError, match=named):
        kvcalc.capacity("qwen3-30b-a3b", engine="tensorrt-llm", **settings)


def test_rounding_and_windows_are_rows_of_their_own() -> None:
    shown = kvcalc.estimate("gpt-oss-120b", engine="tensorrt-llm", gpu="h200", batch=3, context=1000)
    assert shown.cache.bytes == 3 * 32 * 32 * 73_728


@pytest.mark.parametrize(
    ("gpu", "cache_dtype", "told"),
    [
        ("h100", "nvfp4", True),
        ("rtx5090", "nvfp4", True),
        ("b200", "nvfp4", False),
        ("a100-80-sxm", "fp8", True),
        ("l40s", "fp8", False),
    ],
)
def test_formats_without_kernels_on_a_card_are_told(gpu: str, cache_dtype: str, told: bool) -> None:
    """docs/source/features/quantization.md, Hardware Support Matrix."""
    found = kvcalc.estimate("llama-3.1-8b", engine="tensorrt-llm", gpu=gpu, cache_dtype=cache_dtype)
    assert ("format-not-on-card" in {each.code for each in found.notes}) is told


@pytest.mark.parametrize("engine", ["tensorrt-llm", "lmdeploy"])
def test_a_share_of_memory_that_the_cpu_has_too_is_refused_until_somebody_says_how_much(engine: str) -> None:
    """A DGX Spark that had 5.95 GiB for the cache was counted with 51."""
    with pytest.raises(KvcalcError, match="give --gpu-memory SIZE"):
        kvcalc.capacity("llama-3-8b", engine=engine, gpu="gb10")
    assert kvcalc.capacity("llama-3-8b", engine=engine, gpu="gb10", gpu_memory="30GiB").sequences
    assert kvcalc.capacity("llama-3-8b", engine=engine, cache_memory="6GiB").sequences


def test_plan_says_why_the_engine_does_not_serve_one_of_several_accelerators() -> None:
    found = kvcalc.plan("llama-3-8b", engine="tensorrt-llm", gpu=["h100", "mi300x"], batch=1, context=1024)
    assert [each.gpu for each in found.unserved] == ["mi300x"]
    assert "runs on cards of NVIDIA only; --engine exact counts any" in found.unserved[0].reason
