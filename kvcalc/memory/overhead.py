"""Overhead: what a rank's runtime holds beside weights, cache and activations. Each part is a row that can be replaced.

The CUDA context is not among them: it lives in the part of the memory that utilization leaves out.
"""

from __future__ import annotations

from functools import lru_cache

from kvcalc.gpu import CUDA_CONTEXT_BYTES
from kvcalc.term import GIVEN, Factor, Product, Sum
from kvcalc.units import GIB, MIB

_ALONE = GIB // 10
_PER_DOUBLING = GIB // 2
_GRAPHS = 7 * GIB // 10

_COMMUNICATION_SOURCE = (
    "non-torch memory in vLLM logs: 0.07 to 0.13 GiB on one GPU and 0.55 on two "
    "(llm-d/llm-d-benchmark, config_explorer/empirical-vllm-memory-results.md), about 1 on eight A100-40; NCCL buffers "
    "grow with the ranks (NVIDIA/nccl#964: 544 MB for 2 GPUs, 688 MB for more). Up to 7 GiB was logged on eight H200"
)
_GRAPHS_SOURCE = (
    "CUDA graphs in vLLM logs: 0.17 (1.5B, T4) to 2.4 GiB (Yi-34B on 4 GPUs, vllm-project/vllm#7553); 0.67 for a 7B on "
    "H100 with 67 sizes"
)


@lru_cache(maxsize=1024)
def overhead(ranks: int, replacement: int | None, vendor: str | None = None) -> Sum:
    """Overhead of one rank, among `ranks` GPUs that exchange activations, or the user's own figure.

    None of Apple's chips, which have neither NCCL nor CUDA graphs.
    """
    if replacement is not None:
        return Sum("overhead", (Product("given", (Factor("given", replacement, "byte"),), GIVEN),))
    if vendor == "Apple":
        return Sum("overhead", ())
    doublings = (ranks - 1).bit_length()
    factors = (
        (
            Factor("bytes_per_doubling", _PER_DOUBLING, "byte"),
            Factor(
                "doublings_of_ranks",
                doublings,
                "doubling of ranks",
            ),
        )
        if doublings
        else (Factor("on_one_rank", _ALONE, "byte"),)
    )
    return Sum(
        "overhead",
        (
            Product("communication", factors, _COMMUNICATION_SOURCE),
            Product("cuda graphs", (Factor("seen_in_practice", _GRAPHS, "byte"),), _GRAPHS_SOURCE),
        ),
    )


def overhead_figures() -> tuple[str, str]:
    """The figures and their sources, for people who ask."""
    formula = (
        f"communication: {_ALONE / GIB:.1f} GiB on one rank, else {_PER_DOUBLING / GIB:.1f} GiB x ceil(log2(tp x "
        f"pp)), with dp-attention of tp x pp x dp; CUDA graphs: {_GRAPHS / GIB:.1f} GiB; the CUDA context (about "
        f"{CUDA_CONTEXT_BYTES // MIB} MiB) lives in the memory that utilization leaves out"
    )
    return formula, f"{_COMMUNICATION_SOURCE}; {_GRAPHS_SOURCE}"
