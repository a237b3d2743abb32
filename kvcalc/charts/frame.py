"""Where the pieces of a picture are: margins, the plot within them, and the lines of text around it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.charts.chart import BarChart
from kvcalc.charts.labels import apart
from kvcalc.charts.scales import Range, range_of
from kvcalc.charts.words import cells, exact, fold, tick, titled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.charts.chart import Chart, Level, LineChart, Number

LEAST_WIDTH = 240
PAD = 12
TITLE, TEXT, SMALL = 16, 12, 11
"""Sizes of letters."""

LINE = 15
"""From one line of text to the next."""

SAMPLE = 34
"""What stands before a name: the way to its line, and a sample of it."""

_LETTER = 0.57
"""How wide a letter is, at most on average, of its size, in the fonts that systems have."""

_LETTER_OF_TITLE = 0.6
_MOST_BESIDE = 0.38
"""Of the width, for names beside the lines; where they need more, letters stand there and the names below."""


class Named(NamedTuple):
    """A name beside the plot: of which line or part, and where that ends."""

    number: int
    name: str
    x: float
    y: float


class Frame:
    """The geometry of one chart at one width."""

    def __init__(self, chart: Chart, width: int) -> None:
        self.chart, self.width = chart, max(LEAST_WIDTH, width)
        self.names = names_of(chart)
        longest = max((cells(name) for name in self.names), default=0)
        beside = SAMPLE + longest * TEXT * _LETTER + 4
        self.keyed = beside > self.width * _MOST_BESIDE
        self.right = self.width - PAD - ((SAMPLE + 12) if self.keyed else beside)
        self.title = fold(chart.title, self._columns(TITLE, _LETTER_OF_TITLE))
        self.subtitle = fold(chart.subtitle, self._columns(TEXT))
        self.top = PAD + LINE * (len(self.subtitle) + 2) + 20 * len(self.title) + 4
        self.plot_height = max(200, min(420, round(self.width * 0.5)), 15 * len(self.names))
        self.bottom = self.top + self.plot_height
        self.y = range_of(chart.y, self._values(), whole=True)
        ticks = self.y.ticks(7)
        self.y_ticks = ticks
        self.left = PAD + max(cells(tick(value, chart.y)) for value in ticks) * TEXT * _LETTER + 8
        self.notes = [line for note in chart.notes for line in fold(note, self._columns(SMALL))]

    @cached_property
    def x(self) -> Range:
        """Of a chart with lines."""
        assert not isinstance(self.chart, BarChart)  # noqa: S101  # for types
        values = [point.x for each in self.chart.series for point in each.points]
        return range_of(self.chart.x, values, whole=False)

    @cached_property
    def x_ticks(self) -> tuple[Number, ...]:
        """As many as have space for their words."""
        for most in range(12, 1, -1):
            ticks = self.x.ticks(most)
            widest = max(cells(tick(value, self.chart.x)) for value in ticks) * TEXT * _LETTER + 10
            if widest * len(ticks) <= self.right - self.left:
                return ticks
        return self.x.ticks(2)

    @cached_property
    def bar_names(self) -> list[list[str]]:
        """The lines below each bar; numbers where a word of a name is wider than its bar's place."""
        assert isinstance(self.chart, BarChart)  # noqa: S101  # for types
        names = [bar.name for bar in self.chart.bars]
        columns = int((self.right - self.left) / max(1, len(names)) / (TEXT * _LETTER))
        if any(cells(word) > columns for name in names for word in name.split()):
            return [[str(number + 1)] for number in range(len(names))]
        return [fold(name, columns) for name in names]

    @cached_property
    def bar_key(self) -> list[list[str]]:
        """The names of bars that are numbered."""
        if not isinstance(self.chart, BarChart):
            return []
        named = zip(self.chart.bars, self.bar_names, strict=True)
        if all(" ".join(lines) == bar.name for bar, lines in named):
            return []
        return [self._folded(bar.name) for bar in self.chart.bars]

    @property
    def below(self) -> float:
        """Where the lines of ticks or bars' names end."""
        lines = max((len(each) for each in self.bar_names), default=1) if isinstance(self.chart, BarChart) else 1
        return self.bottom + LINE * lines

    @cached_property
    def key(self) -> list[tuple[int, list[str]]]:
        """The names below the plot, folded, where they do not stand beside it."""
        return [(number, self._folded(name)) for number, name in enumerate(self.names)] if self.keyed else []

    @cached_property
    def level_key(self) -> list[list[str]]:
        """Likewise those of levels."""
        return [self._folded(level_words(each, self.chart)) for each in self.chart.levels] if self.levels_keyed else []

    @property
    def height(self) -> int:
        key = sum(map(len, [*(lines for _, lines in self.key), *self.level_key, *self.bar_key])) * LINE
        notes = len(self.notes) * LINE
        return round(self.below + LINE + 12 + key + (6 if key else 0) + notes + (6 if notes else 0) + PAD)

    def across(self, value: Number) -> float:
        """Where a value of x is."""
        return self.left + self.x.at(value) * (self.right - self.left)

    def up(self, value: Number) -> float:
        """Where a value of y is."""
        return self.bottom - self.y.at(value) * (self.bottom - self.top)

    def slot(self, number: int, bars: int) -> tuple[float, float]:
        """The middle and the width of a bar."""
        each = (self.right - self.left) / bars
        return self.left + (number + 0.5) * each, min(72.0, each * 0.7)

    def has_space(self, words: str, bars: int) -> bool:
        """Whether words over a bar stay clear of those over the next."""
        return cells(words) * SMALL * _LETTER + 4 <= (self.right - self.left) / bars

    def beside(self, named: Sequence[Named]) -> list[float]:
        """Where names beside the plot stand, one under the other."""
        return apart([each.y for each in named], 14.0, self.top + 2, self.bottom - 2)

    @property
    def levels_keyed(self) -> bool:
        """Whether the names of levels are too long for the plot, so that letters stand there and they below."""
        columns = (self.right - self.left - 12) / (SMALL * _LETTER)
        return any(cells(level_words(each, self.chart)) > columns for each in self.chart.levels)

    def level_lines(self) -> list[float]:
        """Where the names of levels stand."""
        wanted = [self.up(each.value) - 5 for each in self.chart.levels]
        return apart(wanted, 13.0, self.top + 9, self.bottom - 4)

    def _folded(self, name: str) -> list[str]:
        return fold(name, int((self.width - 2 * PAD - SAMPLE - 16) / (TEXT * _LETTER))) or [""]

    def _columns(self, size: int, letter: float = _LETTER) -> int:
        return int((self.width - 2 * PAD) / (size * letter))

    def _values(self) -> list[Number | None]:
        levels: list[Number | None] = [each.value for each in self.chart.levels]
        if isinstance(self.chart, BarChart):
            return [*levels, *(sum(part.value for part in bar.parts) for bar in self.chart.bars)]
        return [*levels, *(point.y for each in self.chart.series for point in each.points)]


