"""What is kept beside the accelerators, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.answer import size
from kvcalc.render.question import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.verbs.tiers import Handoff, Tier


def tier_lines(tiers: Sequence[Tier], handoff: Handoff | None, context: int, unit: str) -> Iterator[str]:
    """A line for each tier, and one for the hand-off of a request."""
    for tier in tiers:
        kept = "any number of sequences" if tier.sequences is None else count(tier.sequences, "sequence")
        seconds = tier.seconds_to_restore
        back = "" if seconds is None else f"; one is back in {_seconds(seconds)} at least"
        yield f"{tier.name} of {size(tier.bytes, unit)}: keeps {kept} of {count(context, 'token')}{back}"
    if handoff is not None:
        yield (
            f"hand-off of a request of {count(context, 'token')}: {size(handoff.bytes, unit)}, "
            f"{size(handoff.bytes_per_rank, unit)} from a GPU, in {_seconds(handoff.seconds)} at least"
        )


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:,.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"
