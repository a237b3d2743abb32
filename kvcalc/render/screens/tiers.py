"""What is kept beside the accelerators, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.screens.answer import size
from kvcalc.render.screens.decode import shown
from kvcalc.render.screens.question import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.verbs.planning.pools import PlannedPool, PlannedPools
    from kvcalc.verbs.requests.pools import Pool
    from kvcalc.verbs.requests.tiers import Handoff, Tier


def tier_lines(tiers: Sequence[Tier], handoff: Handoff | None, context: int, prompt: int, unit: str) -> Iterator[str]:
    """A line for each tier, and one for the hand-off of a prompt."""
    for tier in tiers:
        kept = "any number of sequences" if tier.sequences is None else count(tier.sequences, "sequence")
        seconds = tier.seconds_to_restore
        back = "" if seconds is None else f"; one is back in {_seconds(seconds)} at least"
        yield f"{tier.name} of {size(tier.bytes, unit)}: keeps {kept} of {count(context, 'token')}{back}"
    if handoff is not None:
        yield (
            f"hand-off of a request of {count(prompt, 'token')}: {size(handoff.bytes, unit)}, "
            f"{size(handoff.bytes_per_rank, unit)} from a GPU, in {_seconds(handoff.seconds)} at least"
        )


def pool_lines(pools: Sequence[Pool], rate: float) -> Iterator[str]:
    """A line for each pool, which serve so many requests a second."""
    for pool in pools:
        what = "read prompts" if pool.sequences is None else "decode"
        if pool.replicas == 1:
            what = what.replace("read", "reads").replace("decode", "decodes")
        most = (
            "" if pool.requests_per_second is None else f", each {shown(pool.requests_per_second)} requests/s at most"
        )
        held = "" if pool.sequences is None else f" with {count(pool.sequences, 'sequence')} on average"
        yield (
            f"{rate:,g} requests/s: at least {count(pool.replicas, 'replica')} that {what}, {count(pool.gpus, 'GPU')}"
            f"{most}{held} (a bound, by {pool.limited_by})"
        )


def planned_lines(pools: Sequence[PlannedPools]) -> Iterator[str]:
    """A line for both pools of each accelerator."""
    for each in pools:
        price = "" if each.usd_per_hour is None else f", {each.usd_per_hour:,.2f} USD an hour"
        yield (
            f"{each.requests_per_second:,g} requests/s in pools: at least {each.count:,} x {each.gpu}{price}: "
            f"{_replicas(each.prefill)} read prompts, {_replicas(each.decode)} decode"
        )


def _replicas(pool: PlannedPool) -> str:
    return f"{pool.replicas:,} x ({pool.deployment}, {pool.limited_by})"


def _seconds(seconds: float) -> str:
    return f"{shown(1000 * seconds)} ms" if seconds < 1 else f"{shown(seconds)} s"