def names_of(chart: Chart) -> tuple[str, ...]:
    """The names of lines, or of parts in the order in which they are met from the bottom."""
    if isinstance(chart, BarChart):
        return tuple(dict.fromkeys(part.name for bar in chart.bars for part in bar.parts))
    return tuple(each.name for each in chart.series)


def level_words(level: Level, chart: Chart) -> str:
    """A level's name and value."""
    return f"{level.name}: {exact(level.value, chart.y)}"


def described(chart: Chart) -> str:
    """The chart in a sentence or two, for who does not see it."""
    if isinstance(chart, BarChart):
        shown = "; ".join(f"{bar.name}: {', '.join(part.name for part in bar.parts) or bar.note}" for bar in chart.bars)
        return f"{titled(chart.y)}, stacked, for each of {titled(chart.x)}. {shown}"
    return f"{titled(chart.y)} against {titled(chart.x)}. {_lines(chart)}"


def _lines(chart: LineChart) -> str:
    told = []
    for each in chart.series:
        values = [point for point in each.points if point.y is not None]
        if not values:
            told.append(f"{each.name}: no values")
            continue
        first, last = values[0], values[-1]
        told.append(
            f"{each.name}: {tick(first.y or 0, chart.y)} at {tick(first.x, chart.x)}"
            f" to {tick(last.y or 0, chart.y)} at {tick(last.x, chart.x)}"
        )
    return "; ".join(told)
