"""What a capacity answers: records whose field names are the keys of JSON."""

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
    from kvcalc.verbs.requests.mixed import KindSummary
    from kvcalc.verbs.requests.pools import Pool
    from kvcalc.verbs.requests.tiers import Handoff, Tier


@noun
class Total(Record):
    """All replicas together."""

    tokens: int | None
    sequences: int | None


@noun
class Capacity(Result):
    """How much one replica holds. What is unbounded is None.

    Attributes:
        mix: the kinds of requests, where they differ; else none.
        workload: `context` is the longest request, `batch` what `max_context` is for.
        gpus: None where the memory for the cache is given.
        cache_memory_bytes: what the fullest rank has for its cache.
        cache_memory_low_bytes: the same with the most temporary memory and overhead that were seen, and so with the
            least; where the memory for the cache is given or stated, both are that.
        blocks: of an engine that has blocks, as block_size is.
        tokens: the most in sequences of at most `context`: as many whole ones as fit, and the longest beside them; of
            an engine with blocks as it prints them.
        sequences: the most of `context` tokens.
        sequences_at_temporary_low: the same with the least temporary memory observed, and so with the most.
        concurrency: headroom for the cache / one sequence, two decimals, rounded down.
        max_context: the longest of `batch` sequences, by memory alone.
        limited_by: memory; sequences, where the engine takes no more of them, whatever its memory; or none where
            tokens are unbounded.
        n_gpu_layers: the most layers that one accelerator holds with the workload, the output head among them; None of
            an engine that keeps all of them there.
        n_cpu_moe: the fewest first layers whose experts must be in host memory for all else to fit with the workload;
            None of such an engine, of a model without experts, and where no number is enough.
        tiers: beside this deployment; none unless asked for.
        handoff: to this deployment; None unless asked for.
        pools: of replicas that read prompts and that decode, at least; none unless asked for.
        question: what was asked, for people.
        temporary_seen: the range of a rank's temporary memory; None where a figure is given.
        at_limit: the fullest rank with `sequences`, or with its cache alone where the memory for it is given.
        one_more_lacks_bytes: what a rank lacks for one sequence more; None where they are unbounded, or where
            the engine takes no more.
    """

    command: ClassVar[str] = "capacity"

    model: ModelSummary
    workload: WorkloadSummary
    mix: tuple[KindSummary, ...]
    engine: str = field(metadata=under("deployment"))
    engine_version: str | None = field(metadata=under("deployment"))
    deployment: Deployment
    gpus: Accelerator | None
    cache_memory_bytes: int
    cache_memory_low_bytes: int
    cache_memory_high_bytes: int
    blocks: int | None
    block_size: int | None
    tokens: int | None
    sequences: int | None
    sequences_at_temporary_low: int | None
    sequences_at_temporary_high: int | None
    concurrency: float | None
    max_context: int | None
    limited_by: str
    n_gpu_layers: int | None
    n_cpu_moe: int | None
    total: Total
    one_more_lacks_bytes: int | None
    tiers: tuple[Tier, ...]
    handoff: Handoff | None
    pools: tuple[Pool, ...]
    not_modelled: tuple[Note, ...]
    notes: tuple[Note, ...]
    question: Question = field(metadata=BESIDE)
    temporary_seen: tuple[int, int] | None = field(metadata=BESIDE)
    scenario: Scenario
    at_limit: Sum

    @property
    def brief(self) -> str:
        sequences = "unbounded" if self.sequences is None else f"{self.sequences:,}"
        of = "the mix" if self.workload.mix else f"{self.workload.context:,} tokens"
        return f"{self.model.name}: {sequences} sequences of {of}"
