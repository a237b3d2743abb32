"""What was asked, as results repeat it: the model, the workload, the accelerator, and where their figures are from."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.memory import Ranks
from kvcalc.named_tuple import NamedTuple
from kvcalc.noun import noun
from kvcalc.record import BESIDE, Record
from kvcalc.scenario import compute_format
from kvcalc.verbs.requests.mixed import KindSummary, kinds_of
from kvcalc.verbs.searching.replica import kept_format

if TYPE_CHECKING:
    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario, Workload


@noun
class ModelSummary(Record):
    """What was estimated."""

    name: str
    layers: int
    mechanisms: tuple[str, ...]
    source: str | None

    @classmethod
    def of(cls, model: Model) -> ModelSummary:
        kinds = dict.fromkeys(layer.attention.kind for layer in model.distinct())
        return cls(model.name, model.num_layers, tuple(kinds), model.source)


@noun
class WorkloadSummary(Record):
    """For what.

    Attributes:
        mix: the kinds of requests, where they differ; else none.
    """

    batch: int
    context: int
    mix: tuple[KindSummary, ...] = field(metadata=BESIDE)

    @classmethod
    def of(cls, workload: Workload) -> WorkloadSummary:
        return cls(workload.batch, workload.context, kinds_of(workload))

    @property
    def words(self) -> str:
        """'32 x 8,192 tokens'."""
        if not self.mix:
            return f"{self.batch:,} x {self.context:,} tokens"
        return f"{self.batch:,} requests of a mix, up to {self.context:,} tokens"


@noun
class Accelerator(Record):
    """One accelerator, and what may be used of it."""

    gpu: str
    memory_bytes: int
    utilization: float
    usable_bytes: int

    @classmethod
    def of(cls, scenario: Scenario, usable_bytes: int | None = None) -> Accelerator:
        """The scenario's accelerator.

        Args:
            scenario: the question.
            usable_bytes: what its engine uses of it; None: of the deployment asked for, else of one rank.
        """
        memory, asked = scenario.memory_bytes, scenario.usable_bytes
        together = scenario.gpu.number_together
        if usable_bytes is None and not scenario.engine.plain:
            ranks, deployment = Ranks(scenario), scenario.deployment or Deployment(pp=together or 1)
            usable_bytes = ranks.of(deployment)[0].usable_bytes if ranks.serves(deployment) else None
        usable = asked if usable_bytes is None else usable_bytes
        sizes = {scenario.gpu.of_stage(stage).memory_bytes for stage in range(together or 1)}
        memory = usable if usable in sizes else memory  # of unlike cards, that of the one which is shown
        utilization = float(scenario.utilization) if usable == asked else round(usable / memory, 4)
        return cls(scenario.gpu.name, memory, utilization, usable)


class Source(NamedTuple):
    """Where the figures of something come from."""

    of: str
    source: str


class Question(NamedTuple):
    """A scenario in words and numbers, for people; JSON does not have it.

    Attributes:
        kinds: each kind of layer, and how many there are.
        mechanisms: of those layers.
        dtype: of computing.
        cache_dtype: the format that the cache is kept in.
        mix: the mix of requests, as --mix takes it; empty where all are alike.
        shortest: tokens of the shortest request.
        shared_prefix: first tokens of the context that all sequences of a replica share.
        prefix_groups: how many such prefixes there are.
        accelerator: None where it plays no part.
        deployment: the one asked for; None where there was none.
        sources: of the mechanisms' formulas, the model's figures and the accelerator's memory.
    """

    model: str
    kinds: tuple[tuple[str, int], ...]
    mechanisms: tuple[str, ...]
    layers: int
    dtype: str
    cache_dtype: str
    batch: int
    context: int
    mix: str
    shortest: int
    shared_prefix: int
    prefix_groups: int
    engine: str
    accelerator: Accelerator | None
    deployment: Deployment | None
    sources: tuple[Source, ...]

    @classmethod
    def of(cls, scenario: Scenario, accelerator: Accelerator | None) -> Question:
        """The question that a scenario is; without an accelerator where it plays no part."""
        model, kinds, mix = scenario.model, scenario.model.distinct(), scenario.workload.mix
        return cls(
            model=model.name,
            kinds=tuple((layer.label, number) for layer, number in kinds.items()),
            mechanisms=tuple(dict.fromkeys(layer.attention.kind for layer in kinds)),
            layers=model.num_layers,
            dtype=compute_format(model).name,
            cache_dtype=kept_format(scenario).name,
            batch=scenario.workload.batch,
            context=scenario.workload.context,
            mix="" if mix is None else str(mix),
            shortest=scenario.workload.context if mix is None else mix.kinds[-1].peak,
            shared_prefix=scenario.shared_prefix,
            prefix_groups=scenario.prefix_groups,
            engine=scenario.engine.label,
            accelerator=accelerator,
            deployment=scenario.deployment,
            sources=(*_of_model(scenario), *_of_gpu(scenario.gpu)),
        )


def _of_model(scenario: Scenario) -> tuple[Source, ...]:
    model = scenario.model
    mechanisms = {layer.attention.kind: layer.attention.source for layer in model.distinct()}
    own = (Source(model.name, model.source),) if model.source else ()
    return (*(Source(kind, source) for kind, source in mechanisms.items()), *own)


def _of_gpu(gpu: Gpu) -> tuple[Source, ...]:
    return (Source(gpu.name, gpu.source),) if gpu.source and gpu.memory_from != "user" else ()
