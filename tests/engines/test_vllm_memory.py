"""vLLM's temporary memory, overhead and budget: as start-up logs print them, and as its code computes them."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any, NamedTuple

import pytest

import kvcalc
from kvcalc.engines.gated import is_gated
from kvcalc.engines.vllm.profiled.graph_sizes import capture_sizes
from kvcalc.engines.vllm.profiled.samplers import sorting
from kvcalc.engines.vllm.settings import Settings, parse_version
from kvcalc.errors import KvcalcError
from kvcalc.memory import Rank, ranks_of
from kvcalc.term import Product, Sum, leaves
from kvcalc.units import GIB, MIB


def rank(model: Any, version: str, gpu: str = "h100", stage: int = 0, **options: Any) -> Rank:
    given = {"tp": 1, "context": 8192, "weights": "1GiB", **options}
    scenario = kvcalc.make_scenario(model, engine=f"vllm@{version}", gpu=gpu, **given)
    assert scenario.deployment is not None
    return ranks_of(scenario, scenario.deployment)[stage]


class Printed(NamedTuple):
    """A log.

    Attributes:
        gib: printed as peak activation memory.
        source: a public link, or the id of a stored public file.
    """

    model: str
    version: str
    gpu: str
    gib: float
    source: str
    options: dict[str, Any] = {}  # noqa: RUF012  # never changed


PLANNER = "llm-d-incubation/llm-d-planner#205, results_raw.csv at 56dc5b7"
H100 = [
    Printed(model, "0.19.0", "h100", gib, PLANNER, options)
    for model, gib, options in (
        ("deepseek-v2-lite", 1.93, {}),
        ("gemma-2-2b", 3.62, {}),
        ("gemma-3-12b", 3.94, {}),
        ("gemma-3-4b", 3.89, {}),
        ("granite-3.1-2b", 0.75, {}),
        ("granite-3.3-8b", 0.85, {}),
        ("llama-3.1-8b", 1.89, {}),
        ("llama-3.1-8b", 1.89, {"tp": 2}),
        ("llama-3.1-8b", 1.1, {"pp": 2}),
        ("llama-3.1-8b", 1.05, {"pp": 4, "stage": 1}),  # of a later stage: the cache's memory is 0.05 less
        ("phi-2", 0.79, {"context": 2048}),
        ("kimi-dev-72b", 2.29, {"tp": 2}),
        ("gpt-oss-20b", 2.87, {"tp": 2}),
        ("qwen1.5-moe-a2.7b", 2.47, {}),
        ("qwen2.5-7b", 2.21, {}),
        ("qwen2.5-7b", 2.21, {"tp": 4}),
        ("qwen3-8b", 2.21, {}),
    )
]
OTHERS = [
    Printed("qwen3-8b", "0.10.2", "rtx4090", 1.4, "stored file 34681159919", {"context": 1024}),
    Printed("qwen3-235b-a22b", "0.10.2", "l40s", 1.4, "stored file 38962983769", {"tp": 4, "context": 32768}),
    Printed("gpt-oss-120b", "0.10.1", "h100", 7.37, "vllm-project/vllm#23278", {"context": 131072}),
    Printed("qwen2.5-7b", "0.7.3", "rtx3090", 1.42, "vllm-project/vllm#13882", {"context": 4096}),
    Printed("qwen2.5-1.5b", "0.7.3", "rtx3090", 1.39, "vllm-project/vllm#12529", {"context": 2000}),
    Printed("qwen3-8b", "0.14.0", "l40s", 1.4, "a log of 0.14 on L20", {"context": 16384}),
    Printed("qwen3-30b-a3b", "0.13.0", "h100", 5.58, "a log of 0.13 on Hopper", {"context": 40960}),
    Printed(
        "qwen3-4b",
        "0.8.5",
        "t4",
        0.74,
        "stored file 40791855483",
        {"context": 10000, "engine_option": {"max-num-seqs": "1"}},
    ),
    Printed(
        "qwen2.5-0.5b",
        "0.7.3",
        "rtx4090",
        1.78,
        "stored file 33210791296",
        {"context": 32768, "engine_option": {"max-num-seqs": "320"}},
    ),
    Printed(
        *("opt-2.7b", "0.11.0", "rtx3090", 0.22, "a log of 0.11, whose sampler is told by its figure"),
        {"tp": 4, "engine_option": {"usage": "offline", "use-flashinfer-sampler": "true"}},
    ),
    Printed("glm-4.7-flash", "0.29.0", "h100", 2.04, "stored file 70193890856", {"context": 640}),
    Printed("qwen3-32b", "0.29.0", "h100", 1.61, "stored file 70142732963", {"context": 640}),
]


@pytest.mark.parametrize("log", [*H100, *OTHERS], ids=lambda log: f"{log.model} {log.version}")
def test_temporary_memory_as_logs_print_it(log: Printed) -> None:
    found = rank(log.model, log.version, log.gpu, **log.options).temporary
    assert found.term.bytes / GIB == pytest.approx(log.gib, abs=0.005 + 0.01 * log.gib)
    assert found.low <= found.term.bytes <= found.high


TEXT_OF_GEMMA_4: dict[str, Any] = {"context": 640, "engine_option": {"language-model-only": "true"}}


def test_compiling_holds_an_embedding_and_twice_what_is_looked_up_in_it() -> None:
    """2,995,739,688 bytes logged by 0.29 on an H100, in a start that compiles (stored file 70142732963)."""
    found = rank("gemma-4-31b", "0.29.0", **TEXT_OF_GEMMA_4).temporary
    assert found.term.bytes == found.high == 262_144 * 5376 * 2 + 2 * 8192 * 5376 * 2
    assert found.term.bytes == pytest.approx(2_995_739_688, abs=2 * 2**20)
    assert found.low < found.term.bytes / 2


@pytest.mark.parametrize(
    ("version", "given"),
    [("0.11.0", {}), ("0.22.0", {"tp": 2}), ("0.22.0", {"engine_option": {"enforce-eager": "true"}})],
    ids=["before it times kernels", "an operation of its own over ranks", "nothing compiled"],
)
def test_nothing_is_held_while_compiling(version: str, given: dict[str, Any]) -> None:
    assert not rank("llama-3.1-8b", version, "l40s", **given).temporary.is_range
    assert rank("llama-3.1-8b", "0.22.0", "l40s").temporary.is_range


def test_a_start_that_compiles_may_hold_no_embedding() -> None:
    """0.59 GiB of a log that says "Compiling a graph for" (2215860382/VedioSifter, train_run_20260421_065709.log)."""
    own = {"max-num-batched-tokens": "8192", "max-num-seqs": "8", "compiled-before": "false"}
    found = rank("qwen3-4b", "0.12.0", "rtxpro6000-bw", utilization="0.5", engine_option=own).temporary
    assert found.low / GIB == pytest.approx(0.59, abs=0.035)
    assert found.low < found.term.bytes == found.high


def test_only_the_first_stage_looks_tokens_up() -> None:
    first, second = (rank("llama-3.1-8b", "0.19.0", stage=stage, pp=2).temporary for stage in (0, 1))
    assert first.term.bytes == 128_256 * 4096 * 2 + 2 * 8192 * 4096 * 2
    assert not second.is_range


def test_a_tower_is_a_range_and_text_is_not() -> None:
    text, seeing = (rank(model, "0.19.0").temporary for model in ("llama-3.1-8b", "mistral-small-3.1-24b-2503"))
    assert not text.is_range
    assert seeing.low < 2.03 * GIB < seeing.high  # printed: llm-d-incubation/llm-d-planner#205
    without = [leaf.bytes for leaf in leaves(seeing.term) if "images" in leaf.path]
    assert seeing.low == seeing.term.bytes - sum(without)


def test_it_is_a_tree_of_factors() -> None:
    """S x V x b: what `--explain` shows."""
    term = rank("llama-3-8b", "0.19.0").temporary.term
    assert isinstance(term, Sum)
    first = term.parts[0]
    assert isinstance(first, Product)
    assert first.formula == "max_num_seqs x vocab_size x bytes_of_a_logit"
    assert first.numbers == "1,024 rows x 128,256 logits x 14 bytes"


@pytest.mark.parametrize(
    ("rows", "measured"),
    [(1, 38.27), (2, 50.23), (64, 50.57), (127, 50.29), (128, 38.15), (256, 38.06), (1024, 38.02)],
)
def test_bytes_of_a_logit_that_is_sorted(rows: int, measured: float) -> None:
    """Peak of apply_top_k_top_p and random_sample, torch 2.11 on an H200, bf16 logits, a row of 128,256."""
    assert sorting(2, rows).bytes == pytest.approx(measured, rel=0.012)


@pytest.mark.parametrize(
    ("version", "gpu", "name"),
    [
        ("0.10.2", "h100", "sorted"),
        ("0.11.0", "h100", "sorted"),  # taken where it is installed, for which the wheel asks as an extra only
        ("0.11.1", "h100", "sorted"),  # off again: vllm-project/vllm#26859
        ("0.17.0", "h100", "Triton"),
        ("0.20.2", "h100", "Triton"),  # VLLM_USE_FLASHINFER_SAMPLER is None in vllm/envs.py
        ("0.22.0", "h100", "FlashInfer"),  # and True
        ("0.22.0", "mi300x", "Triton"),  # no FlashInfer on ROCm
        ("0.23.0", "h100", "plain"),
        ("0.26.0", "h100", "plain"),  # runner V2 asks for no top k
        ("0.33.0", "h100", "FlashInfer"),  # and does, since vLLM runs it a second time
    ],
)
def test_which_sampler(version: str, gpu: str, name: str) -> None:
    options: dict[str, Any] = {"max-num-seqs": "1024", "max-num-batched-tokens": "1024"}
    term = rank("llama-3-8b", version, gpu, tp=2, engine_option=options)
    assert f"({name})" in next(leaf.path for leaf in leaves(term.temporary.term))


def test_flashinfer_samples_before_0_22_where_it_is_installed() -> None:
    """0.45 GiB of 256 x 128,256 logits printed (stored file 21240355802): logits, fp32, top k, softmax."""
    options: dict[str, Any] = {"max-num-batched-tokens": 2048, "max-num-seqs": 256, "use-flashinfer-sampler": True}
    with_it = rank("llama-3.2-1b", "0.10.0", "l40s", engine_option=options).temporary
    without = rank("llama-3.2-1b", "0.10.0", "l40s", engine_option={**options, "use-flashinfer-sampler": False})
    assert with_it.term.bytes / GIB == pytest.approx(0.45, abs=0.01)
    assert without.temporary.term.bytes - with_it.term.bytes == 256 * 128_256 * 24


def test_cutlass_kernels_bring_rows_into_order_and_back() -> None:
    """Rows of 16,384 x 8: three copies, and workspaces of max(2 x 1,408, 2,816) + 1,408; logs have 0.2 GiB more."""
    options = {"max-num-batched-tokens": 16_384, "max-num-seqs": 2, "moe-backend": "cutlass"}
    found = rank("gemma-4-26b-a4b-it-nvfp4", "0.19.1", "rtx5090", weights=None, engine_option=options)
    parts = {leaf.path: leaf.bytes for leaf in leaves(found.temporary.term)}
    assert parts["experts"] == 16_384 * 8 * 3 * 2816 * 2
    assert parts["experts' workspace"] == 16_384 * 8 * (2816 + 1408) * 2
    of_states = {"max-num-batched-tokens": 16_384, "max-num-seqs": 1, "moe-backend": "cutlass"}
    found = rank("redhatai-qwen3.6-35b-a3b-nvfp4", "0.20.0", "rtx5090", weights=None, engine_option=of_states)
    parts = {leaf.path: leaf.bytes for leaf in leaves(found.temporary.term)}
    assert parts["what a state's layer keeps beside them"] == 16_384 * (2 * 2048 + 3 * 4096) * 2


def test_other_kernels_and_formats_are_counted_alike() -> None:
    same = [
        rank(model, "0.20.0", "rtx5090", weights=None, engine_option={"moe-backend": kernels}).temporary.term.bytes
        for model in ("gemma-4-26b-a4b-it-nvfp4", "qwen3-30b-a3b")
        for kernels in ("auto", "Flashinfer-CUTLASS", "marlin")
    ]
    assert len(set(same[:3])) == len(set(same[3:])) == 1
    plain = rank("qwen3-30b-a3b", "0.20.0", "rtx5090", weights=None, engine_option={"moe-backend": "cutlass"})
    assert plain.temporary.term.bytes == same[3]
    with pytest.raises(KvcalcError, match=r"since 0\.17"):
        rank("qwen3-30b-a3b", "0.16.0", engine_option={"moe-backend": "cutlass"})
    with pytest.raises(KvcalcError, match="is none of auto, cutlass"):
        rank("qwen3-30b-a3b", "0.20.0", engine_option={"moe-backend": "fastest"})


def test_experts_keep_their_workspace_since_0_14() -> None:
    before, after = (
        [leaf for leaf in leaves(rank("qwen3-30b-a3b", version).temporary.term) if leaf.path == "experts' workspace"]
        for version in ("0.13.0", "0.14.0")
    )
    assert not before
    # TritonExperts.workspace_shapes: (M, topk, max(I, H)) and (M, topk, max(2 I, H)), with I 768 and H 2,048
    assert sum(leaf.bytes for leaf in after) == 8192 * 8 * (2048 + 2048) * 2


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [({}, 0.24, 0.27), ({"tp": 2}, 2.06, 2.09), ({"tp": 4}, 2.13, 2.21), ({"pp": 2}, 0.07, 0.07)],
)
def test_non_torch_memory_on_h100(options: dict[str, Any], low: float, high: float) -> None:
    """Printed by 35 runs of 0.19.0 (llm-d-incubation/llm-d-planner#205); one figure for two and four ranks."""
    found = rank("llama-3.1-8b", "0.19.0", **options).overhead.bytes / GIB
    assert low - 0.05 <= found <= high + 0.05


@pytest.mark.parametrize(
    ("version", "bytes_of_a_logit"),
    [("0.23.0", 6), ("0.25.1", 6), ("0.26.0", 2), ("0.27.1", 6), ("0.28.0", 2), ("0.33.0", 14)],
)
def test_logits_of_runner_v2(version: str, bytes_of_a_logit: int) -> None:
    """sample/sampler.py copies logits to fp32 in 0.23 and 0.27, changes them in place in 0.26, keeps them in 0.28."""
    options: dict[str, Any] = {"tp": 2, "engine_option": {"max-num-seqs": "1024", "max-num-batched-tokens": "1024"}}
    first = leaves(rank("llama-3-8b", version, **options).temporary.term)[0]
    assert first.factors[-1].value == bytes_of_a_logit


def test_layers_with_states() -> None:
    """The projection in (2 x 2,048 keys, 2 x 6,144 values) and what the kernel gives (6,144) stay beside the block."""
    options: dict[str, Any] = {"engine_option": {"max-num-seqs": "256", "max-num-batched-tokens": "65536"}}
    found = rank("qwen3.6-27b", "0.23.0", "gb10", **options).temporary
    (layer,) = [leaf for leaf in leaves(found.term) if leaf.path == "a layer's activations"]
    assert layer.bytes == 65_536 * (3 * 17_408 + 4 * 5120 + 2 * 2048 + 3 * 6144) * 2


def test_experts_that_ranks_share() -> None:
    """With expert parallelism a rank has whole experts, and is given the tokens of all that share them."""
    sharing = rank("qwen3-30b-a3b", "0.19.0", tp=2, dp=2, ep=4, dp_attention=True)
    (kept,) = [leaf for leaf in leaves(sharing.temporary.term) if leaf.path == "experts' workspace"]
    assert kept.bytes == 2 * 8192 * 8 * (2048 + 2048) * 2


def test_kernels_of_gated_delta_nets_on_blackwell() -> None:
    """vllm-project/vllm#37088: 3,728 MiB on 170 multiprocessors; TMA is off since 0.20.0 (fla/ops/utils.py)."""

    def kernels(version: str, gpu: str) -> int:
        found = rank("qwen3.6-27b", version, gpu, gpu_memory="64GiB").overhead
        return sum(leaf.bytes for leaf in leaves(found) if leaf.path == "kernels of gated delta nets")

    assert kernels("0.19.0", "rtx5090") / MIB == pytest.approx(3728, rel=0.01)
    assert kernels("0.19.0", "h100") == kernels("0.20.0", "rtx5090") == 0


def test_graphs_are_charged_since_0_20() -> None:
    def graphs(version: str, **options: Any) -> list[str]:
        paths = [leaf.path for leaf in leaves(rank("qwen2.5-7b", version, **options).overhead)]
        return [path for path in paths if path.startswith("CUDA graphs")]

    assert not graphs("0.19.0")
    assert graphs("0.20.0")
    assert not graphs("0.28.0")  # runner V2 says 0
    assert graphs("0.29.0")
    assert not graphs("0.33.0", engine_option={"enforce-eager": "true"})


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.12.0", (51, 51, 7, 7, 28, 51, 10, 37, 37)),
        ("0.13.0", (51, 51, 7, 19, 51, 51, 10, 37, 37)),
        ("0.19.0", (51, 51, 7, 19, 51, 51, 10, 37, 37)),
        ("0.20.2", (51, 51, 7, 19, 51, 51, 10, 38, 38)),
        ("0.27.1", (51, 51, 7, 19, 51, 51, 10, 38, 38)),
        ("0.28.0", (51, 83, 7, 19, 51, 83, 10, 38, 38)),
        ("0.29.0", (51, 83, 7, 19, 56, 83, 10, 38, 42)),
        ("0.30.0", (51, 83, 7, 19, 56, 83, 10, 38, 42)),
        ("0.33.0", (51, 83, 7, 19, 56, 83, 11, 38, 42)),
    ],
)
def test_sizes_that_graphs_are_captured_for(version: str, expected: tuple[int, ...]) -> None:
    """As each version's own _set_cudagraph_sizes answers; logs print 51 of 256 sequences and 35 of 128 (0.22.0)."""
    hopper, blackwell = (9, 0), (10, 0)
    cases = [  # max-num-seqs, max-num-batched-tokens, num-speculative-tokens, compute capability
        (1024, 8192, 0, hopper),
        (1024, 8192, 0, blackwell),
        (16, 8192, 0, hopper),
        (16, 8192, 3, hopper),
        (100, 8192, 2, hopper),
        (1024, 8192, 3, blackwell),
        (30, 8192, 0, hopper),
        (1024, 300, 0, hopper),
        (256, 300, 2, hopper),
    ]
    found = []
    for sequences, batch, drafted, capability in cases:
        settings = Settings(
            version=parse_version(version),
            max_model_len=8192,
            max_num_batched_tokens=batch,
            max_num_seqs=sequences,
            block_size=None,
            enable_prefix_caching=True,
            disable_hybrid_kv_cache_manager=False,
            enforce_eager=False,
            usage="server",
            kv_cache_memory_bytes=None,
            num_speculative_tokens=drafted,
        )
        found.append(capture_sizes(settings, capability))
    assert tuple(found) == expected


