"""What bench answers: records whose field names are the keys of JSON. Every sample is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kvcalc.noun import noun
from kvcalc.record import Record, Result
from kvcalc.speed.rates import Machine, Rate, Timed

if TYPE_CHECKING:
    from kvcalc.note import Note
    from kvcalc.verbs.question import ModelSummary, WorkloadSummary


@noun
class Tried(Record):
    """A path, and what became of it.

    Attributes:
        call: what it calls.
        state: chosen, slower, stopped (so slow that one sample is all), wrong, failed, or not here.
        why: of what is wrong, failed or not here; else empty.
        error: how far it is off the textbook module, as a share of the largest output; None where it was not proven.
        attention: None where it was not timed.
    """

    name: str
    call: str
    state: str
    why: str
    error: float | None
    attention: Timed | None


@noun
class Part(Record):
    """Attention alone, or the layer with its projections.

    Attributes:
        bytes: that it must read, at least.
        operations: that it must compute, at least.
        bytes_per_second: by the median.
        operations_per_second: likewise.
        read_share: of the measured read bandwidth.
        matrix_share: of the measured rate of a matrix product.
        bound_seconds: the longer of bytes / bandwidth and operations / rate, as measured here.
        limited_by: memory or compute.
        bound_share: bound_seconds / median.
    """

    timed: Timed
    bytes: int
    operations: int
    bytes_per_second: float
    operations_per_second: float
    read_share: float
    matrix_share: float
    bound_seconds: float
    limited_by: str
    bound_share: float


@noun
class Measured(Record):
    """One mechanism.

    Attributes:
        own: whether it is the model's own.
        layer: the kind of layer that was measured.
        layers: how many of them the model has.
        positions: rows of each sequence that a step reads.
        copies: caches that took turns, so that none lay in the processor's caches.
        path: the fastest one.
        attention: one step of it.
        whole: one step of the attention layer: projections, the new row, attention, output projection.
        speed_up: of attention over MHA's; None where MHA was not measured.
        paths: all that were tried.
    """

    mechanism: str
    own: bool
    layer: str
    layers: int
    positions: int
    copies: int
    path: str
    attention: Part
    whole: Part
    speed_up: float | None
    paths: tuple[Tried, ...]


@noun
class Point(Record):
    """At so many tokens of one sequence.

    Attributes:
        operations: that must be computed, at least.
        matrix_share: of the measured rate of a matrix product.
    """

    tokens: int
    timed: Timed
    operations: int
    matrix_share: float


@noun
class Growth(Record):
    """How time grows with the tokens: the exponent is fitted to the medians, by least squares of logarithms.

    Attributes:
        step: decode or prefill.
        path: that was taken.
        exponent: 1 is linear, 2 the square; None of fewer than two points.
        error: of the path of prefill, how far it is off the textbook module; None of decode, which has been proven.
    """

    mechanism: str
    step: str
    path: str
    exponent: float | None
    error: float | None
    points: tuple[Point, ...]


@noun
class Claim(Record):
    """What an article says of speed, and whether it held here.

    Attributes:
        mechanism: that it is about.
        words: the article's, restated.
        source: which article.
        asked: what was compared.
        low: the figure with each median at its worse quartile; None where it was not measured.
        figure: by the medians.
        high: at its better one.
        least: that the article's words ask for; None where they ask for none.
        most: likewise.
        verdict: held, not here, undecided (within the spread), or not measured.
    """

    mechanism: str
    words: str
    source: str
    asked: str
    low: float | None
    figure: float | None
    high: float | None
    least: float | None
    most: float | None
    verdict: str


@noun
class Offloaded(Record):
    """Attention with a share of the sequences' caches in host memory, or of a CPU in a file.

    Attributes:
        mechanism: the model's own, or the first that was asked for.
        path: that attends to both parts.
        where: what holds the share.
        share: of the bytes, as asked for.
        bytes: that lie there.
        timed: one step of attention.
        fall: its median over the median with all of the cache on the device.
        link: how fast those bytes come.
        bound_seconds: the longest of bytes / bandwidth of what stays, operations / rate and bytes there / link.
        bound_share: bound_seconds / median.
    """

    mechanism: str
    path: str
    where: str
    share: float
    bytes: int
    timed: Timed
    fall: float
    link: Rate
    bound_seconds: float
    bound_share: float


@noun
class Bench(Result):
    """The answer.

    Attributes:
        cache_dtype: the format that caches were kept and computed in.
        offload: None unless asked for.
    """

    command: ClassVar[str] = "bench"

    machine: Machine
    model: ModelSummary
    workload: WorkloadSummary
    cache_dtype: str
    mechanisms: tuple[Measured, ...]
    growth: tuple[Growth, ...]
    claims: tuple[Claim, ...]
    offload: Offloaded | None
    notes: tuple[Note, ...]

    @property
    def fastest(self) -> Measured:
        """The mechanism whose attention took least."""
        return min(self.mechanisms, key=lambda each: each.attention.timed.median_seconds)

    @property
    def brief(self) -> str:
        best = self.fastest
        return (
            f"{self.model.name} on {self.machine.name}: {best.mechanism} is the fastest of {len(self.mechanisms)}, "
            f"{best.attention.timed.median_seconds * 1000:.3g} ms a layer"
        )
