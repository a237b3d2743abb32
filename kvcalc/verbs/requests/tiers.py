"""Tiers beside the accelerators: how many sequences host memory or a disk keeps, and how soon one is back.

What is kept there is read once, when its sequence goes on. That is another thing than --spill, whose cache is read at
every step.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.noun import noun
from kvcalc.record import Record
from kvcalc.verbs.bounds.prefill import prompt_of

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.engines.parked import Parked
    from kvcalc.memory import Rank, Ranks
    from kvcalc.scenario import Scenario

UNIFIED = "unified"
"""The link of an accelerator whose memory is the host's."""


@noun
class Tier(Record):
    """A tier of one replica.

    Attributes:
        name: host memory or disk.
        bytes: as given.
        sequences: of the scenario's context that it keeps; None where they take nothing.
        seconds_to_restore: at least, until one of them is back on all ranks, which move their parts at the same time;
            None where the rate of the link or of the disk is not known, or nothing is kept of one.
    """

    name: str
    bytes: int
    sequences: int | None
    seconds_to_restore: float | None


@noun
class Handoff(Record):
    """The cache of one prompt, from the ranks that read it to those that decode.

    Attributes:
        bytes: of all ranks of a replica.
        bytes_per_rank: of the one with the most.
        seconds: at least, where every rank sends its part at the same time at the given rate.
    """

    bytes: int
    bytes_per_rank: int
    seconds: float


def tiers(ranks: Ranks, deployment: Deployment) -> tuple[Tier, ...]:
    """The tiers that a scenario asks for, of a deployment.

    Raises:
        KvcalcError: it is not known how the engine keeps this model beside the accelerators, or there is no link.
    """
    scenario = ranks.scenario
    asked = {"host memory": scenario.beside.host_memory, "disk": scenario.beside.disk}
    if all(size is None for size in asked.values()):
        return ()
    first = next(f"--{name.replace(' ', '-')}" for name, size in asked.items() if size is not None)
    one = _parked(ranks, deployment, first)
    rates = {"host memory": scenario.gpu.host_link_bandwidth, "disk": _of_disk(scenario)}
    return tuple(
        Tier(name, size, one.held_by(size), _seconds(one, rates["host memory"], name, rates[name]))
        for name, size in asked.items()
        if size is not None
    )


def _parked(ranks: Ranks, deployment: Deployment, option: str) -> Parked:
    scenario = ranks.scenario
    if scenario.gpu.host_link == UNIFIED:
        raise KvcalcError(
            f"{option}: {scenario.gpu.name} shares its memory with the processor: there is none beside it"
        )
    found = ranks.settled(deployment).parked(scenario.workload.context)
    if isinstance(found, str):
        raise KvcalcError(
            f"{option}: kvcalc does not follow how {scenario.engine.label} keeps this model beside the "
            f"accelerators on this deployment ({found}); --engine exact counts the bytes of what it keeps"
        )
    if scenario.beside.disk is not None and not found.on_disk:
        raise KvcalcError(
            f"--disk: kvcalc does not follow how {scenario.engine.label} keeps this model on a disk; --engine exact "
            "counts the bytes of what it keeps"
        )
    return found


def _of_disk(scenario: Scenario) -> Fraction | None:
    rate = scenario.beside.disk_bandwidth
    return None if rate is None else Fraction(rate)


def _seconds(one: Parked, link: Fraction | None, name: str, rate: Fraction | None) -> float | None:
    """What moves over the link, and before that from a disk, one after the other at the best overlapping."""
    if link is None or rate is None or not one.units:
        return None
    over_link = one.link_bytes / link
    from_disk = one.pools * one.unit_bytes * one.units / rate if name == "disk" else Fraction(0)
    return float(max(over_link, from_disk))


def handoff(ranks: Ranks, deployment: Deployment) -> Handoff | None:
    """The hand-off of one request with the scenario's prompt, of a mix the longest; None unless asked for."""
    scenario = ranks.scenario
    rate = scenario.beside.handoff
    if rate is None:
        return None
    parts = sent_by_rank(ranks, deployment, prompt_of(scenario))
    most = max(parts.values())
    whole = deployment.tp * sum(rank.stages_alike * part for rank, part in parts.items())
    return Handoff(whole, most, float(Fraction(most, rate)))


def sent_by_rank(ranks: Ranks, deployment: Deployment, prompt: int) -> dict[Rank, int]:
    """Bytes of a prompt's cache, by the kinds of ranks that have them: what is attended to, before engines round.

    Beside others, which have all shared prefixes.
    """
    others = ranks.scenario.prefix_groups
    each = ranks.of(deployment)
    return {rank: rank.content_bytes(others + 1, prompt) - rank.content_bytes(others, prompt) for rank in each}
