"""What a plan answers: records whose field names are the keys of JSON."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, ClassVar

from kvcalc.noun import noun
from kvcalc.record import BESIDE, Record, Result, flattened

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.note import Note
    from kvcalc.scenario import Scenario
    from kvcalc.term import Sum
    from kvcalc.verbs.planning.pools import PlannedPools
    from kvcalc.verbs.planning.why_not import Rejected
    from kvcalc.verbs.question import ModelSummary, Question, WorkloadSummary
    from kvcalc.verbs.requests.mixed import KindSummary


@noun
class Planned(Record):
    """A deployment that holds the workload.

    Attributes:
        count: GPUs, spare replicas among them.
        deployment: that holds the batch; in JSON its sizes.
        spare: replicas beyond that.
        bytes_per_rank: all memory of the fullest rank, with the usual temporary figure.
        tight: whether it holds only with less temporary memory than the most observed.
        max_batch: the most sequences of this context on the dp replicas, with the usual temporary figure, as `capacity`
            counts them: of a tight one it may be less than the batch. None where they are unbounded.
        max_context: likewise, the longest of the batch; None where it is unbounded.
        tokens_per_second: at most, by the bound of decoding; None where that is not known.
        usd_per_hour: of all GPUs, where prices are given.
        usd_per_month: likewise, of 730 hours.
        usd_per_million_tokens: at least, since it is what the GPUs cost while they decode as fast as the bound says;
            None without a price, and without a bound.
        nodes: that the GPUs lie on, where the tp ranks of a stage are on one node.
    """

    gpu: str
    count: int
    deployment: Deployment = field(metadata=flattened("tp", "pp", "dp", "ep", "dcp", "dp_attention"))
    spare: int
    bytes_per_rank: int
    usable_bytes: int
    headroom_bytes: int
    tight: bool
    max_batch: int | None
    max_context: int | None
    tokens_per_second: float | None
    usd_per_hour: float | None
    usd_per_month: float | None
    usd_per_million_tokens: float | None
    nodes: int


@noun
class Unserved(Record):
    """An accelerator that was asked for by name, and on which nothing within the limits holds the workload."""

    gpu: str
    reason: str


@noun
class Plan(Result):
    """The deployments: the best of each accelerator, best first, and then what else is a choice.

    Attributes:
        mix: the kinds of requests, where they differ; else none.
        max_gpus: at most so many were looked at.
        whole_nodes: whether all GPUs of a node are taken.
        unserved: accelerators that were named, and that have no deployment.
        pools: that read prompts and that decode, on each accelerator that has them; none unless asked for.
        rejected: what is smaller than the smallest found, of each accelerator.
        nearest: where nothing holds the workload, what comes nearest, in words.
        question: what was asked, for people; of the first deployment's accelerator.
        best: what the fullest rank of the first deployment holds, as terms; None without a deployment.
    """

    command: ClassVar[str] = "plan"

    model: ModelSummary
    workload: WorkloadSummary
    mix: tuple[KindSummary, ...]
    max_gpus: int
    whole_nodes: bool
    deployments: tuple[Planned, ...]
    unserved: tuple[Unserved, ...]
    pools: tuple[PlannedPools, ...]
    rejected: tuple[Rejected, ...]
    nearest: str | None
    not_modelled: tuple[Note, ...]
    notes: tuple[Note, ...]
    question: Question = field(metadata=BESIDE)
    scenario: Scenario
    best: Sum | None = field(metadata=BESIDE)

    @property
    def brief(self) -> str:
        asked = f"{self.model.name}, {self.workload.words}"
        best = next((f"{each.count:,} x {each.gpu}" for each in self.deployments), "nothing legal")
        return f"{asked}: {best} first of {len(self.deployments):,}" if self.deployments else f"{asked}: {best}"
