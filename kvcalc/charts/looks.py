"""Colours, dashes and marks: six colours that the colour-blind tell apart, on paper and on a dark screen.

The hues are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), darker on paper and lighter on a dark screen, so
that each has a contrast of 3 to 1 at least. No two of the first twelve lines have the same colour, dash and mark, and
no two parts of a bar lie beside each other in one colour, so that a print without colours is read too.
"""

from __future__ import annotations

from typing import NamedTuple


class Theme(NamedTuple):
    """The colours of a picture."""

    paper: str
    ink: str
    faint: str
    grid: str
    lines: tuple[str, ...]


LIGHT = Theme(
    "#ffffff", "#1f2328", "#59636e", "#d9dee3", ("#0072b2", "#c44f00", "#00795a", "#a8327a", "#7d6400", "#4b3fa7")
)
DARK = Theme(
    "#0d1117", "#e6edf3", "#9198a1", "#30363d", ("#56b4e9", "#ff9d5c", "#35c79a", "#ee9fcb", "#e3c14b", "#b3adff")
)

DASHES = ("", "7 3", "2 3", "9 3 2 3")
_CIRCLE = "M{x} {y}m-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z"
_MARKS = (
    _CIRCLE,
    "M{x} {y}m-2.7 -2.7h5.4v5.4h-5.4z",
    "M{x} {y}m0 -3.6l3.4 6h-6.8z",
    "M{x} {y}m0 -3.7l3.7 3.7l-3.7 3.7l-3.7 -3.7z",
    "M{x} {y}m0 3.6l3.4 -6h-6.8z",
    "M{x} {y}m-3.4 -1.1h2.3v-2.3h2.2v2.3h2.3v2.2h-2.3v2.3h-2.2v-2.3h-2.3z",
)
TEXT_MARKS = "●■▲◆○□△◇+*#@"
PLAIN_MARKS = "oxv*#+=%@&abcdefghijklm"
TEXT_FILLS = "█▓▒░▌·"
PLAIN_FILLS = "#=:.+-"


def colour(number: int, theme: Theme) -> str:
    """Of a line or a part, counted from 0."""
    return theme.lines[number % len(theme.lines)]


def dash(number: int) -> str:
    """The dashes of a line; those of one colour differ."""
    return DASHES[(number + number // len(LIGHT.lines)) % len(DASHES)]


def mark(number: int, x: str, y: str) -> str:
    """The path of a line's mark at a place."""
    return _MARKS[(number + number // len(LIGHT.lines)) % len(_MARKS)].format(x=x, y=y)


def dark_rules(within: str = "") -> str:
    """Rules of CSS that turn a picture dark.

    Args:
        within: a selector before each rule, such as '[data-theme=dark] '.
    """
    root = f"{within}.kvcalc-chart"
    rules = [
        f"{root} .paper{{fill:{DARK.paper}}}",
        f"{root} .ink{{fill:{DARK.ink}}}",
        f"{root} .faint{{fill:{DARK.faint}}}",
        f"{root} .grid{{stroke:{DARK.grid}}}",
        f"{root} .axis{{stroke:{DARK.faint}}}",
        f"{root} .level{{stroke:{DARK.ink}}}",
        f"{root} .halo{{stroke:{DARK.paper}}}",
        f"{root} .edge{{stroke:{DARK.paper}}}",
    ]
    for number, each in enumerate(DARK.lines):
        rules += [f"{root} .s{number}{{stroke:{each}}}", f"{root} .f{number}{{fill:{each}}}"]
    return "\n".join(rules)


def style() -> str:
    """The rules that a picture carries: dark where the reader's screen is, and never on paper."""
    return f"@media screen and (prefers-color-scheme:dark){{\n{dark_rules()}\n}}"
