"""Cards whose memory is the CPU's too, for engines that share out what CUDA says is free.

There cudaMemGetInfo does not count as free what the system keeps of files that were just read, as those of the weights.
A log of TensorRT-LLM on a DGX Spark has 49.28 of 119.70 GiB outside torch, where cards of their own have less than 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from kvcalc.gpu import Gpu


def refuse_shared_memory(gpu: Gpu, engine: str) -> None:
    """Refuses a budget that depends on what else holds memory when the server starts.

    Raises:
        KvcalcError: the card's memory is the system's, and nobody said how much of it the GPU has.
    """
    if gpu.host_link == "unified" and gpu.vendor == "NVIDIA" and gpu.memory_from != "user":
        raise KvcalcError(
            f"--gpu: {gpu.name}: {engine} gives the cache a share of what CUDA says is free, and where the CPU has the "
            "same memory the files that were just read count as used (49 of 120 GiB in one log), so what is left is "
            "not known before a start; give --gpu-memory SIZE, what other programs and files leave of it, or "
            "--cache-memory SIZE without --gpu"
        )
