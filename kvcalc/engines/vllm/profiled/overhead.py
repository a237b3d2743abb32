"""What a rank of vLLM holds beside weights, cache and the profiling run's peak: rows, each with what was observed.

Non-torch memory is what the device has lost since the start beyond what PyTorch reserves (MemorySnapshot of
vllm/utils/mem_utils.py): NCCL's and NVLink's buffers, loaded kernels. CUDA graphs are charged to the pool as an
estimate from 0.20 on (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS); before that they lie outside of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.budget import Seen
from kvcalc.engines.vllm.defaults import ENGINE_V1, GB10, THOR
from kvcalc.engines.vllm.profiled.graph_sizes import capture_sizes
from kvcalc.engines.vllm.profiled.reserved import ALL_THAT_IS_CONSUMED, reserved_of
from kvcalc.term import Factor, Product, Sum
from kvcalc.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.engines.vllm.traits import Traits
    from kvcalc.gpu import Gpu

UNIFIED = (GB10, THOR)
"""Capabilities of cards that share the host's memory."""
HOST_ASKED, PROFILED_WITH_KERNELS = (0, 12), (0, 18)
"""psutil.virtual_memory tells what is free of memory shared with the host: not in 0.11.0, and in 0.12.0. What kernels
load while memory is profiled was seen to count from 0.18 on."""
MORE_OVER_NVLINK, FEW_RANKS = (0, 18), 2
"""2 ranks were seen to hold as much as 8 from 0.18 on."""

GRAPHS_CHARGED = (0, 20)
GRAPHS_CHARGED_V2 = (0, 29)
"""Runner V2 says 0 in 0.26, and estimates in 0.29 (profile_cudagraph_memory of v1/worker/gpu/model_runner.py)."""


class Ranged(NamedTuple):
    """A row, and the range around it in bytes."""

    row: Product
    low: int
    high: int


_PLANNER_RUNS = "llm-d-incubation/llm-d-planner#205, 0.19.0 on H100"

_ALONE = Seen(
    6, 25, 46, f"one GPU, 0.18 and later: 0.24 to 0.27 in 33 runs of {_PLANNER_RUNS}, twice 0.46; 0.2 to 0.26 later"
)
_ALONE_GDDR = Seen(
    6,
    15,
    25,
    "one GPU of Ada or of Blackwell's cards with GDDR, 0.18 and later: 0.07 and 0.16 printed; what is left in 16 logs "
    "of nine kinds of cards: 0.03 to 0.25, of which the middle is counted",
)
_ALONE_SMALL = Seen(6, 13, 25, "one GPU before sm89, 0.18 and later: 0.07 and 0.13 [fewer than three logs]")
_ALONE_BEFORE = Seen(2, 13, 20, "one GPU, 0.15 to 0.17: 0.13 [fewer than three logs]")
_ALONE_FIRST = Seen(2, 3, 11, "one GPU up to 0.14: 0.02 to 0.11 in ten logs (0.10.2 0.02, 0.14 0.03, V0 0.02 to 0.09)")
_ALONE_HOPPER = Seen(
    7, 26, 179, "one H100 before 0.8 and from 0.15 to 0.17: 0.12, 0.16, 0.26 and 1.79 (vllm-project/vllm#10511)"
)
_ALONE_HOPPER_V1 = Seen(6, 7, 61, "one H100 from 0.8 to 0.14: 0.07 in three logs of 0.10.2, 0.61 in one of 0.13")
_UNIFIED = Seen(
    13,
    440,
    640,
    "memory shared with the host, whose processes count too (psutil.virtual_memory of vllm/utils/mem_utils.py): 0.13, "
    "2.2 and 4.64 printed on GB10 (0.27, 0.28); what is left in 25 logs of nine machines (0.18 to 0.29): 1.3 to 6.4, "
    "of which the middle is counted, and 16.7 of one pair (MiniMax-M2.7); 3.1 on a Jetson Thor (0.10.2)",
)
_STAGES = Seen(7, 7, 25, f"pipeline stages of one GPU: 0.07 with 2 and 4 stages in {_PLANNER_RUNS}")
_NVLINK = Seen(
    95, 210, 221, f"ranks over NVLink: 2.06 to 2.21 with 2 and 4 in eight runs of {_PLANNER_RUNS}; 2.10 of 8 A100"
)
_UNIFIED_BEFORE = Seen(
    13,
    200,
    310,
    "memory shared with the host from 0.12 to 0.17: 1.4, 1.4, 1.9, 2.0, 2.7 and 2.9 left in six logs of 0.13 of two "
    "GB10 [two machines], of which the middle is counted; 0.13 and 3.1 in other versions",
)
_NVLINK_BEFORE = Seen(
    60,
    100,
    221,
    "2 ranks over NVLink before 0.18: 1.38 printed on H200 (0.10.2); 0.6 to 0.8 left in three logs of one machine of "
    "H100 (0.12) [two machines]; up to 2.2 later",
)
_LARGE_NVLINK = Seen(95, 150, 221, "ranks over NVLink on cards of 184 GiB: 0.95 with 4 [one log], up to 2.2 on others")
_PCIE = Seen(9, 21, 73, "ranks over PCIe: 0.09 (4 of 24 GiB), 0.20 (16 RTX 3090), 0.21 (4 L40S), 0.25 (2 RTX 4090)")
_ROCM = Seen(46, 56, 178, "ROCm: 0.46, 0.56 and 0.62 on one GPU; 0.73 of 2 MI50, 1.78 of 8 DCU")

