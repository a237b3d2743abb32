"""What to know of a format that is asked for the weights: which of them it leaves as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.memory import left_alone
from kvcalc.note import Note, note
from kvcalc.scenario import compute_format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.scenario import Scenario


def weight_notes(scenario: Scenario) -> Iterator[Note]:
    """What the format leaves, or that it is not known."""
    asked, left = scenario.weight_format, left_alone(scenario)
    if asked is None or left is None:
        return
    own = compute_format(scenario.model).name
    if left:
        *others, last = left
        names = f"{', '.join(others)} and {last}" if others else last
        text = (
            f"weights in {asked.name}: {names} stay in {own}, as quantised checkpoints have them; for one that leaves "
            "more, its folder or --weights SIZE"
        )
    else:
        text = (
            f"weights in {asked.name}: all of them, since {scenario.origin} does not tell the embedding and the output "
            f"head apart, which quantised checkpoints leave in {own}; --weights SIZE gives what yours takes"
        )
    yield note("weights-left-in-dtype", text, format=asked.name, dtype=own, left=left)
