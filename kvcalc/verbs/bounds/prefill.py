"""How soon the first token can be there at most: what reading one prompt must read and compute. No prediction.

    seconds >= max(sum over stages of weights read / memory bandwidth, operations / peak rate in the slowest stage)

One prompt alone on one replica: no other request waits, and stages work on parts of it side by side.
"""

from __future__ import annotations

from dataclasses import field
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.memory import Ranks
from kvcalc.memory.prompt_work import prompt_work
from kvcalc.named_tuple import NamedTuple
from kvcalc.noun import noun
from kvcalc.record import BESIDE, Record, flattened
from kvcalc.term import Sum
from kvcalc.verbs.bounds.decode import why_no_bound
from kvcalc.verbs.bounds.drafted import without_draft

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.gpu import Gpu
    from kvcalc.memory import Rank
    from kvcalc.memory.decode_traffic import WeightsUsed, Work
    from kvcalc.scenario import Scenario, Workload


@noun
class PrefillBound(Record):
    """The first token of a request is there after so many seconds at least.

    Attributes:
        deployment: that this is of; in JSON its tp, pp and dp.
        tokens: of the prompt: the input where that is given, of a mix the longest, else the context.
        shared_tokens: of those, in a prefix that is there already.
        weights_read_bytes: on a rank, once; of the slowest stage.
        operations: floating-point operations on that rank, of those whose rate is known.
        memory_seconds: reading the weights of all stages takes at least so long.
        compute_seconds: computing takes the slowest stage at least so long.
        seconds: the longer of the two.
        limited_by: memory or compute.
        terms: what is read and computed, for explanations.
        gpu: whose rates these are.
    """

    deployment: Deployment = field(metadata=flattened("tp", "pp", "dp"))
    tokens: int
    shared_tokens: int
    weights_read_bytes: int
    operations: int
    memory_seconds: float
    compute_seconds: float
    seconds: float
    limited_by: str
    terms: Sum
    gpu: Gpu = field(metadata=BESIDE)


class _Pass(NamedTuple):
    """One stage reads the prompt.

    Attributes:
        used: what it reads of its weights.
        known: what it computes, of what the rate is known, each with its tokens.
    """

    used: WeightsUsed
    known: list[tuple[Work, int]]
    operations: int
    compute: Fraction

    @property
    def terms(self) -> Sum:
        """What it reads and computes."""
        operations = Sum("operations", tuple(work.term(tokens, tokens) for work, tokens in self.known))
        return Sum("prompt", (self.used.read, operations))


def prompt_of(scenario: Scenario) -> int:
    """Tokens of the prompt: of a mix the longest."""
    return max(tokens for _, tokens in prompts(scenario.workload))


def prompts(workload: Workload) -> tuple[tuple[Fraction, int], ...]:
    """Tokens of the prompts, each with its share of all requests."""
    if workload.mix is not None:
        return tuple((kind.share, kind.input) for kind in workload.mix.kinds)
    return ((Fraction(1), max(1, workload.context - workload.output)),)


def why_no_prefill_bound(scenario: Scenario) -> str | None:
    """What is missing; None where nothing is."""
    if any(layer.attention.kind == "shared" for layer in scenario.model.layout.kinds):
        return "engines may leave layers that share a cache out of a prompt"
    return why_no_bound(scenario)


def prefill_bound(
    scenario: Scenario, deployment: Deployment, ranks: Ranks | None = None, tokens: int | None = None
) -> PrefillBound | None:
    """The bound of a deployment; None where `why_no_prefill_bound` says why.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        ranks: of the scenario, where others of its deployments are looked at too.
        tokens: of the prompt, where another one is meant.
    """
    if why_no_prefill_bound(scenario) is not None:
        return None
    if scenario.drafting is not None:  # which reads the prompt too, beside the model or after it
        scenario, ranks = without_draft(scenario), None
    tokens = prompt_of(scenario) if tokens is None else tokens
    shared = min(scenario.shared_prefix, tokens - 1)
    own = ranks or Ranks(scenario)
    passes = [
        (rank.stages_alike, _pass(scenario, deployment, rank, used, shared, tokens))
        for rank, used in zip(own.of(deployment), own.weights_used(deployment), strict=True)
    ]
    slowest = max((one for _, one in passes), key=lambda one: one.compute)
    bandwidth = scenario.gpu.bandwidth or Fraction(1)
    memory = sum((times * one.used.read_bytes for times, one in passes), 0) / bandwidth
    return PrefillBound(
        deployment=deployment,
        tokens=tokens,
        shared_tokens=shared,
        weights_read_bytes=slowest.used.read_bytes,
        operations=slowest.operations,
        memory_seconds=float(memory),
        compute_seconds=float(slowest.compute),
        seconds=float(max(memory, slowest.compute)),
        limited_by="compute" if slowest.compute > memory else "memory",
        terms=slowest.terms,
        gpu=scenario.gpu,
    )


def _pass(scenario: Scenario, deployment: Deployment, rank: Rank, used: WeightsUsed, start: int, stop: int) -> _Pass:
    known = [
        (rate, work.operations(tokens, tokens), work, tokens)
        for work, tokens in prompt_work(deployment, rank, used, start, stop)
        if work.element_format and (rate := scenario.gpu.operations_per_second(work.element_format.name))
    ]
    by_rate: dict[Fraction, int] = {}
    for rate, number, _, _ in known:
        by_rate[rate] = by_rate.get(rate, 0) + number
    return _Pass(
        used=used,
        known=[(work, tokens) for _, _, work, tokens in known],
        operations=sum(by_rate.values()),
        compute=sum((number / rate for rate, number in by_rate.items()), Fraction(0)),
    )
