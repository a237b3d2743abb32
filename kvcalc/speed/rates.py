"""What was timed on a machine: seconds of one thing, bytes and operations a second, and the machine. Keys of JSON."""

from __future__ import annotations

from typing import Any

from kvcalc.noun import noun
from kvcalc.record import Record


@noun
class Timed(Record):
    """Seconds of one thing, done again and again.

    Attributes:
        low_s: a quarter of the samples took less.
        high_s: a quarter took more.
        spread: (high_s - low_s) / median_s.
        rounds: how often all samples were taken, until they spread little enough; the last round is here.
        samples: seconds, in the order in which they were taken.
    """

    median_s: float
    low_s: float
    high_s: float
    spread: float
    rounds: int
    samples: tuple[float, ...]

    @property
    def times(self) -> dict[str, Any]:
        """Its own fields by name, for what has more of them."""
        return {name: getattr(self, name) for name in OF_TIMES}


OF_TIMES = Timed.__match_args__


@noun
class Rate(Timed):
    """Bytes or operations a second of the machine, measured in the same run.

    Attributes:
        how: what was done.
        per_s: by the median.
        work: bytes or operations of one sample.
    """

    how: str
    per_s: float
    work: int


@noun
class Machine(Record):
    """What it was measured on.

    Attributes:
        device: cpu or cuda.
        device_name: as its driver calls it.
        system: the operating system and its architecture.
        torch: version.
        threads: that torch computes with on a CPU.
        processor_cache_bytes: of the largest caches of the processor; every sample reads memory that lies in none.
        bf16: whether the processor multiplies bf16 itself; None where that is not known.
        read: the read bandwidth: the fastest of several ways to read.
        matrix: the rate of a matrix product in the format of the cache.
    """

    device: str
    device_name: str
    system: str
    torch: str
    threads: int
    processor_cache_bytes: int
    bf16: bool | None
    read: Rate
    matrix: Rate

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Of reading."""
        return self.read.per_s

    @property
    def flops_per_s(self) -> float:
        """Of a matrix product."""
        return self.matrix.per_s


OF_A_MACHINE = (
    "device",
    "device_name",
    "system",
    "torch",
    "threads",
    "processor_cache_bytes",
    "bf16",
    "bandwidth_bytes_per_s",
    "flops_per_s",
    "read",
    "matrix",
)
"""What JSON has of it, at the top."""
