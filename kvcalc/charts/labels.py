"""Names beside a chart that do not lie over each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near those wanted, in the same order, at least a gap from each other and within bounds.

    Names that want to be closer are put around their middle. Where there is no space for all, the gap shrinks.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda place: (wanted[place], place))
    groups: list[tuple[float, list[int]]] = []  # where the first of a group is, and who is in it
    for place in order:
        groups.append((min(max(wanted[place], low), high), [place]))
        while len(groups) > 1 and groups[-2][0] + gap * len(groups[-2][1]) > groups[-1][0]:
            members = groups[-2][1] + groups[-1][1]
            del groups[-2:]
            ideal = sum(wanted[each] - gap * number for number, each in enumerate(members)) / len(members)
            groups.append((min(max(ideal, low), high - gap * (len(members) - 1)), members))
    found = [0.0] * len(wanted)
    for start, members in groups:
        for number, each in enumerate(members):
            found[each] = start + gap * number
    return found
