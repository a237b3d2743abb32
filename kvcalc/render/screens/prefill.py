"""How the bound of the first token looks: a line, and the tree of what a prompt reads and computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.screens.decode import rates, seconds_row, shown
from kvcalc.render.screens.question import count
from kvcalc.render.screens.tree import term_rows
from kvcalc.render.view import Column, Grid, right

if TYPE_CHECKING:
    from kvcalc.verbs.bounds.prefill import PrefillBound

MILLISECONDS = 1000


def prefill_line(bound: PrefillBound) -> str:
    """'first token: at least 1,234 ms after a prompt of 8,192 tokens (a bound, by compute)'."""
    shared = f", {bound.shared_tokens:,} of them there already" if bound.shared_tokens else ""
    why = "compute" if bound.limited_by == "compute" else "memory bandwidth"
    if not bound.operations:
        why += " alone: the rate of computing is not known"
    return (
        f"first token: at least {shown(bound.seconds * MILLISECONDS)} ms after a prompt of "
        f"{count(bound.tokens, 'token')}{shared} (a bound, by {why})"
    )


def prefill_tree(bound: PrefillBound) -> Grid:
    """What reading a prompt reads and computes, and how long that takes at least."""
    weights, computed = bound.terms.parts
    bandwidth = f"at {bound.gpu.memory_bandwidth_gb_per_s:,g} x 10^9 bytes a second"
    rows = [
        *term_rows(weights, 0),
        *term_rows(computed, 0),
        seconds_row("memory seconds", bound.memory_seconds, "weights read / bandwidth, of all stages", bandwidth),
        seconds_row("compute seconds", bound.compute_seconds, "operations / peak rate of each", rates(bound.gpu)),
    ]
    return Grid((Column("prompt"), right("value"), Column("formula"), Column("in numbers")), tuple(rows))
