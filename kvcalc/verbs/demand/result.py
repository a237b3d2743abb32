"""What a demand answers: records whose field names are the keys of JSON."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, ClassVar

from kvcalc.noun import noun
from kvcalc.record import BESIDE, Record, Result, flattened, under

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.note import Note
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.question import ModelSummary, Question

POINTS = ("mean", "p50", "p90", "p95", "p99", "max")
"""Of a distribution over time."""


@noun
class TraceSummary(Record):
    """The requests.

    Attributes:
        format: azure, burstgpt, mooncake or qwen-bailian; columns where their names alone are known.
        time_unit: of the file's times: s, ms, us, ns or dates; None where it has none.
        arrivals: trace, or poisson where a rate was given.
        requests: that generate something.
        without_output: further requests, which generate nothing and hold nothing.
        seconds: from the first arrival until the last is done.
        requests_per_second: over that time.
        longest: tokens of the longest request at its end.
    """

    format: str
    time_unit: str | None
    arrivals: str
    requests: int
    without_output: int
    input_tokens: int
    output_tokens: int
    seconds: float
    requests_per_second: float
    longest: int


@noun
class Pace(Record):
    """How requests go through.

    Attributes:
        tokens_per_second: of each request while it decodes.
        is_bound: whether that is the bound of decoding, and none was given.
        concurrency: requests at most at the same time; None: all that are there.
        mean_seconds: that a request holds its cache.
        mean_wait_seconds: from arrival to admission.
        max_wait_seconds: likewise, the longest.
    """

    tokens_per_second: float
    is_bound: bool
    concurrency: int | None
    mean_seconds: float
    mean_wait_seconds: float
    max_wait_seconds: float


@noun
class CacheOverTime(Record):
    """Bytes on all ranks of all replicas, every copy counted; rounded up, the mean to the nearest."""

    mean_bytes: int
    p50_bytes: int
    p90_bytes: int
    p95_bytes: int
    p99_bytes: int
    max_bytes: int


@noun
class CountOverTime(Record):
    """Tokens or requests that are held at the same time; percentiles rounded up."""

    mean: float
    p50: int
    p90: int
    p95: int
    p99: int
    max: int


@noun
class GpusOverTime(Record):
    """The fewest GPUs of legal deployments that hold so much; None where nothing does, or weights are not known."""

    gpu: str
    mean: int | None
    p50: int | None
    p90: int | None
    p95: int | None
    p99: int | None
    max: int | None


@noun
class Point(Record):
    """The deployment for a point of the distribution.

    Attributes:
        at: mean, p50 and so on.
        batch: requests at this point; 1 where there is none.
        context: tokens of each with which they hold the point's bytes, and no fewer would.
        count: GPUs; None where nothing legal holds it.
    """

    at: str
    batch: int
    context: int
    count: int | None
    deployment: Deployment | None = field(metadata=flattened("tp", "pp", "dp"))
    tight: bool | None


@noun
class PrefixHits(Record):
    """What a prefix cache of blocks would have found, the one that was not used for longest dropped first.

    Attributes:
        block_tokens: of a block.
        block_bytes: of one, on all ranks.
        capacity_bytes: as given; None: what requests leave of the largest deployment's memory at each admission.
        hit_tokens: of the prompts, that were found.
        hit_rate: of the prompts' tokens.
        unbounded_hit_rate: if nothing were ever dropped.
    """

    block_tokens: int
    block_bytes: int
    capacity_bytes: int | None
    hit_tokens: int
    hit_rate: float
    unbounded_hit_rate: float


@noun
class Peaks(Record):
    """The most bytes in each of equal parts of the time."""

    seconds_each: float
    bytes: tuple[int, ...]


@noun
class Demand(Result):
    """What the requests of a trace hold over time.

    Attributes:
        cache: of the deployment asked for, else of one rank.
        tokens: held, without copies.
        points: the deployment for each point.
        prefix: None where the trace has no hashes, or hits are not counted for this model.
        question: what was asked, for people.
    """

    command: ClassVar[str] = "demand"

    model: ModelSummary
    trace: TraceSummary
    engine: str = field(metadata=under("deployment"))
    engine_version: str | None = field(metadata=under("deployment"))
    deployment: Deployment
    pace: Pace
    cache: CacheOverTime
    tokens: CountOverTime
    requests: CountOverTime
    gpus: GpusOverTime
    points: tuple[Point, ...]
    prefix: PrefixHits | None
    peaks: Peaks
    not_modelled: tuple[Note, ...]
    notes: tuple[Note, ...]
    question: Question = field(metadata=BESIDE)
    scenario: Scenario

    @property
    def brief(self) -> str:
        return (
            f"{self.model.name}, {self.trace.requests:,} requests: {self.cache.p95_bytes:,} bytes at p95, "
            f"{self.cache.max_bytes:,} at most"
        )