@pytest.mark.parametrize(("gpu", "sizes"), [("h100", 51), ("b200", 83)])
def test_graphs_of_a_card(gpu: str, sizes: int) -> None:
    rows = [leaf.path for leaf in leaves(rank("llama-3.1-8b", "0.33.0", gpu).overhead)]
    assert f"CUDA graphs, as estimated for {sizes} sizes" in rows


@pytest.mark.parametrize(
    ("gpu", "tp", "version", "thousandths"),
    [
        ("h100", 1, "0.23.0", 21),
        ("l40s", 1, "0.23.0", 19),
        ("l40s", 2, "0.23.0", 19),  # vLLM's own all-reduce
        ("l40s", 4, "0.23.0", 40),
        ("rtx4090", 2, "0.23.0", 40),
        ("rtx5090", 2, "0.23.0", 19),  # none in v10, half of it in h24, whose log says "lacks GPU P2P capability"
        ("h100", 4, "0.23.0", 21),
        ("mi300x", 4, "0.23.0", 21),
    ],
)
def test_graphs_hold_more_where_nccl_sums(gpu: str, tp: int, version: str, thousandths: int) -> None:
    rows = leaves(rank("qwen2.5-7b", version, gpu, tp=tp).overhead)
    found = sum(leaf.bytes for leaf in rows if leaf.path.startswith("CUDA graphs"))
    assert found / GIB == pytest.approx(28 * thousandths / 1000, rel=0.01)


