"""What a comparison with a start-up log answers: records whose field names are the keys of JSON."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, ClassVar

from kvcalc.noun import noun
from kvcalc.record import BESIDE, Record, Result, under

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.note import Note
    from kvcalc.scenario import Scenario
    from kvcalc.term import Sum
    from kvcalc.verbs.question import Accelerator, ModelSummary, Question, WorkloadSummary

TOKENS = "tokens"
JUDGED = (TOKENS, "blocks", "concurrency")
"""Figures of the pool, of which the first that a log prints is judged: versions print different ones."""

GIVEN = ", given the printed memory"
"""Behind the name of a figure that is predicted of the memory for the cache as it is printed."""

RESERVED = ("cache memory", "caches and states")
"""Figures that are judged too, of engines that are told their tokens and reserve all of them at the start."""

MOST_DIFFERENCE = 0.05
"""A difference of the tokens above this is a no."""


@noun
class LogSummary(Record):
    """The log itself; paths and names of machines are not repeated.

    Attributes:
        version: of its engine, as it writes it.
        model: its name on the Hub; None where the log has a path or no name.
        device: what the driver calls the accelerator.
        starts: how many there are in the log; the last is compared.
        cut: whether the log is longer than what was read.
        refused: why the server did not start, as the log says; None where it does not say so.
    """

    engine: str
    version: str | None
    model: str | None
    device: str | None
    starts: int
    cut: bool
    refused: str | None


@noun
class LogSetting(Record):
    """An option that the prediction was made with.

    Attributes:
        option: of kvcalc, with its dashes, or the engine's own, without.
        source: `given` on the command line, `log`, or `assumed` where neither says it.
    """

    option: str
    value: str
    source: str


@noun
class LogRow(Record):
    """A figure as predicted and as printed, in whole bytes where it is memory.

    Attributes:
        unit: bytes, blocks, tokens or sequences.
        printed: None where the log does not have it.
        predicted: None where it is not known.
        difference: predicted / printed - 1; None where printed is 0 or one of them is not known.
        predicted_low: where the prediction is a range, the least of it, and so the most; else both are `predicted`.
        as_printed: with its unit and its decimals.
        why: what explains a difference, or is to know.
    """

    name: str
    unit: str
    printed: int | float | None
    predicted: int | float | None
    difference: float | None
    predicted_low: int | float | None
    predicted_high: int | float | None
    as_printed: str | None
    why: str | None


def _is_covered(row: LogRow) -> bool:
    """Whether the range that is predicted holds what is printed."""
    low, high, printed = row.predicted_low, row.predicted_high, row.printed
    return low is not None and high is not None and printed is not None and low <= printed <= high


@noun
class ExactOptions(Record):
    """Options with which the prediction is what was printed, or nearest to it.

    Attributes:
        command: the whole command line.
        pool: those that give the cache its memory; empty where the log does not print it.
        parts: those that give the memory beside it; empty where the log does not print its parts.
        tokens: that a capacity with `pool` then holds.
        as_printed: whether the memory of `pool` rounds to the printed one and holds the printed tokens, blocks or
            concurrency.
    """

    command: str
    pool: tuple[str, ...]
    parts: tuple[str, ...]
    tokens: int | None
    as_printed: bool


@noun
class LogCheck(Result):
    """A start-up log beside what is predicted of such a server.

    Attributes:
        settings: what the prediction was made with.
        card_by_cache: whether the card's memory is told by that of its cache, since nothing else tells it. What
            follows from it is no test then, and the pool is judged as it follows from the printed memory.
        question: the same for people.
        serves_one: whether a cache is predicted that holds one request: without it the engine refuses to start.
        at_limit: the fullest rank as it is predicted, with as many sequences as it holds.
    """

    command: ClassVar[str] = "capacity"

    log: LogSummary
    model: ModelSummary
    workload: WorkloadSummary
    engine: str = field(metadata=under("deployment"))
    engine_version: str | None = field(metadata=under("deployment"))
    deployment: Deployment
    gpus: Accelerator | None
    settings: tuple[LogSetting, ...]
    card_by_cache: bool
    rows: tuple[LogRow, ...]
    exact: ExactOptions
    serves_one: bool
    notes: tuple[Note, ...]
    question: Question = field(metadata=BESIDE)
    scenario: Scenario
    at_limit: Sum

    def row(self, name: str) -> LogRow | None:
        """The row of that name."""
        return next((each for each in self.rows if each.name == name), None)

    @property
    def judged(self) -> LogRow | None:
        """The figure of the pool that is judged: the first that the log prints; None where it prints none.

        Of an engine that reserves all at the start, the one that is farthest off.
        """
        named = (*JUDGED, *(RESERVED if self.engine == "llama-cpp" else ()))
        if self.card_by_cache:
            named = tuple(f"{name}{GIVEN}" for name in JUDGED)
        found = [
            row for name in named if (row := self.row(name)) and row.printed is not None and row.predicted is not None
        ]
        if self.engine == "llama-cpp":
            return max(found, key=lambda row: abs(row.difference or 0), default=None)
        return next(iter(found), None)

    @property
    def differs(self) -> bool:
        """Whether the server did not do what is predicted: it has another pool, or did not start."""
        if self.log.refused is not None:
            return self.serves_one
        row = self.judged
        if row is None or (self.card_by_cache and _is_covered(row)):
            return False
        return row.predicted != row.printed if row.difference is None else abs(row.difference) > MOST_DIFFERENCE

    @property
    def verdict(self) -> str:
        """What is judged, and how; in words."""
        row = self.judged
        if self.log.refused is not None:
            predicted = "is predicted to start" if self.serves_one else "is predicted not to start"
            return f"the log says that the server did not start ({self.log.refused}); such a server {predicted}"
        if row is None:
            return f"not judged: the log prints none of {', '.join(JUDGED)}"
        if row.difference is None:
            return f"{row.name}: {row.printed:,} printed, {row.predicted:,} predicted"
        far = "more than" if self.differs else "within"
        return f"{row.name}: {abs(row.difference):.2%} off, {far} {MOST_DIFFERENCE:.0%}"

    @property
    def brief(self) -> str:
        return f"{self.model.name}: {self.verdict}"
