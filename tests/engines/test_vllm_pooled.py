"""Pooled index keys of GLM-5.3-Flash and of Qwen3.8-Flash-Next, as vLLM 0.33.0's own planner laid them out.

tests/live/vllm_planner.py, plan, asked on the CPU for a context of 131,072 in 40 GiB of cache on each of 8 ranks, as if
it had an H100, or another card of that capability: tests/data/vllm has more of an H100's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pooled_index_files import glm, qwen

import kvcalc
from kvcalc.memory import ranks_of

ASKED: dict[str, Any] = {"engine": "vllm@0.33.0", "tp": 8, "context": 131_072}
PLANNED = [
    ("h100-sxm", {}, 5751, 640, 3_457_775, 7_468_032, 218),
    ("h100-sxm", {"mtp": 3}, 5273, 640, 3_085_458, 8_143_872, 224),
    ("h100-sxm", {"engine_option": {"enable-prefix-caching": "false"}}, 5751, 640, 3_589_500, 7_468_032, 210),
    ("b200", {}, 6110, 1152, 6_305_904, 7_028_736, 127),  # in fp8 where nobody says
    ("b200", {"cache_dtype": "fp8"}, 6110, 1152, 6_305_904, 7_028_736, 127),
    ("b200", {"cache_dtype": "bf16"}, 5674, 640, 3_411_479, 7_569_408, 218),
]
"""Card and options; blocks, tokens of a block and of the pool, bytes of a block, blocks of a request."""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "glm.json"
    path.write_text(json.dumps(glm()), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("gpu", "options", "blocks", "block_size", "tokens", "block", "request_blocks"), PLANNED)
def test_blocks_are_those_of_vllms_planner(
    file: str,
    gpu: str,
    options: dict[str, Any],
    blocks: int,
    block_size: int,
    tokens: int,
    block: int,
    request_blocks: int,
) -> None:
    pool = kvcalc.capacity(file, gpu=gpu, cache_memory=40 * 2**30, **ASKED, **options)
    assert (pool.blocks, pool.block_size, pool.tokens) == (blocks, block_size, tokens)
    one = kvcalc.estimate(file, gpu=gpu, **ASKED, **options)
    assert one.cache.bytes_per_rank == block * (1 + request_blocks)  # with the null block


QWEN_PLANNED: list[tuple[dict[str, Any], dict[str, Any], int, int, int, int, int]] = [
    ({"tp": 2}, {}, 2056, 1600, 2_836_674, 20_889_600, 95),
    ({"tp": 2}, {"ple_layer_ids": []}, 2056, 1600, 2_929_174, 20_889_600, 92),
    ({"tp": 2, "mtp": 3}, {"ple_layer_ids": []}, 1897, 1600, 2_461_817, 22_630_400, 101),
    ({"tp": 2, "cache_dtype": "fp8"}, {"ple_layer_ids": []}, 1981, 3136, 4_993_339, 21_676_032, 52),
    (
        {"tp": 2, "engine_option": {"enable-prefix-caching": "false"}},
        {"ple_layer_ids": []},
        2097,
        1568,
        3_123_386,
        20_471_808,
        88,
    ),
    ({"tp": 1}, {"ple_layer_ids": []}, 1059, 1600, 1_508_752, 40_550_400, 92),
]
"""Options and changes of the file; what is in PLANNED of it."""


@pytest.mark.parametrize(
    ("options", "change", "blocks", "block_size", "tokens", "block", "request_blocks"), QWEN_PLANNED
)
def test_blocks_of_qwen_are_those_of_vllms_planner(
    tmp_path: Path,
    options: dict[str, Any],
    change: dict[str, Any],
    blocks: int,
    block_size: int,
    tokens: int,
    block: int,
    request_blocks: int,
) -> None:
    path = tmp_path / "qwen.json"
    path.write_text(json.dumps(qwen(**change)), encoding="utf-8")
    asked = {**ASKED, "gpu": "h100-sxm", **options}
    pool = kvcalc.capacity(str(path), cache_memory=40 * 2**30, **asked)
    assert (pool.blocks, pool.block_size, pool.tokens) == (blocks, block_size, tokens)
    one = kvcalc.estimate(str(path), **asked)
    assert one.cache.bytes_per_rank == block * (1 + request_blocks)


@pytest.mark.parametrize("tp", [4, 8])
def test_tables_of_n_grams_are_in_host_memory(tmp_path: Path, tp: int) -> None:
    """vllm/config/engram.py, cpu_offload: 51,200,245,760 parameters; what joins their rows is on cards."""
    weights, codes = [], []
    for number, change in enumerate([{}, {"ple_layer_ids": None}]):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({**qwen(**change)["text_config"], "dtype": "bfloat16"}), encoding="utf-8")
        found = kvcalc.estimate(str(path), **{**ASKED, "gpu": "h100-sxm", "tp": tp})
        weights.append(found.memory.weights_bytes or 0)
        assert found.memory.weights_bytes == tp * (found.memory.per_rank.weights_bytes or 0)
        codes.append({each.code: dict(each.figures) for each in found.notes})
    assert weights[0] - weights[1] == 2 * (tp * (2560 * 5 * 2560 + 3 * 10_240) + 4 * 10_240)
    assert codes[0]["weights-on-host"]["bytes"] == 2 * 51_200_245_760
    assert "weights-on-host" not in codes[1]
    assert "no-decode-bound" not in codes[0]


def weights_of_a_rank(path: Path, **options: Any) -> dict[str, int]:
    scenario = kvcalc.make_scenario(str(path), **ASKED, gpu="h100-sxm", **options)
    assert scenario.deployment is not None
    held = ranks_of(scenario, scenario.deployment)[0].weights
    assert held is not None
    return {each.path: each.bytes for each in held.parts}


@pytest.mark.parametrize(
    ("values", "row"),
    [
        (glm(), 2176),  # one buffer: 2048 + 3, to a multiple of 128
        (qwen(), 12 * 2052),  # one for each layer: 2048 + 3, and how many there are
    ],
)
def test_what_indexers_choose_has_a_buffer_for_a_step(tmp_path: Path, values: dict[str, Any], row: int) -> None:
    """vllm/models/glm5next/common/model.py, get_sparse_topk_buffer_width; qwen4_exp/nvidia/qsa.py."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**values["text_config"], "dtype": "bfloat16"}), encoding="utf-8")
    held = weights_of_a_rank(path, engine_option={"max-num-batched-tokens": "4096"})
    assert held["tokens that indexers choose for a step"] == 4096 * row * 4


