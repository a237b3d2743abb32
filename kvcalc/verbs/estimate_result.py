"""What an estimate answers: records whose field names are the keys of JSON."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, ClassVar

from kvcalc.noun import noun
from kvcalc.record import BESIDE, Record, Result, flattened, under

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.note import Note
    from kvcalc.scenario import Scenario
    from kvcalc.term import Product, Sum, Term
    from kvcalc.verbs.bounds.decode import DecodeBound
    from kvcalc.verbs.bounds.prefill import PrefillBound
    from kvcalc.verbs.measured_speed import MeasuredSpeed
    from kvcalc.verbs.question import ModelSummary, Question, WorkloadSummary
    from kvcalc.verbs.requests.mixed import KindSummary, Percentiles
    from kvcalc.verbs.requests.pools import Pool
    from kvcalc.verbs.requests.tiers import Handoff, Tier


@noun
class CacheResult(Record):
    """The cache.

    Attributes:
        bytes: of one replica, every copy on every rank.
        one_copy_bytes: the same without replication.
        peak_bytes: the same with the last token of every request. Where requests of a mix generate, `bytes` and all
            other figures are of what they hold on average.
        percentiles: of what one request takes with its last token, on all ranks of a replica.
        bytes_per_rank: of the fullest rank, as are all figures below.
        bytes_per_sequence: one sequence at this context; an engine's rounding is spread over all.
        bytes_per_token: what a token adds while no window is full.
        bytes_per_token_at_context: what the next token adds now.
        state_bytes_per_sequence: what a sequence costs before its first token.
        lower_bound: whether serving engines are known to keep more than this counts.
        without_windows_bytes: of one replica, if windowed layers kept every token, as engines without windows do.
        terms: leaves that add up to `bytes`.
        tree: the same as a tree.
    """

    bytes: int
    peak_bytes: int
    percentiles: Percentiles
    one_copy_bytes: int
    bytes_per_rank: int
    bytes_per_sequence: int
    bytes_per_token: int
    bytes_per_token_at_context: int
    state_bytes_per_sequence: int
    lower_bound: bool
    without_windows_bytes: int
    terms: tuple[Product, ...]
    tree: Sum


@noun
class RankResult(Record):
    """The memory of the rank with the most cache. What needs the weights is None where they are not known.

    Attributes:
        headroom_bytes: usable less total.
        least_headroom_bytes: of any rank: another pipeline stage may have more memory in all.
    """

    weights_bytes: int | None
    cache_bytes: int
    temporary_bytes: int
    overhead_bytes: int
    reserve_bytes: int
    total_bytes: int | None
    headroom_bytes: int | None
    least_headroom_bytes: int | None
    tree: Term = field(metadata=BESIDE)


@noun
class MemoryResult(Record):
    """The memory of one replica, and of its fullest rank."""

    weights_bytes: int | None
    cache_bytes: int
    temporary_bytes: int
    overhead_bytes: int
    reserve_bytes: int
    total_bytes: int | None
    temporary_low_bytes: int
    temporary_high_bytes: int
    per_rank: RankResult


@noun
class MostSequences(Record):
    """How many sequences at the workload's context a replica of `gpus` tensor-parallel ranks holds."""

    gpus: int
    sequences: int


@noun
class GpusResult(Record):
    """The accelerators.

    Attributes:
        fits: whether every rank of the deployment asked for stays within usable memory with the high temporary figure.
        tight: whether only with less.
        by_memory: ceil(unsplit_bytes / usable_bytes): the articles' formula, with the usual temporary figure.
        unsplit_bytes: the total of one rank without any splitting (1 x 1 x 1).
        count: GPUs of the smallest legal deployment that holds the workload, dp x tp x pp; None where there is none.
        deployment: that deployment; in JSON its tp, pp and dp.
        count_tight: whether that deployment is tight.
        per_rank: its fullest rank.
        most_sequences: what replicas within a node hold at this context, with the usual temporary figure.
        usable_formula: how usable_bytes is found, in words and in numbers.
        unsplit_usable_bytes: what by_memory divides by: an engine may use more or less of another deployment.
    """

    gpu: str
    memory_bytes: int
    utilization: float
    usable_bytes: int
    fits: bool | None
    tight: bool | None
    by_memory: int | None
    unsplit_bytes: int | None
    count: int | None
    count_tight: bool | None
    deployment: Deployment | None = field(metadata=flattened("tp", "pp", "dp"))
    per_rank: RankResult | None
    most_sequences: tuple[MostSequences, ...]
    usable_formula: tuple[str, str] = field(metadata=BESIDE)
    unsplit_usable_bytes: int = field(metadata=BESIDE)


