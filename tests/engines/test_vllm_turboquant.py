"""TurboQuant caches of vLLM: what vLLM 0.33.0's own planner said of small variations of Llama, asked on the CPU.

tests/live/vllm_planner.py, plan, with 40 GiB for the cache, max_model_len 32768, on a pretended H100. 32 layers of 32
query and 8 KV heads of 128, but where a case says otherwise. Figures: blocks, tokens of a block, tokens, bytes a block.
"""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import GQA
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import Model

POOL = 40 * 2**30
PLANNED: list[tuple[str, dict[str, int], dict[str, int], tuple[int, int, int, int]]] = [
    ("turboquant_k8v4", {}, {}, (22262, 32, 712384, 1929216)),
    ("turboquant_4bit_nc", {}, {}, (28926, 32, 925632, 1484800)),
    ("turboquant_k3v4_nc", {}, {}, (31347, 32, 1003104, 1370112)),
    ("turboquant_3bit_nc", {}, {}, (34211, 32, 1094752, 1255424)),
    ("turboquant_4bit_nc", {"layers": 1}, {}, (2504062, 16, 40064992, 17152)),
    ("turboquant_4bit_nc", {"layers": 3}, {}, (144880, 32, 4636160, 296448)),
    ("turboquant_4bit_nc", {"layers": 4}, {}, (81920, 32, 2621440, 524288)),
    ("turboquant_4bit_nc", {"layers": 36}, {}, (26479, 32, 847328, 1622016)),
    ("turboquant_k3v4_nc", {"head_dim": 64}, {}, (60787, 32, 1945184, 706560)),
    ("turboquant_k8v4", {"head_dim": 96}, {}, (29537, 32, 945184, 1454080)),
    ("turboquant_k8v4", {"head_dim": 72}, {}, (39125, 32, 1252000, 1097728)),
    ("turboquant_3bit_nc", {"head_dim": 256, "kv_heads": 2}, {}, (69615, 32, 2227680, 616960)),
    ("turboquant_4bit_nc", {}, {"block_size": 64}, (14463, 64, 925632, 2969600)),
    ("turboquant_4bit_nc", {}, {"block_size": 128}, (7231, 128, 925568, 5939200)),
    ("turboquant_4bit_nc", {}, {"tp": 2}, (57852, 32, 1851264, 742400)),
]


def _model(*, layers: int = 32, head_dim: int = 128, kv_heads: int = 8, window: int | None = None) -> Model:
    attention = GQA(num_heads=32, num_kv_heads=kv_heads, head_dim=head_dim)
    group = LayerGroup(count=layers, attention=attention, window=window)
    return Model(name="variation", dtype="bf16", parameters=10**9, layers=(group,))


@pytest.mark.parametrize(("preset", "model", "deployment", "planned"), PLANNED)
def test_blocks_are_those_of_vllms_planner(
    preset: str, model: dict[str, int], deployment: dict[str, int], planned: tuple[int, int, int, int]
) -> None:
    asked: dict[str, Any] = {
        "cache_dtype": preset,
        "engine": "vllm@0.33.0",
        "context": 32768,
        "gpu": "h100-sxm",
        **deployment,
    }
    pool = kvcalc.capacity(_model(**model), cache_memory=POOL, **asked)
    assert (pool.blocks, pool.block_size, pool.tokens, POOL // planned[3]) == (*planned[:3], planned[0])
    one = kvcalc.estimate(_model(**model), weights=0, **asked)
    assert one.cache.bytes_per_rank == planned[3] * (1 + 32768 // planned[1])  # with the null block


@pytest.mark.parametrize(
    ("model", "asked", "says"),
    [
        ({"window": 4096}, {}, "whose layers all keep every token"),  # its planner: no valid attention backend
        ({"head_dim": 96}, {}, "Hadamard"),
        ({}, {"dtype": "fp32", "weight_dtype": "bf16"}, "computes in fp32"),
        ({}, {"tp": 16, "dcp": 2}, "--dcp"),
        ({}, {"pp": 2}, "leave --pp out"),
        ({}, {"engine": "vllm@0.19.0"}, "before 0.20"),
        ({}, {"engine": "exact"}, "give --engine vllm"),
        ({}, {"engine": "sglang"}, "turboquant_4bit_nc"),
        ({}, {"engine": "transformers"}, "--cache-dtype"),
        ({}, {"engine": "mlx"}, "--cache-dtype"),
        ({}, {"engine": "llama-cpp"}, "--cache-dtype"),
        ({}, {"engine": "tensorrt-llm"}, "turboquant_4bit_nc"),
    ],
)
def test_what_is_not_kept_so_is_refused(model: dict[str, int], asked: dict[str, Any], says: str) -> None:
    with pytest.raises(KvcalcError, match=says):
        kvcalc.estimate(
            _model(**model),
            **{"cache_dtype": "turboquant_4bit_nc", "engine": "vllm@0.33.0", "gpu": "h100-sxm", **asked},
        )


def test_blocks_are_not_made_longer_before_0_25() -> None:
    """_align_heterogeneous_kv_block_size of vllm/platforms/interface.py: not in 0.23, there in 0.25.1."""
    for version, tokens in (("0.23.0", 16), ("0.25.1", 32)):
        found = kvcalc.capacity(
            _model(), cache_memory=POOL, context=32768, engine=f"vllm@{version}", cache_dtype="turboquant_k8v4"
        )
        assert found.block_size == tokens


def test_what_the_kernels_reserve_is_told() -> None:
    """_reserve_workspace of vllm/v1/attention/backends/turboquant_attn.py, by hand.

    32 splits of 32 heads of 128 and a sum in fp32, an output in bf16 and one number in fp32, for 1,024 sequences; or
    a request's keys and values but one token in fp16.
    """
    asked: dict[str, Any] = {"engine": "vllm@0.33.0", "gpu": "h100-sxm", "cache_dtype": "turboquant_k8v4"}
    decode = 1024 * 32 * (32 * 129 * 4 + 128 * 2 + 4)
    prompt = 2 * 8 * 131_072 * 128 * 2
    long: dict[str, Any] = {"engine_option": {"max-num-seqs": "16"}, "context": 131_072}
    for more, reserved in (({"context": 4096}, decode), (long, prompt), ({**long, "tp": 2}, prompt // 2)):
        found = kvcalc.estimate(_model(), weights=0, **asked, **more)
        [told] = [each for each in found.notes if each.code == "turboquant-memory"]
        assert told.data == {"reserved_bytes": reserved}
    before = kvcalc.estimate(_model(), weights=0, **{**asked, "engine": "vllm@0.23.0"})
    assert [each.data for each in before.notes if each.code == "turboquant-memory"] == [{}]
