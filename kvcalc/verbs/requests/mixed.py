"""Requests that differ: what one of them holds, what all hold on average, and how the mix is told."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.engines.load import Alike, Load
from kvcalc.note import Note, note
from kvcalc.noun import noun
from kvcalc.record import Record
from kvcalc.scenario.mix import load_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines import Settled
    from kvcalc.scenario import Scenario, Workload

MOST_NAMED = 3
"""Kinds that a note names."""


@noun
class KindSummary(Record):
    """Requests of one kind.

    Attributes:
        share: of all.
        input: tokens of the prompt.
        output: tokens that are generated.
        requests: of the batch, over all replicas.
    """

    share: float
    input: int
    output: int
    requests: int


@noun
class Percentiles(Record):
    """Bytes of one request's cache with its last token, on all ranks of a replica.

    So many of a hundred requests take no more.
    """

    p50: int
    p90: int
    p95: int
    p99: int


def kinds_of(workload: Workload) -> tuple[KindSummary, ...]:
    """The kinds of requests, the longest first; none where all are alike."""
    mix = workload.mix
    if mix is None:
        return ()
    numbers = mix.shared_out(workload.batch)
    return tuple(
        KindSummary(float(kind.share), kind.input, kind.output, number)
        for kind, number in zip(mix.kinds, numbers, strict=True)
    )


def percentiles(scenario: Scenario, settled: Settled) -> Percentiles:
    """Of what one request takes, by the shares of the mix, whatever the batch is."""
    mix, prefix = scenario.workload.mix, scenario.shared_prefix

    def taken(percent: int) -> int:
        if mix is None:
            load = load_of(1, scenario.workload.context, prefix)
        else:
            tokens = mix.at(Fraction(percent, 100)).peak
            alone = () if tokens == mix.longest else (Alike(1, tokens),)
            load = Load(1, mix.longest, prefix, alone)
        stages = settled.stages
        return settled.setup.deployment.tp * sum(stage.times * settled.held_bytes(stage, load) for stage in stages)

    return Percentiles(taken(50), taken(90), taken(95), taken(99))


def on_average(scenario: Scenario, settled: Settled) -> Scenario:
    """The scenario with requests that hold what they do on average; as it is where the engine reserves the rest too."""
    workload = scenario.workload
    if workload.mix is None or settled.reserves_ahead:
        return scenario
    return replace(scenario, workload=replace(workload, mix=workload.mix.averaged))


def mix_notes(workload: Workload) -> Iterator[Note]:
    """That there are too few requests for some kinds."""
    mix, batch = workload.mix, workload.batch
    if mix is None:
        return
    left_out = [kind for kind, number in zip(mix.kinds, mix.shared_out(batch), strict=True) if not number]
    if left_out:
        lengths = ", ".join(f"{kind.input:,}+{kind.output:,}" for kind in left_out[:MOST_NAMED])
        more = f" and {len(left_out) - MOST_NAMED:,} other kinds" if len(left_out) > MOST_NAMED else ""
        yield note(
            "mix-kinds-left-out",
            f"of {batch:,} at a time, shares leave no request of {lengths}{more} tokens; -b {mix.least_with_all:,} has "
            "one of each kind",
            batch=batch,
            kinds=len(left_out),
            least_batch=mix.least_with_all,
        )
