"""LMDeploy's cache as its source has it: in closed form by hand, and by a simulation of its slabs."""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc
from kvcalc.engines.lmdeploy.slabs import slab_bytes, slabs_bytes
from kvcalc.errors import KvcalcError

MIB = 2**20
GIB = 2**30
TOKEN = [
    ("llama-3.1-8b", 1, "0", 131_072),
    ("llama-3.1-8b", 4, "0", 32_768),
    ("llama-3.1-8b", 16, "0", 16_384),
    ("llama-3.1-8b", 1, "8", 32 * 2 * 8 * (128 + 4)),
    ("llama-3.1-8b", 1, "4", 32 * 2 * 8 * (64 + 4)),
    ("deepseek-v3", 8, "0", 61 * 576 * 2),
    ("gpt-oss-120b", 1, "0", 73_728),
]
"""Bytes on a rank: block.h has data of all heads, and behind them two parameters of 16 bits for each head and token."""


def found(model: str, memory: int, policy: str = "0", **settings: Any) -> int:
    option = {"quant-policy": policy, **settings.pop("engine_option", {})}
    shown = kvcalc.capacity(model, engine="lmdeploy", gpu="h200", cache_memory=memory, engine_option=option, **settings)
    assert shown.tokens is not None
    return shown.tokens


@pytest.mark.parametrize(("model", "tp", "policy", "token"), TOKEN)
def test_blocks_are_as_wide_as_the_kernels(model: str, tp: int, policy: str, token: int) -> None:
    memory = 100 * 64 * token
    assert found(model, memory, policy, tp=tp) == 6400
    assert found(model, memory - 1, policy, tp=tp) == 6336
    assert found(model, memory, policy, tp=tp, block_size=128) == 6400