def test_an_indexer_beside_heads_has_its_queries_on_every_rank(tmp_path: Path) -> None:
    """Four of queries and one key in each of 12 layers (vllm/models/qwen4_exp/nvidia/qsa.py, index_size)."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**qwen()["text_config"], "dtype": "bfloat16"}), encoding="utf-8")
    assert weights_of_a_rank(path)["indexer's projections"] == 12 * 5 * 128 * 2560 * 2


def test_parameters_that_are_given_have_the_tables_among_them(tmp_path: Path) -> None:
    path = tmp_path / "qwen.json"
    path.write_text(json.dumps(qwen()), encoding="utf-8")
    asked = {**ASKED, "gpu": "h100-sxm"}
    found = kvcalc.estimate(str(path), parameters=177_000_000_000, **asked)
    assert {each.code: dict(each.figures) for each in found.notes}["weights-on-host"]["bytes"] == 2 * 51_200_245_760
    with pytest.raises(kvcalc.KvcalcError, match="towers and tables have"):
        kvcalc.estimate(str(path), parameters=51_200_245_760, **asked)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"engine": "vllm@0.32"}, "since 0.33"),
        ({"gpu": "a100-80gb"}, "Hopper and Blackwell data-centre cards"),
        ({"pp": 2}, "in one pipeline stage only"),
        ({"dcp": 2, "tp": 4}, "--dcp"),
    ],
)
def test_what_of_qwen_is_not_kept_so_is_refused(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    path = tmp_path / "qwen.json"
    path.write_text(json.dumps(qwen()), encoding="utf-8")
    with pytest.raises(kvcalc.KvcalcError, match=says):
        kvcalc.estimate(str(path), **{**ASKED, "tp": 2, "gpu": "h100-sxm", **options})


def test_a_ring_for_drafted_tokens_is_told(file: str) -> None:
    """8 slots of the 4 that a group has, in each of 11 layers: 4 x 2 x 128 x 2 bytes more."""
    found = kvcalc.estimate(file, gpu="h100-sxm", **ASKED, mtp=3)
    (row,) = [each for each in found.cache.terms if "places of a ring that do not wait" in each.path]
    assert row.bytes == 8 * 11 * 4 * 512  # on each of 8 ranks


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"engine": "vllm@0.32"}, "since 0.33"),
        ({"gpu": "a100-80gb"}, "no backend for latents with an indexer on a100-80-sxm"),
        ({"gpu": "mi300x"}, "which other kernels keep on AMD"),
        ({"cache_dtype": "fp8"}, "on Hopper no backend keeps latents without a rotary key in fp8"),
        ({"dcp": 2}, "--dcp"),
        ({"engine_option": {"disable-hybrid-kv-cache-manager": "true"}}, "does not go with states"),
    ],
)
def test_what_is_not_kept_so_is_refused(file: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=says):
        kvcalc.estimate(file, **{**ASKED, "gpu": "h100-sxm", **options})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"indexer_types": ["full"] * 4 + ["shared"] * 41}, "an indexer of its own"),
        ({"index_head_dim": 64}, "of 128 elements beside latents without a rotary key"),
    ],
)
def test_shapes_that_its_kernels_do_not_take_are_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(glm(**change)), encoding="utf-8")
    with pytest.raises(kvcalc.KvcalcError, match=says):
        kvcalc.estimate(str(path), **ASKED, gpu="h100-sxm", cache_dtype="bf16")
