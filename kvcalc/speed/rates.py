"""What was timed on a machine: seconds of one thing, bytes and operations a second, and the machine. Keys of JSON."""

from __future__ import annotations

from kvcalc.noun import noun
from kvcalc.record import Record


@noun
class Timed(Record):
    """Seconds of one thing, done again and again.

    Attributes:
        low_seconds: a quarter of the samples took less.
        high_seconds: a quarter took more.
        spread: (high - low) / median.
        rounds: how often all samples were taken, until they spread little enough; the last round is here.
        samples: seconds, in the order in which they were taken.
    """

    median_seconds: float
    low_seconds: float
    high_seconds: float
    spread: float
    rounds: int
    samples: tuple[float, ...]


@noun
class Rate(Record):
    """Bytes or operations a second of the machine, measured in the same run.

    Attributes:
        how: what was done.
        per_second: by the median.
        work: bytes or operations of one sample.
        timed: the samples.
    """

    how: str
    per_second: float
    work: int
    timed: Timed


@noun
class Machine(Record):
    """What it was measured on.

    Attributes:
        device: cpu or cuda.
        name: as its driver calls it.
        system: the operating system and its architecture.
        torch: version.
        threads: that torch computes with on a CPU.
        cache_bytes: of the largest caches of the processor; every sample reads memory that lies in none.
        bf16: whether the processor multiplies bf16 itself; None where that is not known.
        read: the read bandwidth: the fastest of several ways to read.
        matrix: the rate of a matrix product in the format of the cache.
    """

    device: str
    name: str
    system: str
    torch: str
    threads: int
    cache_bytes: int
    bf16: bool | None
    read: Rate
    matrix: Rate
