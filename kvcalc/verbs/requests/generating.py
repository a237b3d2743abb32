"""Requests while they generate: what one holds, and what its steps read and compute, on average over its output.

The first token is of the prompt's reading. Of the others, each takes a step (with drafts fewer: tokens a step). A step
that makes token 2 + t attends to input + 1 + t tokens. What a request holds and what is read of it never falls as
tokens are added, so where there are more steps than can be looked at one by one, several of them count as the first
of them: the average is no more than the true one, and all that follows from it is a bound.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor, lcm
from typing import TYPE_CHECKING

from kvcalc.named_tuple import NamedTuple
from kvcalc.scenario import Workload
from kvcalc.scenario.mix import MOST_KINDS, Kind, Mix
from kvcalc.verbs.bounds.drafted import kept_of, stages_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.memory import Ranks
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.bounds.decode_step import DecodeStage

WHOLE = 2**24
"""So many times as many requests are looked at, that engines round to whole blocks and pages of all nothing away."""


class Steps(NamedTuple):
    """The steps of requests.

    Attributes:
        each: of a request, on average.
        mix: tokens that are attended to, each with its share of all steps; None where there are no steps.
        whole: so many requests make a whole number of steps with each number of tokens.
    """

    each: Fraction
    mix: Mix | None
    whole: int


class Pass(NamedTuple):
    """What a pass through some layers takes at least, by the requests that it is of.

    Attributes:
        number: a step.
        once: seconds of reading, whatever the requests are.
        read: seconds of reading what is kept of one request.
        computed: seconds of computing for one.
    """

    number: Fraction
    once: Fraction
    read: Fraction
    computed: Fraction

    def seconds(self, requests: Fraction) -> Fraction:
        """Of a step with so many requests."""
        return self.number * max(self.once + requests * self.read, requests * self.computed)


class StageWork(NamedTuple):
    """A step of one stage.

    Attributes:
        alike: stages that do the same.
        model: through the model's layers.
        drafting: before that, on the stage that drafts; None on others.
    """

    alike: int
    model: Pass
    drafting: Pass | None

    def drafting_seconds(self, requests: Fraction) -> Fraction:
        """Of what comes before the model's own layers."""
        return Fraction(0) if self.drafting is None else self.drafting.seconds(requests)

    def seconds(self, requests: Fraction) -> Fraction:
        """Of a step with so many requests."""
        return self.model.seconds(requests) + self.drafting_seconds(requests)


class Generating(NamedTuple):
    """Requests on one replica while they generate.

    Attributes:
        steps: that they take.
        stages: the work of each in a step.
    """

    steps: Steps
    stages: tuple[StageWork, ...]

    def seconds(self, requests: Fraction) -> Fraction:
        """Of a step with so many requests on average, at least: of the slowest stage, and of one alone in all."""
        one = Fraction(1)
        alone = sum((stage.alike * stage.model.seconds(one) for stage in self.stages), Fraction(0))
        alone += max(stage.drafting_seconds(one) for stage in self.stages)
        return max(alone, *(stage.seconds(requests) for stage in self.stages))

    def limited_by(self, requests: Fraction) -> str:
        """What takes longest in the slowest stage."""
        slowest = max(self.stages, key=lambda stage: stage.seconds(requests)).model
        return "compute" if requests * slowest.computed > slowest.once + requests * slowest.read else "memory"


def steps_of(scenario: Scenario) -> Steps:
    """The steps of a scenario's requests."""
    workload, made = scenario.workload, kept_of(scenario)
    if workload.mix is None:
        kinds: tuple[Kind, ...] = (Kind(Fraction(1), workload.context - workload.output, workload.output),)
    else:
        kinds = workload.mix.kinds
    generating = [kind for kind in kinds if kind.output > 1]
    each = sum((kind.share * (kind.output - 1) / made for kind in generating), Fraction(0))
    if not generating:
        return Steps(each, None, 1)
    looked_at = max(1, MOST_KINDS // len(generating))
    shares = (
        Kind(kind.share * steps / each, tokens, 0)
        for kind in generating
        for steps, tokens in _parts(kind, made, looked_at)
    )
    mix = Mix(tuple(shares))
    return Steps(each, mix, lcm(*(kind.share.denominator for kind in mix.kinds)))


def _parts(kind: Kind, made: Fraction, most: int) -> Iterator[tuple[Fraction, int]]:
    """Steps one after another, and the fewest tokens that one of them attends to."""
    exactly = (kind.output - 1) / made
    number = ceil(exactly)
    parts = min(most, number)
    for part in range(parts):
        start, stop = part * number // parts, (part + 1) * number // parts
        yield min(Fraction(stop), exactly) - start, kind.input + 1 + floor(start * made)


def generating(scenario: Scenario, unit: Deployment, ranks: Ranks) -> Generating | None:
    """A scenario's requests on one replica of those that share experts; None where they generate one token at most.

    Args:
        scenario: of which there is a bound of decoding.
        unit: one replica, or all that share experts.
        ranks: of the scenario.
    """
    steps = steps_of(scenario)
    if steps.mix is None:
        return None
    spread = replace(scenario, workload=Workload(unit.dp, steps.mix.longest, steps.mix))
    requests = WHOLE * steps.whole * scenario.prefix_groups
    joined = requests * unit.replicas_joined

    def passed(stage: DecodeStage, number: Fraction) -> Pass:
        some, twice = stage.step(requests, joined), stage.step(2 * requests, 2 * joined)
        read = twice.cache - some.cache
        prefix = Fraction(some.cache - read, scenario.prefix_groups)
        rate = scenario.gpu.bandwidth or Fraction(1)
        return Pass(number, (some.weights + prefix) / rate, Fraction(read, requests) / rate, some.compute / requests)

    def work(stage: DecodeStage) -> StageWork:
        drafting = None if stage.passes is None else passed(stage.passes.stage, stage.passes.number)
        return StageWork(stage.times, passed(stage, Fraction(1)), drafting)

    return Generating(steps, tuple(map(work, stages_of(spread, unit, ranks))))
