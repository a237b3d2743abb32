"""One step of decoding on one pipeline stage: what it reads, computes and fetches, and how long that takes at least."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.memory.decode_traffic import shares_used, weights_read, weights_read_bytes, work
from kvcalc.named_tuple import NamedTuple
from kvcalc.term import Sum
from kvcalc.verbs.spill import memory_for_cache

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.memory import Rank
    from kvcalc.memory.parts import Part
    from kvcalc.scenario import Scenario


class DecodeStep(NamedTuple):
    """One step of one stage.

    Attributes:
        sequences: of its replica.
        joined: of all replicas that share its experts.
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

    @property
    def seconds(self) -> Fraction:
        return max(self.memory, self.compute, self.link)

    @property
    def limited_by(self) -> str:
        if self.link > max(self.memory, self.compute):
            return "host link"
        return "compute" if self.compute > self.memory else "memory"


class DecodeStage:
    """What steps of one stage have in common."""

    def __init__(
        self,
        scenario: Scenario,
        deployment: Deployment,
        rank: Rank,
        parts: tuple[Part, ...],
    ) -> None:
        self._scenario, self._deployment, self._rank = scenario, deployment, rank
        self._used = shares_used(scenario, deployment, rank, parts)
        self.times = rank.stages_alike
        self._weights = weights_read_bytes(self._used)
        self._memory_for_cache = memory_for_cache(scenario, rank) if scenario.spill else None
        self._work = [
            (rate, each)
            for each in work(scenario, deployment, rank, self._used)
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
            by_rate[rate] = by_rate.get(rate, 0) + each.operations(sequences, joined)
        over_link = 0 if self._memory_for_cache is None else max(0, read - self._memory_for_cache)
        return DecodeStep(
            stage=self,
            sequences=sequences,
            joined=joined,
            weights=self._weights,
            cache=read,
            operations=sum(by_rate.values()),
            memory=(self._weights + read - over_link) / self._bandwidth,
            compute=sum((number / rate for rate, number in by_rate.items()), Fraction(0)),
            link=over_link / self._link if self._link else Fraction(0),
        )

    def terms(self, sequences: int, joined: int) -> Sum:
        """What such a step reads and computes."""
        scenario, rank = self._scenario, self._rank
        return Sum(
            "decode step",
            (
                weights_read(self._used),
                rank.cache_read(sequences, scenario.workload.average),
                Sum("operations", tuple(each.term(sequences, joined) for _, each in self._work)),
            ),
        )
