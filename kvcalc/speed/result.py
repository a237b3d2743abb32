"""What bench answers: records whose field names are the keys of JSON. Every sample is in it."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, ClassVar

from kvcalc.noun import noun
from kvcalc.record import Record, Result, flattened
from kvcalc.speed.rates import OF_A_MACHINE, Machine, Rate, Timed

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
class Part(Timed):
    """A decode step of attention alone, with its projections, or of a whole layer.

    Attributes:
        bytes: that it must read, at least.
        flops: operations that it must compute, at least.
        bytes_per_s: by the median.
        flops_per_s: likewise.
        share_of_bandwidth: of the measured read bandwidth.
        share_of_flops: of the measured rate of a matrix product.
        bound_s: the longer of bytes / bandwidth and operations / rate, as measured here.
        limited_by: memory or compute.
        share_of_bound: bound_s / median_s.
    """

    bytes: int
    flops: int
    bytes_per_s: float
    flops_per_s: float
    share_of_bandwidth: float
    share_of_flops: float
    bound_s: float
    limited_by: str
    share_of_bound: float


@noun
class Measured(Record):
    """One mechanism: a decode step of attention in one layer.

    Attributes:
        own: whether it is the model's own.
        path: the fastest one.
        batch: sequences of the step.
        context: tokens of each.
        attention: one step of it; in JSON its figures.
        speedup_over_mha: MHA's median over this one; None where MHA was not measured.
        claim: the articles' words for how fast it is; None where they have none that is measured here.
        holds: whether they held; None where they were not measured, or where that lies within the spread.
        layer: the kind of layer that was measured.
        layers: how many of them the model has.
        positions: rows of each sequence that a step reads.
        copies: caches that took turns, so that none lay in the processor's caches.
        with_projections: a step of projections, the new row, attention and the output projection.
        whole_layer: that between two norms, and the feed-forward network; None where its widths are not known or its
            weights do not fit.
        paths: all that were tried.
    """

    mechanism: str
    own: bool
    path: str
    batch: int
    context: int
    attention: Part = field(metadata=flattened(*Part.__match_args__))
    speedup_over_mha: float | None
    claim: str | None
    holds: bool | None
    layer: str
    layers: int
    positions: int
    copies: int
    with_projections: Part
    whole_layer: Part | None
    paths: tuple[Tried, ...]


@noun
class Point(Timed):
    """At so many tokens of one sequence.

    Attributes:
        flops: operations that must be computed, at least.
        share_of_flops: of the measured rate of a matrix product.
    """

    tokens: int
    flops: int
    share_of_flops: float


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
class Offloaded(Timed):
    """Attention with a share of the sequences' caches in host memory, or of a CPU in a file.

    Attributes:
        mechanism: the model's own, or the first that was asked for.
        path: that attends to both parts.
        where: what holds the share.
        share: of the bytes, as asked for.
        bytes: that lie there.
        fall: its median over the median with all of the cache on the device.
        link: how fast those bytes come.
        bound_s: the longest of bytes / bandwidth of what stays, operations / rate and bytes there / link.
        share_of_bound: bound_s / median_s.
    """

    mechanism: str
    path: str
    where: str
    share: float
    bytes: int
    fall: float
    link: Rate
    bound_s: float
    share_of_bound: float


@noun
class Bench(Result):
    """The answer.

    Attributes:
        machine: what it was measured on; in JSON its figures.
        cache_dtype: the format that caches were kept and computed in.
        feed_forward: the network of the whole layers; None where they were not measured.
        rows: the mechanisms.
        offload: None unless asked for.
    """

    command: ClassVar[str] = "bench"

    machine: Machine = field(metadata=flattened(*OF_A_MACHINE))
    model: ModelSummary
    workload: WorkloadSummary
    cache_dtype: str
    feed_forward: str | None
    rows: tuple[Measured, ...]
    growth: tuple[Growth, ...]
    claims: tuple[Claim, ...]
    offload: Offloaded | None
    notes: tuple[Note, ...]

    @property
    def fastest(self) -> Measured:
        """The mechanism whose attention took least."""
        return min(self.rows, key=lambda each: each.attention.median_s)

    @property
    def brief(self) -> str:
        best = self.fastest
        return (
            f"{self.model.name} on {self.machine.device_name}: {best.mechanism} is the fastest of {len(self.rows)}, "
            f"{best.attention.median_s * 1000:.3g} ms a layer"
        )