_ALL_USED = Seen(51, 60, 179, "0.6.4, which counts all that the device has given: a process's context, 0.50 to 0.60")
COUNTS_ALL_USED = ((0, 6, 4), (0, 6, 5))
"""non_torch_allocations of determine_num_available_blocks in vllm/worker/worker.py of 0.6.4: total - free -
allocated."""
V1_COUNTS_ALL_USED = (0, 9, 1)
"""V1 counts so up to 0.9.0.1 (determine_available_memory of vllm/v1/worker/gpu_worker.py). From 0.9.1 on it subtracts
what was taken when the worker began (init_snapshot of the same file), a context among it."""
CONTEXT_OF_A_MULTIPROCESSOR = 4 * MIB
"""A process's context as total minus free at start-up in logs of single cards: 0.23 GiB on L4 (58 multiprocessors),
0.34 on RTX A6000 (84), 0.52 on H100 (132), 0.49 on L40S (142), 0.55 on RTX 5090 (170), 0.56 on RTX PRO 6000 (188).
Fitted."""
USUAL_MULTIPROCESSORS = 84
"""Of a card whose number is not known."""

TMA_IN_PROFILE, TMA_OFF = (0, 18), (0, 20)
"""is_tma_supported of vllm/model_executor/layers/fla/ops/utils.py: every card from compute capability 9.0 in 0.19, and
none unless asked in 0.20.0. The kernels run while memory is profiled since 0.18."""

DELTA_OF_A_MULTIPROCESSOR = 22 * MIB
"""What the driver keeps once a kernel of a gated delta net uses TMA on Blackwell: vllm-project/vllm#37088, 3,728 MiB on
170 multiprocessors and 1,077 on 48."""

GRAPHS_OF_A_LAYER = 21 * GIB // 1000
"""Estimated CUDA graph memory: 0.49 to 1.69 GiB in 35 runs of 0.19.0 on H100 (20 to 80 layers, 51 sizes), 0.021 a layer
on average. Fitted. Later logs: 0.37 (28 layers, 35 sizes), 0.19 to 0.78, 1.55, 1.94."""
GRAPHS_OF_A_LAYER_NOT_HOPPER = 19 * GIB // 1000
"""The same on other cards: 0.0135 to 0.0248 a layer of 51 sizes in eight logs of one GPU (0.19 to 0.25), 0.019 in the
middle; 0.049 and 0.065 in two more. Fitted."""
GRAPHS_OF_NCCL = 21 * GIB // 1000
"""What a layer's graphs of all sizes hold beside that where NCCL adds up what ranks computed: 0.034 to 0.052 a layer in
all (0.10 to 0.19; 4 L40S, 4 RTX 3090, 4 A100 PCIe, 2 of compute capability 8.9, 2 A100 of two nodes), where 2 A100 PCIe
with vLLM's own all-reduce have 0.023. Cards of Blackwell show none: 4 RTX PRO 6000 had 0.016 in all (0.28), 2 RTX 5090
none (0.26.1rc1, by its tokens) and half as much (0.20.0). Fitted."""
OWN_ALL_REDUCE_OVER_PCIE = 2
"""Ranks at most: CustomAllreduce of vllm/distributed/device_communicators/custom_all_reduce.py is disabled on more
without NVLink, and where cards cannot reach each other's memory, as GeForce cards without a bridge cannot."""
GRAPHS_OF_A_SIZE_V2 = 8 * MIB
"""The same of runner V2, which estimates from 0.29 (profile_cudagraph_memory of v1/worker/gpu/cudagraph_utils.py; 0
before): what is left of four logs of 51 sizes once their embeddings made to time kernels are counted, 0.43 GiB on A100
(0.31, 32 layers), 0.35 on H200 (0.31, 28), 0.31 on T4 (0.29, 28) and no more than 0.46 on RTX 5060 Ti (0.29, 28).
Fitted."""
LEAST_GRAPHS = GIB // 10
ADA, HOPPER, BLACKWELL_GDDR = (8, 9), (9, 0), (12, 0)
CONTEXT_BYTES = 550 * MIB
"""Of a process: 512 to 614 MiB as total minus free at start-up in logs of H100, H200 and RTX 5090."""
ALL_SIZES = 51
"""Sizes of 1,024 or 256 sequences: 1, 2, 4, each 8 up to 256, each 16 up to 512."""