def test_counters_of_runner_v2() -> None:
    """Beside 15.00 GiB of weights 0.26: 256 x 128,256 x 4.125 bytes and the runtime (0.31.0, file 70682754770)."""
    found = {leaf.path: leaf.bytes for leaf in leaves(rank("llama-3-8b", "0.31.0", "a100-80-sxm").overhead)}
    counters = sum(size for path, size in found.items() if path.startswith("penalties"))
    assert counters == 256 * 128256 * 33 // 8
    assert (found["non-torch memory"] + counters) / GIB == pytest.approx(0.26, abs=0.01)


def test_usable_is_what_vllm_requests() -> None:
    """request_memory of vllm/v1/worker/utils.py: math.ceil(total x utilization)."""
    found = rank("llama-3-8b", "0.33.0", gpu_memory=85_020_639_233, utilization="0.92")
    assert found.usable_bytes == ceil(85_020_639_233 * 92 / 100) == 78_218_988_095


def test_memory_of_the_cache_given_outright() -> None:
    options = {"kv-cache-memory-bytes": "20GiB"}
    scenario = kvcalc.make_scenario("llama-3-8b", tp=1, context=8192, engine="vllm", engine_option=options)
    found = kvcalc.capacity(scenario)
    assert (found.cache_memory_bytes, found.tokens) == (20 * GIB, 20 * GIB // 131072)
    small = kvcalc.capacity("llama-3-8b", tp=1, context=8192, engine="vllm", engine_option=options, utilization="0.3")
    assert small.cache_memory_bytes == 20 * GIB


def test_the_memory_of_the_cache_has_the_range_of_what_is_beside_it() -> None:
    given: dict[str, Any] = {"tp": 1, "context": 8192, "engine": "vllm@0.29.0"}
    found = kvcalc.capacity("llama-3-8b", gpu="gb10", **given)
    beside = found.cache_memory_low_bytes, found.cache_memory_bytes, found.cache_memory_high_bytes
    assert beside[0] < beside[1] - 2 * GIB < beside[1] < beside[2] - 4 * GIB
    stated = kvcalc.capacity("llama-3-8b", gpu="gb10", overhead="4GiB", temporary="1GiB", **given)
    assert stated.cache_memory_low_bytes == stated.cache_memory_bytes == stated.cache_memory_high_bytes
    outright = kvcalc.capacity("llama-3-8b", cache_memory="4GiB", **given)
    assert (outright.cache_memory_low_bytes, outright.cache_memory_high_bytes) == (4 * GIB, 4 * GIB)


@pytest.mark.parametrize("asked", [4, 61])  # of 79.2 GiB, of which about 18 are taken by all else
def test_memory_that_is_stated_has_no_range(asked: int) -> None:
    options = {"kv-cache-memory-bytes": f"{asked}GiB"}
    found = kvcalc.capacity("llama-3-8b", gpu="h100", tp=1, context=8192, engine="vllm@0.33.0", engine_option=options)
    assert found.cache_memory_low_bytes == found.cache_memory_bytes == found.cache_memory_high_bytes == asked * GIB


def test_the_cache_of_a_small_model_has_no_more_than_is_usable() -> None:
    found = kvcalc.capacity("pythia-31m", gpu="v100-32", tp=1, context=4096, engine="vllm@0.27.0")
    assert found.gpus is not None
    assert found.cache_memory_bytes < found.cache_memory_high_bytes < found.gpus.usable_bytes


@pytest.mark.parametrize(
    ("engine", "share", "peak"),
    [("sglang@0.5.18", 0.85, 0.0), ("tensorrt-llm", 0.9, 1.5), ("lmdeploy", 0.8, 0.0)],
)
def test_a_share_of_what_is_free_has_the_range_of_a_process_s_context(engine: str, share: float, peak: float) -> None:
    """0.50 to 0.90 GiB of a process were seen: of SGLang before weights are loaded, of the others after."""
    option = {"sglang@0.5.18": {"mem-fraction-static": "0.85"}}.get(engine)
    given: dict[str, Any] = {"temporary": "1.5GiB"} if peak else {}
    found = kvcalc.capacity("llama-3-8b", gpu="h100", tp=1, context=8192, engine=engine, engine_option=option, **given)
    assert found.gpus is not None
    memory = found.gpus.memory_bytes / GIB
    weights = 8_030_261_248 * 2 / GIB
    slack = 0.2 if engine == "lmdeploy" else 0.01  # slabs of its blocks
    for context, bytes_left in ((0.9, found.cache_memory_low_bytes), (0.5, found.cache_memory_high_bytes)):
        outside = weights if engine.startswith("sglang") else 0
        expected = share * (memory - context - peak - (weights - outside)) - outside
        assert bytes_left / GIB == pytest.approx(expected, abs=slack)


@pytest.mark.parametrize(
    ("version", "gpu", "context"),
    [
        ("0.9.0", "l4", 58 * 4 * MIB),
        ("0.8.0", "a10g", 84 * 4 * MIB),  # multiprocessors not known: as many as most have
        ("0.9.1", "l4", None),
        ("0.9.0", "gb10", None),  # what the host gives counts
        ("0.9.0", "mi300x", None),
    ],
)
def test_a_process_s_context_counts_up_to_0_9_0(version: str, gpu: str, context: int | None) -> None:
    found = {leaf.path: leaf.bytes for leaf in leaves(rank("llama-3-8b", version, gpu).overhead)}
    assert found.get("a process's context") == context


@pytest.mark.parametrize(
    ("model", "kv", "options"),
    [
        ("llama-3.1-8b", 58.11, {}),
        ("llama-3.1-8b", 63.76, {"tp": 2}),
        ("qwen2.5-7b", 58.53, {}),
        ("qwen2.5-7b", 67.34, {"tp": 4}),
        ("qwen3-8b", 57.5, {}),
        ("gemma-2-2b", 66.47, {}),
        ("qwen1.5-moe-a2.7b", 45.83, {}),
        ("phi-2", 69.0, {"context": 2048}),
    ],
)
def test_memory_for_the_cache_from_card_and_utilization(model: str, kv: float, options: dict[str, Any]) -> None:
    """llm-d-incubation/llm-d-planner#205: 79.18 GiB seen by the runtime, utilization 0.95."""
    given = {"context": 8192, "tp": 1, "gpu_memory": int(79.18 * GIB), "utilization": "0.95", **options}
    found = kvcalc.capacity(model, engine="vllm@0.19.0", **given)
    assert found.cache_memory_bytes / GIB == pytest.approx(kv, rel=0.01)


@pytest.mark.parametrize(
    ("model", "gated"),
    [  # transformers' classes: two matrices (fc1 and fc2, up and down), or three with a gate
        ("apertus-8b-2509", False),
        ("falcon-7b", False),
        ("gpt2", False),
        ("granite-20b-code-8k", False),
        ("opt-2.7b", False),
        ("phi-1_5", False),
        ("pythia-1b", False),
        ("starcoder2-15b", False),
        ("falcon-h1-34b", True),
        ("gemma-2-2b", True),
        ("llama-3-8b", True),
        ("qwen3-8b", True),
    ],
)
def test_whether_blocks_are_gated_follows_from_the_parameters(model: str, gated: bool) -> None:
    described = kvcalc.load_model(model)
    assert is_gated(described) is gated
    if described.intermediate_size is not None:  # then whatever it is called
        assert is_gated(replace(described, name="mine")) is gated


def test_embeddings_are_not_sampled() -> None:
    """github.com/Zzsf11/VideoCuttingAgent, Qwen3-Embedding-8B with 0.12.0 on an H100: 0.93 GiB beside its weights."""
    temporary = rank("qwen3-embedding-8b", "0.12.0", engine_option={"runner": "pooling"}).temporary
    assert temporary.term is not None
    assert not [leaf.path for leaf in leaves(temporary.term) if "sampl" in leaf.path]
    assert temporary.low / GIB == pytest.approx(0.93 - 0.07, abs=0.06)  # a start that compiled nothing, by its figure


def test_towers_that_are_left_out() -> None:
    """Qwen3.6-35B-A3B in bf16 with --language-model-only: 64.69 GiB (0.19.2; djangodevreng/dgx-spark-benchmarks)."""
    text, whole = (
        rank("qwen3.6-35b-a3b", "0.19.0", "gb10", weights=None, engine_option={"language-model-only": told}).weights
        for told in ("true", "false")
    )
    assert text is not None
    assert whole is not None
    assert text.bytes / GIB == pytest.approx(64.69, abs=0.005)
    assert whole.bytes - text.bytes >= 2 * 446_571_248


def test_towers_are_loaded_by_old_versions() -> None:
    with pytest.raises(KvcalcError, match=r"before 0\.15"):
        kvcalc.estimate("qwen3-vl-8b", engine="vllm@0.13.0", gpu="h100", engine_option={"language-model-only": "true"})
