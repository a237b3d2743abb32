"""A chart as lines of text: for a terminal of 80 columns, with colours or without, and for pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.charts.chart import BarChart
from kvcalc.charts.labels import apart
from kvcalc.charts.looks import PLAIN_FILLS, PLAIN_MARKS, TEXT_FILLS, TEXT_MARKS
from kvcalc.charts.scales import Range, range_of
from kvcalc.charts.words import cells, exact, fold, tick, titled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.charts.chart import Bar, Chart, LineChart, Number, Series

_CODES = ("34", "31", "32", "35", "33", "36")
_HEIGHT = 16
_LEAST_WIDTH = 30


def text(chart: Chart, width: int = 80, *, colours: bool = False, plain: bool = False) -> str:
    """The chart as lines.

    Args:
        chart: what to show.
        width: of the longest line, in columns.
        colours: whether the terminal has colours. Lines and parts have marks of their own without them too.
        plain: whether only letters of ASCII are there.
    """
    width = max(_LEAST_WIDTH, width)
    lines = [*fold(chart.title, width), *fold(chart.subtitle, width), ""]
    painter = _Painter(colours=colours, plain=plain)
    lines += _bars(chart, width, painter) if isinstance(chart, BarChart) else _lines(chart, width, painter)
    for note in chart.notes:
        lines += ["", *fold(note, width)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


class _Painter:
    """Marks and colours by the number of a line or a part."""

    def __init__(self, *, colours: bool, plain: bool) -> None:
        self._colours, self.plain = colours, plain
        self._marks, self._fills = (PLAIN_MARKS, PLAIN_FILLS) if plain else (TEXT_MARKS, TEXT_FILLS)
        self.level, self.rule, self.edge = ("-", "-", "|") if plain else ("┄", "─", "│")

    def mark(self, number: int) -> str:
        return self.painted(self._marks[number % len(self._marks)], number)

    def fill(self, number: int, length: int) -> str:
        return self.painted(self._fills[number % len(self._fills)] * length, number)

    def painted(self, shown: str, number: int) -> str:
        return f"\x1b[{_CODES[number % len(_CODES)]}m{shown}\x1b[0m" if self._colours and shown else shown


def _lines(chart: LineChart, width: int, painter: _Painter) -> Iterator[str]:
    values = [point.y for each in chart.series for point in each.points]
    y = range_of(chart.y, [*values, *(each.value for each in chart.levels)], whole=True)
    x = range_of(chart.x, [point.x for each in chart.series for point in each.points], whole=False)
    height = max(_HEIGHT, len(chart.series))
    ticks = {round((1 - y.at(value)) * (height - 1)): tick(value, chart.y) for value in y.ticks(6)}
    left = max(map(cells, ticks.values()))
    longest = max(map(cells, (each.name for each in chart.series)), default=0)
    beside = min(longest, max(8, width // 3))
    keyed = longest > beside
    columns = width - left - 2 - (3 if keyed else beside + 4)
    canvas, untold = _canvas(chart, painter, x, y, (columns, height))
    names = _ends(chart, y, height)
    yield from fold(titled(chart.y), width)
    for row in range(height):
        number = names.get(row)
        name = "" if number is None else f" {painter.mark(number)} {'' if keyed else chart.series[number].name}"
        yield f"{ticks.get(row, ''):>{left}} {painter.edge}{''.join(canvas[row])}{name}"
    yield f"{'':>{left}} {'+' if painter.plain else '└'}{painter.rule * columns}"
    yield f"{'':>{left + 2}}{_ticks_below(chart, x, columns)}"
    yield from (f"{'':>{left + 2}}{line}" for line in fold(titled(chart.x), columns))
    if keyed:
        for number, each in enumerate(chart.series):
            first, *others = fold(each.name, width - 2) or [""]
            yield f"{painter.mark(number)} {first}"
            yield from (f"  {line}" for line in others)
    for told in untold:
        yield from (f"{painter.level} {line}" for line in fold(told, width - 2))


def _canvas(
    chart: LineChart, painter: _Painter, x: Range, y: Range, size: tuple[int, int]
) -> tuple[list[list[str]], list[str]]:
    """Rows of cells, and the levels whose names have no space in them."""
    columns, height = size
    canvas = [[" "] * columns for _ in range(height)]
    for number, each in enumerate(chart.series):
        for column, along in _places(each, x, y, columns):
            canvas[round((1 - along) * (height - 1))][column] = painter.mark(number)
    shown = [level for level in chart.levels if y.shows(level.value)]
    rows = [canvas[round((1 - y.at(level.value)) * (height - 1))] for level in shown]
    for row in rows:
        row[:] = [painter.level if each == " " else each for each in row]
    told = [f"{level.name}: {exact(level.value, chart.y)}" for level in shown]
    return canvas, [words for words, row in zip(told, rows, strict=True) if not _told(row, f" {words} ", painter.level)]


def _told(row: list[str], words: str, rule: str) -> bool:
    """Write the name of a level into its line, where no other line crosses it and no other name stands."""
    start = "".join(each if each == rule else "x" for each in row).find(rule * (len(words) + 1))
    if start < 0:
        return False
    row[start + 1 : start + 1 + len(words)] = words
    return True


def _places(each: Series, x: Range, y: Range, columns: int) -> Iterator[tuple[int, float]]:
    """A place in each column that the line passes."""
    before: tuple[int, float] | None = None
    for point in each.points:
        if point.y is None or not y.shows(point.y):
            before = None
            continue
        here = round(x.at(point.x) * (columns - 1)), y.at(point.y)
        if before is not None:
            for column in range(before[0] + 1, here[0]):
                share = 0 if each.steps else (column - before[0]) / (here[0] - before[0])
                yield column, before[1] + share * (here[1] - before[1])
        yield here
        before = here


def _ends(chart: LineChart, y: Range, height: int) -> dict[int, int]:
    """Which name stands in which row."""
    last = [(number, _last(each, y)) for number, each in enumerate(chart.series)]
    shown = [(number, (1 - value) * (height - 1)) for number, value in last if value is not None]
    places = apart([row for _, row in shown], 1, 0, height - 1)
    rows: dict[int, int] = {}
    for (number, _), place in sorted(zip(shown, places, strict=True), key=lambda each: each[1]):
        row = round(place)
        while row in rows:
            row += 1
        if row >= height:
            row = next(free for free in range(height - 1, -1, -1) if free not in rows)
        rows[row] = number
    return rows


def _last(each: Series, y: Range) -> float | None:
    return next((y.at(point.y) for point in reversed(each.points) if point.y is not None and y.shows(point.y)), None)


def _ticks_below(chart: LineChart, x: Range, columns: int) -> str:
    shown = ""
    for value in x.ticks(max(2, columns // 9)):
        words = tick(value, chart.x)
        start = max(0, min(columns - len(words), round(x.at(value) * (columns - 1)) - len(words) // 2))
        if not shown or start > len(shown):
            shown = shown.ljust(start) + words
    return shown


def _bars(chart: BarChart, width: int, painter: _Painter) -> Iterator[str]:
    totals = [sum(part.value for part in bar.parts) for bar in chart.bars]
    most = max([*totals, *(each.value for each in chart.levels), 1])
    left = max((cells(bar.name) for bar in chart.bars), default=0)
    sums = [exact(total, chart.y) if bar.parts else "none" for total, bar in zip(totals, chart.bars, strict=True)]
    columns = max(8, width - left - 3 - max(map(len, sums), default=0))
    names = list(dict.fromkeys(part.name for bar in chart.bars for part in bar.parts))
    yield from fold(f"{titled(chart.y)} of each {chart.x.unit or chart.x.title}", width)
    for bar, total in zip(chart.bars, sums, strict=True):
        blocks = _blocks(bar, names, most, columns, painter)
        yield f"{bar.name:>{left}} {painter.edge}{blocks} {total}"
    for level in chart.levels:
        told = f"{level.name}: {exact(level.value, chart.y)}"
        length = max(1, int(level.value * columns / most))
        yield f"{'':>{left}} {painter.edge}{painter.level * (length - 1)}{painter.edge}"
        yield from (f"{'':>{left + 2}}{line}" for line in fold(told, width - left - 2))
    yield ""
    for number, name in enumerate(names):
        values = [_figure(bar, name, chart) for bar in chart.bars]
        yield from fold_after(f"{painter.fill(number, 2)} {name}", values, width)


def _blocks(bar: Bar, names: Sequence[str], most: Number, columns: int, painter: _Painter) -> str:
    drawn, below, done = "", 0, 0
    total: Number = below
    for part in bar.parts:
        total += part.value
        end = round(total * columns / most)
        drawn += painter.fill(names.index(part.name), end - done)
        done = end
    return drawn


def _figure(bar: Bar, name: str, chart: BarChart) -> str:
    value = sum(part.value for part in bar.parts if part.name == name)
    return f"{bar.name}: {exact(value, chart.y)}" if len(chart.bars) > 1 else exact(value, chart.y)


def fold_after(head: str, values: Sequence[str], width: int) -> Iterator[str]:
    """A heading and what follows it, in lines."""
    lines = fold(", ".join(values), width - 4)
    if len(lines) == 1 and cells(head) + cells(lines[0]) + 2 <= width:
        yield f"{head}  {lines[0]}"
        return
    yield head
    yield from (f"    {line}" for line in lines)