def overhead_of(
    setup: Setup, settings: Settings, traits: Traits, layers: int, *, first: bool, last: bool
) -> tuple[Ranged, ...]:
    """The rows of a rank.

    Args:
        setup: the model on its deployment.
        settings: what the server runs with.
        traits: of the model.
        layers: that the rank's stage holds.
        first: whether the stage embeds.
        last: whether the stage samples.
    """
    return tuple(_rows(setup, settings, traits, layers, first=first, last=last))


def total(rows: tuple[Ranged, ...]) -> Sum:
    """The rows as one term."""
    return Sum("overhead", tuple(each.row for each in rows))


def _rows(
    setup: Setup, settings: Settings, traits: Traits, layers: int, *, first: bool, last: bool
) -> Iterator[Ranged]:
    yield _observed("non-torch memory", _non_torch(setup, settings))
    unified = setup.gpu.compute_capability in UNIFIED
    if not unified and settings.runner == "v1" and settings.version < V1_COUNTS_ALL_USED:
        yield from _context(setup.gpu)
    if not unified and (reserved := reserved_of(setup, settings, traits, first=first)) is not None:
        yield Ranged(reserved.row, 0, reserved.high)
    multiprocessors = setup.gpu.multiprocessors
    tma = TMA_IN_PROFILE <= settings.version < TMA_OFF and _is_blackwell(setup.gpu)
    if traits.gated_delta and tma and multiprocessors:
        each = Factor("of_each", DELTA_OF_A_MULTIPROCESSOR, "byte")
        factors = (Factor("multiprocessors", multiprocessors, "multiprocessor"), each)
        source = "vllm-project/vllm#37088, vllm-project/vllm#36973"
        yield _known(Product("kernels of gated delta nets", factors, source))
    vocab = setup.model.vocab_size
    samples = last and not settings.pools
    if settings.runner == "v2" and settings.version >= ALL_THAT_IS_CONSUMED and samples and vocab:
        sequences = Factor("max_num_seqs", settings.max_num_seqs, "sequence")
        source = "vllm/v1/worker/gpu/sample/penalties.py, PenaltiesState"
        yield _known(
            Product(
                "penalties: counts of sampled tokens",
                (sequences, Factor("vocab_size", vocab, "token"), Factor("int32", 4, "byte")),
                source,
            )
        )
        words = Factor("words_of_vocab_size", -(-vocab // 32), "word of 32 tokens")
        yield _known(
            Product("penalties: mask of prompt tokens", (sequences, words, Factor("int32", 4, "byte")), source)
        )
    if graphs_charged(settings):
        yield graphs_of(setup, settings, layers)


def graphs_charged(settings: Settings) -> bool:
    """Whether the pool is smaller by an estimate of CUDA graphs."""
    since = GRAPHS_CHARGED_V2 if settings.runner == "v2" else GRAPHS_CHARGED
    return not settings.enforce_eager and settings.version >= since


def graphs_of(setup: Setup, settings: Settings, layers: int) -> Ranged:
    """The graphs of a rank, as vLLM would estimate them."""
    sizes = capture_sizes(settings, setup.gpu.compute_capability)
    nccl = GRAPHS_OF_NCCL if _sums_by_nccl(setup) else 0
    if settings.runner == "v2":
        each = GRAPHS_OF_A_SIZE_V2 + layers * nccl // ALL_SIZES
        factors = (Factor("sizes", sizes, "size"), Factor("of_each", each, "byte"))
        source = "fitted on four logs of runner V2"
    else:
        hopper = setup.gpu.compute_capability in {HOPPER, None}
        layer = nccl + (GRAPHS_OF_A_LAYER if hopper else GRAPHS_OF_A_LAYER_NOT_HOPPER)
        each = max(layer * sizes // ALL_SIZES, -(-LEAST_GRAPHS // max(1, layers)))
        factors = (Factor("layers", layers, "layer"), Factor("of_each", each, "byte"))
        source = "fitted on 35 logs of 0.19.0 on H100" if hopper else "fitted on eight logs of one GPU"
    if nccl:
        source += "; on five of ranks whose sums NCCL makes"
    row = Product(f"CUDA graphs, as estimated for {sizes} sizes", factors, source)
    return Ranged(row, row.bytes // 3, 2 * row.bytes + 3 * GIB // 10)


def _sums_by_nccl(setup: Setup) -> bool:
    """Whether graphs hold what NCCL needs: ranks add up through it, not through vLLM's own all-reduce."""
    gpu, ranks = setup.gpu, setup.deployment.tp
    if gpu.vendor != "NVIDIA" or ranks == 1 or not _over_pcie(gpu):
        return False
    if (gpu.compute_capability or HOPPER) >= BLACKWELL_GDDR:
        return False
    without_bridge = "GeForce" in (gpu.title or "") and "NVLink" not in (gpu.interconnect or "")
    return without_bridge or ranks > OWN_ALL_REDUCE_OVER_PCIE


def _over_pcie(gpu: Gpu) -> bool:
    return not (gpu.interconnect or "").startswith("NVLink")


def _context(gpu: Gpu) -> Iterator[Ranged]:
    """Of a process, where it counts; other processes on the card count too."""
    if gpu.vendor == "NVIDIA":
        each = Factor("of_each", CONTEXT_OF_A_MULTIPROCESSOR, "byte")
        factors = (Factor("multiprocessors", gpu.multiprocessors or USUAL_MULTIPROCESSORS, "multiprocessor"), each)
        row = Product("a process's context", factors, "vllm/v1/worker/gpu_worker.py of 0.8 to 0.9.0; fitted")
        yield Ranged(row, 3 * row.bytes // 4, 3 * row.bytes // 2)


def _non_torch(setup: Setup, settings: Settings) -> Seen:
    gpu, deployment = setup.gpu, setup.deployment
    if gpu.vendor == "AMD":
        return _ROCM
    since, until = COUNTS_ALL_USED
    if since <= settings.version < until and deployment.tp == 1:
        return _ALL_USED
    if gpu.compute_capability in UNIFIED:
        return _UNIFIED_BEFORE if HOST_ASKED <= settings.version < PROFILED_WITH_KERNELS else _UNIFIED
    if deployment.tp > 1:
        return _between_ranks(gpu, settings, deployment.tp)
    if deployment.pp > 1:
        return _STAGES
    return _alone(gpu, settings)


def _between_ranks(gpu: Gpu, settings: Settings, tp: int) -> Seen:
    size = gpu.memory_bytes or 0
    if _over_pcie(gpu) or size <= 36 * GIB:
        return _PCIE
    if settings.version < MORE_OVER_NVLINK and tp <= FEW_RANKS:
        return _NVLINK_BEFORE
    return _LARGE_NVLINK if size > 150 * GIB else _NVLINK


def _alone(gpu: Gpu, settings: Settings) -> Seen:
    capability = gpu.compute_capability or (8, 0)
    if settings.version >= (0, 18):
        if capability < (8, 9):
            return _ALONE_SMALL
        return _ALONE_GDDR if capability == ADA or capability >= BLACKWELL_GDDR else _ALONE
    if capability >= (9, 0):
        return _ALONE_HOPPER_V1 if ENGINE_V1 <= settings.version < (0, 15) else _ALONE_HOPPER
    return _ALONE_BEFORE if settings.version >= (0, 15) else _ALONE_FIRST


def _observed(name: str, seen: Seen) -> Ranged:
    row = Product(name, (Factor("seen_in_practice", _gib(seen.typical), "byte"),), seen.source)
    return Ranged(row, _gib(seen.low), _gib(seen.high))


def _known(row: Product) -> Ranged:
    return Ranged(row, row.bytes, row.bytes)


def _gib(hundredths: int) -> int:
    return hundredths * GIB // 100


def _is_blackwell(gpu: Gpu) -> bool:
    return gpu.compute_capability is not None and gpu.compute_capability >= (10, 0)
