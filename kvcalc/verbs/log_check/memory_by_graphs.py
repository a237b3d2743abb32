"""A card's memory by what vLLM says of its CUDA graphs, where the log has no line of the memory itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fractions import Fraction

    from kvcalc.logs import ServerLog

SOURCE = "vllm/v1/worker/gpu_worker.py, determine_available_memory: cg_util_delta"


class Between(NamedTuple):
    """Bytes that a memory lies between, since what it follows from is rounded."""

    low: Fraction
    high: Fraction


def memory_by_graphs(log: ServerLog) -> Between | None:
    """The estimate of the graphs, divided by the utilization that it is said to be worth; None where either lacks."""
    graphs, share = log.most("CUDA graphs, estimated"), log.most("utilization")
    other = log.most("utilization without graphs") or log.most("utilization with graphs")
    if graphs is None or share is None or other is None or graphs.value <= graphs.off:
        return None
    delta, off = abs(share.value - other.value), other.off
    if delta <= off:
        return None
    return Between((graphs.value - graphs.off) / (delta + off), (graphs.value + graphs.off) / (delta - off))
