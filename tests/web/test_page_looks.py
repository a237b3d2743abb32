"""What is read on the page stands out from what it lies on, on a light screen and on a dark one."""

from __future__ import annotations

import re

import pytest

from kvcalc.charts.looks import DARK, LIGHT
from kvcalc.web.files import page_file

READ, SEEN = 4.5, 3.0
"""The contrasts that WCAG 2.2 asks of text (1.4.3), and of lines and edges (1.4.11)."""


def colours(scheme: str) -> dict[str, str]:
    """The page's colours by name; those of pictures, which have no paper there, under 'chart'."""
    light, dark = re.findall(r":root \{(.*?)\}", page_file("page.css").decode(), re.DOTALL)[:2]
    found = dict(re.findall(r"--([a-z]+): (#\w{6});", light))
    if scheme == "dark":
        found |= re.findall(r"--([a-z]+): (#\w{6});", dark)
    theme = LIGHT if scheme == "light" else DARK
    return (
        found
        | {"chart-ink": theme.ink, "chart-faint": theme.faint}
        | {f"chart-{number}": colour for number, colour in enumerate(theme.lines)}
    )


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_contrasts_are_those_that_wcag_asks(scheme: str) -> None:
    found = colours(scheme)
    texts = [(name, under) for name in ("ink", "faint") for under in ("ground", "card", "free")]
    texts += [(name, "ground") for name in ("good", "close", "bad", "chart-ink", "chart-faint")]
    texts.append(("card", "accent"))  # what is chosen in a list
    lines = [(name, under) for name in ("edge", "accent", "bad") for under in ("ground", "card")]
    lines += [(f"chart-{number}", "ground") for number in range(6)]
    for least, pairs in ((READ, texts), (SEEN, lines)):
        for name, under in pairs:
            low, high = sorted((luminance(found[name]), luminance(found[under])))
            assert (high + 0.05) / (low + 0.05) >= least, (name, under)
