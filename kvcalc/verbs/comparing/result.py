"""What a comparison answers: records whose field names are the keys of JSON."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, ClassVar

from kvcalc.deployment import Deployment
from kvcalc.noun import noun
from kvcalc.record import BESIDE, Record, Result, flattened

if TYPE_CHECKING:
    from kvcalc.catalogue.articles import Contradiction, Saying
    from kvcalc.mechanisms import Mechanism
    from kvcalc.note import Note
    from kvcalc.scenario import Scenario
    from kvcalc.term import Product, Sum
    from kvcalc.verbs.question import ModelSummary, Question, WorkloadSummary


@noun
class GivenGpus(Record):
    """The accelerators that rows are compared on.

    Attributes:
        at_most: GPUs of which each row has its best legal deployment; None where the deployment itself is given, where
            each model has as many as its own smallest, or where there are none.
    """

    gpu: str
    memory_bytes: int
    utilization: float
    usable_bytes: int
    at_most: int | None


@noun
class OnGivenGpus(Record):
    """A row's deployment on the given GPUs, and what it does there. None where it cannot be said; a note says why.

    Attributes:
        deployment: in JSON its sizes.
        fits: whether every rank stays within usable memory with the high temporary figure.
        tight: whether only with less.
        most_sequences: at this context, of all replicas, with the usual temporary figure; also None where unbounded.
        seconds_per_token: at least, of each sequence of the workload.
        tokens_per_second_per_sequence: at most.
        tokens_per_second: at most, of all sequences.
        limited_by: memory, compute or host link.
        spilled_bytes: of a replica's cache, in host memory; None unless asked for.
        most_when_tight: of a tight one, the most sequences with the least temporary memory.
    """

    gpus: int | None = None
    deployment: Deployment | None = field(
        default=None, metadata=flattened("tp", "pp", "dp", "ep", "dcp", "dp_attention")
    )
    fits: bool | None = None
    tight: bool | None = None
    most_sequences: int | None = None
    seconds_per_token: float | None = None
    tokens_per_second_per_sequence: float | None = None
    tokens_per_second: float | None = None
    limited_by: str | None = None
    spilled_bytes: int | None = None
    most_when_tight: int | None = field(default=None, metadata=BESIDE)


@noun
class ComparedRow(Record):
    """One mechanism, or one model.

    Attributes:
        mechanism: kinds of attention that keep something, joined by ' + '.
        own: whether this is the model as it is.
        layers: each kind of layer and how many.
        cache_dtype: the format of the cache.
        engine: whose memory is counted, and its version.
        elements_per_token_per_layer: of a layer that grows with its tokens; None where such layers differ.
        bytes_per_token: what a token adds while no window is full, in one copy.
        state_bytes_per_sequence: what a sequence keeps whatever its context is, in one copy.
        cache_bytes: of the whole batch, in one copy; of requests that differ, on average.
        cache_peak_bytes: the same with all that requests generate.
        content_bytes: what its layers hold of that, by the formulas.
        saved_bytes: how many fewer than with the cache in the model's dtype of computing.
        lower_bound: whether serving engines are known to keep more than this counts.
        mha_cache_bytes: the same with multi-head attention; None where the format cannot hold that.
        ratio_to_mha: cache_bytes / mha_cache_bytes.
        unsplit_bytes: the total of one rank without any splitting.
        by_memory: ceil(unsplit_bytes / usable_bytes).
        count: GPUs of the smallest legal deployment that holds the workload; None where there is none.
        count_tight: whether that deployment is tight.
        deployment: itself; in JSON its tp, pp and dp.
        given: on the given GPUs.
        terms: leaves that add up to `cache_bytes`.
        attentions: what each kind of layer is, for its formula and source.
        token_tree: what a token adds, as a tree.
        cache_tree: `cache_bytes`, as a tree.
        scenario: what this was computed from.
    """

    name: str
    mechanism: str
    own: bool
    layers: tuple[str, ...]
    cache_dtype: str
    engine: str
    engine_version: str | None
    elements_per_token_per_layer: int | None
    bytes_per_token: int
    state_bytes_per_sequence: int
    cache_bytes: int
    cache_peak_bytes: int
    content_bytes: int
    saved_bytes: int
    lower_bound: bool
    mha_cache_bytes: int | None
    ratio_to_mha: float | None
    unsplit_bytes: int | None
    by_memory: int | None
    count: int | None
    count_tight: bool | None
    deployment: Deployment | None = field(metadata=flattened("tp", "pp", "dp"))
    given: OnGivenGpus
    terms: tuple[Product, ...]
    attentions: tuple[Mechanism, ...] = field(metadata=BESIDE)
    token_tree: Sum
    cache_tree: Sum
    scenario: Scenario

    @property
    def noted_on(self) -> Deployment:
        """The deployment that notes are of: an engine's the given GPUs, plain formulas' one GPU, as their cache."""
        plain = self.scenario.engine.plain
        return Deployment() if plain or self.given.deployment is None else self.given.deployment


@noun
class Comparison(Result):
    """The answer.

    Attributes:
        model: the one whose mechanism, format or engine is varied; None where several stand side by side.
        engine: None where it is varied, as its version.
        varies: what differs from row to row: mechanism, or some of model, format and engine.
        sayings: what articles say, and what the formulas say of that; nothing unless mechanisms are varied.
        contradictions: where articles contradict each other, or the formula.
        question: what was asked, for people; of the first model, as it is.
        scenario: likewise.
    """

    command: ClassVar[str] = "compare"

    model: ModelSummary | None
    workload: WorkloadSummary
    engine: str | None
    engine_version: str | None
    varies: tuple[str, ...]
    gpus: GivenGpus
    rows: tuple[ComparedRow, ...]
    sayings: tuple[Saying, ...]
    contradictions: tuple[Contradiction, ...]
    not_modelled: tuple[Note, ...]
    notes: tuple[Note, ...]
    question: Question = field(metadata=BESIDE)
    scenario: Scenario

    def is_own(self, row: ComparedRow) -> bool:
        """Whether a row is the model as it is, among rows that are not."""
        return "mechanism" in self.varies and row.own

    @property
    def brief(self) -> str:
        return f"{self.workload.batch:,} x {self.workload.context:,} tokens: {', '.join(row.name for row in self.rows)}"