class Slabs:
    """A region that hands out pages of 32 MiB in aligned runs of powers of two, as page.h's buddies, and slabs of them.

    Args:
        region: its bytes.
        block: bytes of a block.
    """

    def __init__(self, region: int, block: int) -> None:
        self.pages, self.block = [False] * (region // (32 * MIB)), block
        self.size = 32 * MIB
        while self.size < block:
            self.size *= 2
        while (self.size - self.size % block) / self.size < 0.95 and self.size < GIB:
            self.size *= 2

    def blocks(self) -> int:
        """How many can be had one after the other."""
        held, run = 0, self.size // (32 * MIB)
        for start in range(0, len(self.pages), run):
            pages = range(start, start + run)
            if pages.stop > len(self.pages) or any(self.pages[page] for page in pages):
                break
            for page in pages:
                self.pages[page] = True
            held += self.size // self.block
        return held


@pytest.mark.parametrize("region", [7 * 32 * MIB, 3 * GIB + 5, 50 * GIB + 17 * MIB, 107 * GIB])
@pytest.mark.parametrize("token", [73_728, 131_072, 16_384, 262_144, 67_584, 70_272, 36_864, 1_048_576, 327_680])
def test_slabs_hold_what_a_simulation_of_them_does(region: int, token: int) -> None:
    block = 64 * token
    simulated = Slabs(region, block)
    assert slab_bytes(block) == simulated.size
    assert slabs_bytes(region, block) == simulated.blocks() * block


def test_turbomind_has_a_share_of_what_weights_leave() -> None:
    """Llama-3.1-8B: blocks of 8 MiB fill slabs of 32 MiB."""
    shown = kvcalc.capacity("llama-3.1-8b", engine="lmdeploy", gpu="h100")
    free = 85_020_639_232 - 2 * 8_030_261_248 - 74 * GIB // 100
    assert kvcalc.load_gpu("h100").memory_bytes == 85_020_639_232
    assert shown.cache_memory_bytes == free * 4 // 5 // (32 * MIB) * 32 * MIB
    assert shown.tokens == free * 4 // 5 // (32 * MIB) * 4 * 64


@pytest.mark.parametrize(
    ("gpu", "batches"), [("h100", 1024), ("h200", 1024), ("a100-80-sxm", 384), ("l40s", 128), ("rtx4090", 128)]
)
def test_the_pytorch_backend_leaves_room_for_logits(gpu: str, batches: int) -> None:
    """By executor/base.py: (8,192 + 2 x max_batches) x vocab_size x 2 bytes before the share is taken."""
    shown = kvcalc.capacity("qwen3-4b", engine="lmdeploy", gpu=gpu, engine_option={"backend": "pytorch"})
    memory, parameters = kvcalc.load_gpu(gpu).memory_bytes, kvcalc.load_model("qwen3-4b").parameters
    assert memory is not None
    assert parameters is not None
    free = memory - 2 * parameters - 74 * GIB // 100
    assert shown.cache_memory_bytes == (free - (8192 + 2 * batches) * 151_936 * 2) * 4 // 5


@pytest.mark.parametrize(("left", "prefill"), [(16, 8192), (15, 4096), (3, 4096), (2, None), (0, None)])
def test_the_pytorch_backend_reads_fewer_tokens_where_few_blocks_are_left(left: int, prefill: int | None) -> None:
    """Beside logits of 8,192 tokens and of twice an H100's 1,024 requests; with two blocks it does not start."""
    parameters = kvcalc.load_model("qwen3-4b").parameters
    assert parameters is not None
    block, beside = 64 * 147_456, 2 * parameters + 74 * GIB // 100
    memory = beside + (8192 + 2048) * 151_936 * 2 + left * block * 5 // 4
    shown = kvcalc.capacity(
        "qwen3-4b",
        engine="lmdeploy",
        gpu="h100",
        gpu_memory=memory,
        tp=1,
        context=64,
        engine_option={"backend": "pytorch"},
    )
    expected = 0 if prefill is None else (memory - beside - (prefill + 2048) * 151_936 * 2) * 4 // 5
    assert shown.cache_memory_bytes == expected


@pytest.mark.parametrize(
    ("model", "settings", "named"),
    [
        ("qwen3-next-80b-a3b", {}, "gated_deltanet"),
        ("deepseek-v3.2", {}, "indexer"),
        ("gemma-3n-e4b", {}, "shared"),
        ("mimo-v2-flash", {}, "heads that differ"),
        ("deepseek-v3", {"engine_option": {"backend": "pytorch"}}, "latents of its pytorch backend"),
        ("deepseek-v3", {"engine_option": {"quant-policy": "8"}}, "quantised latents"),
        ("qwen3-30b-a3b", {"gpu": "mi300x"}, "NVIDIA"),
        ("llama-3.1-8b", {"gpu": "p40"}, "Volta"),
        ("qwen3-30b-a3b", {"dp": 2, "dp_attention": True}, "--dp-attention"),
        ("qwen3-30b-a3b", {"tp": 8, "dcp": 2}, "--dcp"),
        ("qwen3-30b-a3b", {"pp": 2}, "--pp"),
        ("qwen3-30b-a3b", {"cache_dtype": "fp8"}, "quant-policy=8"),
        ("qwen3-30b-a3b", {"dtype": "fp32"}, "--dtype"),
        ("qwen3-30b-a3b", {"block_size": 96}, "multiple of 64"),
        ("qwen3-30b-a3b", {"engine_option": {"quant-policy": "2"}}, "none of 0, 4, 8"),
        ("qwen3-30b-a3b", {"engine_option": {"backend": "pytorc"}}, "did you mean 'pytorch'"),
        ("qwen3-30b-a3b", {"engine_option": {"cache-max-entry-count": "1"}}, "below 1"),
        ("mistral-7b-v0.1", {"engine_option": {"backend": "pytorch"}}, "windows of all layers"),
    ],
)
def test_what_is_not_followed_is_refused_by_name(model: str, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(KvcalcError, match=named):
        kvcalc.capacity(model, engine="lmdeploy", **{"gpu": "h200", **settings})


def test_the_pytorch_backend_is_followed_in_versions_whose_turbomind_is_not() -> None:
    """executor/base.py and cache_engine of 0.17 and 0.18: what is new there is of indexers, states and drafts."""
    asked: dict[str, Any] = {"gpu": "h100", "context": 8192}
    found = [
        kvcalc.capacity("qwen3-8b", engine=engine, engine_option={"backend": "pytorch"}, **asked).tokens
        for engine in ("lmdeploy", "lmdeploy@0.17.0", "lmdeploy@0.18")
    ]
    assert found[0] == found[1] == found[2]
    with pytest.raises(KvcalcError, match=r"--engine lmdeploy@0\.16, or --engine-option backend=pytorch"):
        kvcalc.capacity("qwen3-8b", engine="lmdeploy@0.18", **asked)


def test_windows_and_rounding_are_rows_of_their_own() -> None:
    shown = kvcalc.estimate("gpt-oss-120b", engine="lmdeploy", gpu="h200", batch=3, context=1000)
    assert shown.cache.bytes == 3 * 1024 * 73_728
