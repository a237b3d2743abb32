"""A chart as a result: what a notebook shows, and every form that it can be written in."""

from __future__ import annotations

import json
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from kvcalc.charts.looks import DARK, LIGHT
from kvcalc.charts.svg import svg
from kvcalc.charts.text import text
from kvcalc.noun import Noun, noun

if TYPE_CHECKING:
    from kvcalc.charts.chart import Chart


@noun
class Picture(Noun):
    """What `kvcalc.plot` gives: `picture.to_svg()`; a notebook shows it, and `print` draws it with letters.

    Attributes:
        chart: the exact values, with the words of their axes.
    """

    chart: Chart

    def to_svg(self, width: int = 720, *, dark: bool = False, styled: bool = True) -> str:
        """As SVG, which turns dark with its reader's screen unless it is dark by itself.

        Args:
            width: in pixels.
            dark: whether it is dark by itself.
            styled: without, a page of several pictures has the rules that turn them dark (`charts.looks.style()`) once.
        """
        return svg(self.chart, width, theme=DARK if dark else LIGHT, styled=styled and not dark)

    def to_text(self, width: int = 80, *, colours: bool = False, plain: bool = False) -> str:
        """As lines of a terminal of so many columns; `plain`: in letters of ASCII."""
        return text(self.chart, width, colours=colours, plain=plain)

    def to_html(self, width: int = 720, *, dark: bool = False) -> str:
        """As a page that needs no other file: the picture, and its values as a table."""
        from kvcalc.charts.page import page

        return page(self.chart, width, dark=dark)

    def to_dict(self) -> dict[str, Any]:
        """Its values and words, as plain numbers and texts."""
        found: dict[str, Any] = _plain(self.chart)
        return found

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_png(self, width: int = 720, *, dark: bool = False) -> bytes:
        """As PNG of twice as many pixels.

        Raises:
            CannotRunError: resvg-py is not there (python -m pip install 'resvg-py>=0.5').
        """
        from kvcalc.charts.png import png

        return png(self.to_svg(width, dark=dark))

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"Picture({self.chart.title!r})"


def _plain(value: Any) -> Any:
    if isinstance(value, Noun):
        return {name: _plain(getattr(value, name)) for name in value.field_parts}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    return value
