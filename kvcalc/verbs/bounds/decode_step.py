"""One step of decoding on one pipeline stage: what it reads, computes and fetches, and how long that takes at least."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.memory.decode_traffic import work
from kvcalc.named_tuple import NamedTuple
from kvcalc.term import Sum
from kvcalc.verbs.bounds.spill import memory_for_cache

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.memory import Rank
    from kvcalc.memory.decode_traffic import WeightsUsed
    from kvcalc.scenario import Scenario


class DecodeStep(NamedTuple):
    """One step of one stage.

    Attributes:
        sequences: of its replica.
        joined: of all replicas that share its experts.
        weights: bytes that it reads of them.
        cache: likewise.
        operations: of those whose rate is known.
        memory: seconds of reading.
        compute: seconds of computing.
        link: seconds of what comes over the host link.
        drafting: seconds of drafting before it, on the stage that drafts.
    """

    stage: DecodeStage
    sequences: int
    joined: int
    weights: int
    cache: int
    operations: int
    memory: Fraction
    compute: Fraction
    link: Fraction
    drafting: Fraction

    @property
    def seconds(self) -> Fraction:
        """At least, with the drafting."""
        return self.model_seconds + self.drafting

    @property
    def model_seconds(self) -> Fraction:
        """At least, of the model's own layers."""
        return max(self.memory, self.compute, self.link)

    @property
    def limited_by(self) -> str:
        """What takes longest of the model's own layers."""
        if self.link > max(self.memory, self.compute):
            return "host link"
        return "compute" if self.compute > self.memory else "memory"


class Passes(NamedTuple):
    """How often a step lets a draft pass before the model checks what it drafted.

    Attributes:
        stage: all of the draft.
        number: of its passes; a share of one where a pass takes some of its layers.
    """

    stage: DecodeStage
    number: Fraction

    def seconds(self, sequences: int, joined: int | None) -> Fraction:
        """One after another, at least."""
        return self.number * self.stage.step(sequences, joined).seconds


class DecodeStage:
    """What steps of one stage have in common."""

    def __init__(
        self,
        scenario: Scenario,
        deployment: Deployment,
        rank: Rank,
        used: WeightsUsed,
        tokens: int = 1,
        passes: Passes | None = None,
    ) -> None:
        """With so many tokens of each sequence a step, and what is drafted before it."""
        self._tokens, self.passes = tokens, passes
        self._scenario, self._deployment, self._rank = scenario, deployment, rank
        self._used, self.times = used, rank.stages_alike
        self._memory_for_cache = memory_for_cache(scenario, rank) if scenario.spill else None
        self._work = [
            (rate, each)
            for each in work(scenario, deployment, rank, used)
            if each.element_format and (rate := scenario.gpu.operations_per_second(each.element_format.name))
        ]
        self._steps: dict[tuple[int, int], DecodeStep] = {}
        self._bandwidth, self._link = scenario.gpu.bandwidth or Fraction(1), scenario.gpu.host_link_bandwidth

    def step(self, sequences: int, joined: int | None = None) -> DecodeStep:
        """With so many sequences on the replica, and so many on all replicas that share its experts; remembered."""
        if joined is None:
            joined = min(self._scenario.workload.batch, sequences * self._deployment.replicas_joined)
        if (sequences, joined) not in self._steps:
            self._steps[sequences, joined] = self._step(sequences, joined)
        return self._steps[sequences, joined]

    def _step(self, sequences: int, joined: int) -> DecodeStep:
        read = self._rank.cache_read_bytes(sequences, self._scenario.workload.average)
        by_rate: dict[Fraction, int] = {}
        for rate, each in self._work:
            by_rate[rate] = by_rate.get(rate, 0) + self._tokens * each.operations(sequences, joined)
        over_link = 0 if self._memory_for_cache is None else max(0, read - self._memory_for_cache)
        return DecodeStep(
            stage=self,
            sequences=sequences,
            joined=joined,
            weights=self._used.read_bytes,
            cache=read,
            operations=sum(by_rate.values()),
            memory=(self._used.read_bytes + read - over_link) / self._bandwidth,
            compute=sum((number / rate for rate, number in by_rate.items()), Fraction(0)),
            link=over_link / self._link if self._link else Fraction(0),
            drafting=Fraction(0) if self.passes is None else self.passes.seconds(sequences, joined),
        )

    def terms(self, sequences: int, joined: int) -> Sum:
        """What such a step reads and computes."""
        scenario, rank = self._scenario, self._rank
        return Sum(
            "decode step",
            (
                self._used.read,
                rank.cache_read(sequences, scenario.workload.average),
                Sum("operations", tuple(each.term(sequences, joined) for _, each in self._work)),
            ),
        )