@noun
class Answer(Record):
    """What is said first: of the deployment asked for, else of the smallest; of one GPU where none holds the workload.

    Attributes:
        gpus: dp x tp x pp of them.
        gpu: which accelerator.
        deployment: in JSON its tp, pp and dp.
        fits: whether every rank stays within usable memory with the high temporary figure.
        tight: whether only with less.
        bytes_per_gpu: all memory of the rank with the most cache, with the usual temporary figure.
        headroom_bytes: usable less the total of the rank that has most in all.
        sequences: the most at this context, of all replicas, with the usual temporary figure; None where unbounded.
    """

    gpus: int
    gpu: str
    deployment: Deployment = field(metadata=flattened("tp", "pp", "dp"))
    fits: bool | None
    tight: bool | None
    bytes_per_gpu: int | None
    headroom_bytes: int | None
    sequences: int | None

    @property
    def state(self) -> str:
        """Whether it fits, in words."""
        if self.fits is None:
            return "weights unknown"
        return "fits" if self.fits else "tight" if self.tight else "does not fit"


@noun
class SpillResult(Record):
    """Cache that goes to host memory.

    Attributes:
        bytes_per_rank: of the rank with the most.
        bytes: of all ranks of a replica.
        seconds_per_token: by the bound of decoding with it; None where there is no bound.
    """

    bytes_per_rank: int
    bytes: int
    seconds_per_token: float | None


@noun
class Estimate(Result):
    """The answer.

    Attributes:
        mix: the kinds of requests, where they differ; else none.
        engine: how the cache is counted; in JSON a key of `deployment`, as its version is.
        deployment: the one asked for, or 1 x 1 x 1.
        answer: what is said first.
        spill: of the deployment asked for, else of the smallest that holds the weights; None unless asked for.
        tiers: beside the same deployment; none unless asked for.
        handoff: to the same deployment; None unless asked for.
        pools: of replicas that read prompts and that decode, at least; none unless asked for.
        decode: of the deployment asked for, else of the smallest; None where it is not known.
        measured: what `kvcalc bench` measured of this on a machine; None unless a file of it is given.
        prefill: as `decode`, of the first token of one request.
        question: what was asked, for people.
        temporary_seen: the range of a rank's temporary memory; None where a figure is given.
        scenario: what this was computed from.
    """

    command: ClassVar[str] = "estimate"

    model: ModelSummary
    workload: WorkloadSummary
    mix: tuple[KindSummary, ...]
    engine: str = field(metadata=under("deployment"))
    engine_version: str | None = field(metadata=under("deployment"))
    deployment: Deployment
    answer: Answer
    cache: CacheResult
    memory: MemoryResult
    gpus: GpusResult
    decode: DecodeBound | None
    measured: MeasuredSpeed | None
    prefill: PrefillBound | None
    spill: SpillResult | None
    tiers: tuple[Tier, ...]
    handoff: Handoff | None
    pools: tuple[Pool, ...]
    not_modelled: tuple[Note, ...]
    notes: tuple[Note, ...]
    question: Question = field(metadata=BESIDE)
    temporary_seen: tuple[int, int] | None = field(metadata=BESIDE)
    scenario: Scenario

    @property
    def shown_rank(self) -> RankResult:
        """The rank of the deployment asked for, else of the smallest that holds the workload."""
        asked = self.question.deployment is not None
        return self.memory.per_rank if asked or self.gpus.per_rank is None else self.gpus.per_rank

    @property
    def brief(self) -> str:
        asked = f"{self.model.name}, {self.workload.words}"
        answer = self.answer
        return f"{asked}: {self.cache.bytes:,} bytes of cache, {answer.gpus:,} x {answer.gpu}: {answer.state}"
