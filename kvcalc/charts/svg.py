"""A chart as SVG: one text, the same bytes for the same chart, which needs nothing around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.charts.chart import BarChart
from kvcalc.charts.elements import place, xml
from kvcalc.charts.frame import LINE, PAD, SAMPLE, SMALL, TEXT, TITLE, Frame, Named, described, level_words
from kvcalc.charts.looks import LIGHT, Theme, colour, dash, mark, style
from kvcalc.charts.words import exact, raw, tick, titled

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from kvcalc.charts.chart import Axis, Chart, LineChart, Number, Series

_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def svg(chart: Chart, width: int = 720, *, theme: Theme = LIGHT, styled: bool = True) -> str:
    """The chart as one SVG element.

    Each point of a line is a `path.point`, each piece of a bar a `rect.part`, with what it shows in attributes: the
    exact values `data-x` and `data-y`, the same in words in `data-x-text` and `data-y-text`, the name in `data-series`
    and, where there is one, a sentence in `data-note`. Its `<title>` says the same.

    Args:
        chart: what to show.
        width: in pixels of its own, at which its letters are 12 high; the picture scales with what holds it.
        theme: the colours of what reads no CSS (`looks.LIGHT`, `looks.DARK`).
        styled: whether the picture turns dark with its reader's screen. Without, a page that holds several pictures
            gives the rules itself once: `looks.style()`, or `looks.dark_rules(within)` for a switch of its own.
    """
    frame = Frame(chart, width)
    opened = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="kvcalc-chart" role="img" viewBox="0 0 {frame.width}'
        f' {frame.height}" width="{frame.width}" height="{frame.height}" font-family="{_FONT}" font-size="{TEXT}">'
    )
    lines = [
        opened,
        f"<title>{xml(chart.title)}</title>",
        f"<desc>{xml(described(chart))}</desc>",
    ]
    if styled:
        lines.append(f"<style>{style()}</style>")
    lines.append(f'<rect class="paper" width="100%" height="100%" fill="{theme.paper}"/>')
    lines += _Writer(frame, theme).everything()
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


class _Writer:
    """Writes the pieces of one picture."""

    def __init__(self, frame: Frame, theme: Theme) -> None:
        self._frame, self._theme, self._chart = frame, theme, frame.chart

    def everything(self) -> Iterator[str]:
        yield from self._head()
        yield from self._grid()
        yield from self._levels()
        named = yield from self._bars(self._chart) if isinstance(self._chart, BarChart) else self._lines(self._chart)
        yield from self._level_names()
        yield from self._names(named)
        yield from self._foot()

    def _head(self) -> Iterator[str]:
        y = PAD + 4.0
        for line in self._frame.title:
            y += 20
            yield self._words(line, PAD, y - 6, size=TITLE, more=' font-weight="600"')
        for line in self._frame.subtitle:
            y += LINE
            yield self._words(line, PAD, y - 4, kind="faint")
        yield self._words(titled(self._chart.y), PAD, self._frame.top - 10, kind="faint")

    def _grid(self) -> Iterator[str]:
        frame = self._frame
        for value in frame.y_ticks:
            y = frame.up(value)
            yield self._straight("grid", self._theme.grid, frame.left, y, frame.right, y)
            yield self._words(tick(value, self._chart.y), frame.left - 6, y + 4, kind="faint", anchor="end")
        yield self._straight("axis", self._theme.faint, frame.left, frame.bottom, frame.right, frame.bottom)
        middle = (frame.left + frame.right) / 2
        yield self._words(titled(self._chart.x), middle, frame.below + LINE + 4, kind="faint", anchor="middle")
        if isinstance(self._chart, BarChart):
            return
        for value in frame.x_ticks:
            x = frame.across(value)
            yield self._straight("axis", self._theme.faint, x, frame.bottom, x, frame.bottom + 4)
            yield self._words(tick(value, self._chart.x), x, frame.bottom + LINE + 2, kind="faint", anchor="middle")

    def _levels(self) -> Iterator[str]:
        for each in self._chart.levels:
            y, value = self._frame.up(each.value), exact(each.value, self._chart.y)
            yield (
                f'<line class="level" stroke="{self._theme.ink}" stroke-dasharray="1 3" x1="{place(self._frame.left)}"'
                f' x2="{place(self._frame.right)}" y1="{place(y)}" y2="{place(y)}" data-level="{xml(each.name)}"'
                f' data-y="{raw(each.value)}" data-y-text="{xml(value)}">'
                f"<title>{xml(each.name)}: {xml(value)}</title></line>"
            )

    def _level_names(self) -> Iterator[str]:
        """Above their lines: on the left, where lines are low, and of bars, which often fall, on the right."""
        frame, bars = self._frame, isinstance(self._chart, BarChart)
        x, anchored = place(frame.right - 6 if bars else frame.left + 6), ' text-anchor="end"' if bars else ""
        for number, (each, y) in enumerate(zip(self._chart.levels, frame.level_lines(), strict=True)):
            shown = _letter(number).upper() if frame.levels_keyed else level_words(each, self._chart)
            at = f'x="{x}" y="{place(y)}" font-size="{SMALL}"{anchored}'
            yield (
                f'<text class="halo" {at} fill="none" stroke="{self._theme.paper}" stroke-width="3"'
                f' stroke-linejoin="round" aria-hidden="true">{xml(shown)}</text>'
            )
            yield f'<text class="ink" {at} fill="{self._theme.ink}">{xml(shown)}</text>'

    def _lines(self, chart: LineChart) -> Generator[str, None, list[Named]]:
        named = []
        for number, each in enumerate(chart.series):
            shown = [point for point in each.points if self._frame.y.shows(point.y)]
            yield f'<g data-series="{xml(each.name)}">'
            if path := self._path(each):
                yield (
                    f'<path class="line s{number % 6}" fill="none" stroke="{colour(number, self._theme)}"'
                    f' stroke-width="2" stroke-linejoin="round"{_dashed(number)} d="{path}"/>'
                )
            for point in shown:
                x, y = self._frame.across(point.x), self._frame.up(point.y or 0)
                told = self._data(each.name, point.x, chart.x, point.y or 0, point.note)
                yield (
                    f'<path class="point f{number % 6}" fill="{colour(number, self._theme)}"'
                    f' d="{mark(number, place(x), place(y))}" {told}</path>'
                )
            yield "</g>"
            if shown:
                named.append(Named(number, each.name, x, y))
        return named

    def _path(self, each: Series) -> str:
        """The line, which is broken where there is no value."""
        parts, before = [], None
        for point in each.points:
            if not self._frame.y.shows(point.y):
                before = None
                continue
            here = f"{place(self._frame.across(point.x))} {place(self._frame.up(point.y or 0))}"
            if before is not None and each.steps:
                parts.append(f"L{place(self._frame.across(point.x))} {before}")
            parts.append(f"{'M' if before is None else 'L'}{here}")
            before = here.split(" ")[1]
        return "".join(parts)

    def _bars(self, chart: BarChart) -> Generator[str, None, list[Named]]:
        places: dict[str, Named] = {}
        for number_of_bar, bar in enumerate(chart.bars):
            middle, width = self._frame.slot(number_of_bar, len(chart.bars))
            below: Number = 0
            for part in bar.parts:
                number = self._frame.names.index(part.name)
                low, high = self._frame.up(below), self._frame.up(below + part.value)
                told = self._data(part.name, bar.name, chart.x, part.value, part.note or bar.note)
                yield (
                    f'<rect class="part edge f{number % 6}" fill="{colour(number, self._theme)}"'
                    f' stroke="{self._theme.paper}" x="{place(middle - width / 2)}" y="{place(high)}"'
                    f' width="{place(width)}" height="{place(low - high)}" {told}</rect>'
                )
                places[part.name] = Named(number, part.name, middle + width / 2, (low + high) / 2)
                below += part.value
            over = exact(below, chart.y).removesuffix(f" {chart.y.unit}") if bar.parts else "none"
            if self._frame.has_space(over, len(chart.bars)):
                yield self._words(over, middle, self._frame.up(below) - 4, size=SMALL, anchor="middle")
            for line, words in enumerate(self._frame.bar_names[number_of_bar], 1):
                yield self._words(words, middle, self._frame.bottom + LINE * line + 2, kind="faint", anchor="middle")
        return list(places.values())

    def _data(self, name: str, x: Number | str, axis: Axis, y: Number, note: str) -> str:
        """The attributes of one value, and its tooltip."""
        where = f"{axis.unit} {x}".strip() if isinstance(x, str) else exact(x, axis)
        value = exact(y, self._chart.y)
        found = f'data-series="{xml(name)}" data-x="{xml(x if isinstance(x, str) else raw(x))}"'
        found += f' data-x-text="{xml(where)}" data-y="{raw(y)}" data-y-text="{xml(value)}"'
        if note:
            found += f' data-note="{xml(note)}"'
        return f"{found}><title>{xml(f'{name}, {where}: {value}' + (f' ({note})' if note else ''))}</title>"

    def _names(self, named: list[Named]) -> Iterator[str]:
        """Each name beside the end of its line, with a sample of it, and the way there."""
        frame = self._frame
        for each, y in zip(named, frame.beside(named), strict=True):
            start = frame.right + 12
            yield (
                f'<path class="s{each.number % 6}" fill="none" stroke="{colour(each.number, self._theme)}"'
                f' stroke-width="0.7" d="M{place(each.x)} {place(each.y)}L{place(start)} {place(y)}"/>'
            )
            yield from self._sample(each.number, start, y)
            shown = _letter(each.number) if frame.keyed else each.name
            yield self._words(shown, frame.right + SAMPLE, y + 4)

    def _sample(self, number: int, x: float, y: float) -> Iterator[str]:
        hue = colour(number, self._theme)
        if isinstance(self._chart, BarChart):
            at = f'x="{place(x + 4)}" y="{place(y - 5)}" width="12" height="10"'
            yield f'<rect class="f{number % 6}" fill="{hue}" {at}/>'
            return
        yield (
            f'<path class="s{number % 6}" fill="none" stroke="{hue}" stroke-width="2"{_dashed(number)}'
            f' d="M{place(x)} {place(y)}h18"/>'
        )
        yield f'<path class="f{number % 6}" fill="{hue}" d="{mark(number, place(x + 9), place(y))}"/>'

    def _foot(self) -> Iterator[str]:
        y = self._frame.below + LINE + 12.0
        keys = [(_letter(number), number, lines) for number, lines in self._frame.key]
        keys += [(_letter(number).upper(), -1, lines) for number, lines in enumerate(self._frame.level_key)]
        keys += [(str(number), -1, lines) for number, lines in enumerate(self._frame.bar_key, 1)]
        for letter, number, lines in keys:
            yield self._words(letter, PAD, y + LINE - 4)
            if number >= 0:
                yield from self._sample(number, PAD + 12, y + LINE - 8)
            for line in lines:
                y += LINE
                yield self._words(line, PAD + SAMPLE + 6, y - 4)
        y += 6 if keys else 0
        for line in self._frame.notes:
            y += LINE
            yield self._words(line, PAD, y, size=SMALL, kind="faint")

    def _words(
        self, text: str, x: float, y: float, *, kind: str = "ink", size: int = 0, anchor: str = "", more: str = ""
    ) -> str:
        hue = self._theme.ink if kind == "ink" else self._theme.faint
        at = f' text-anchor="{anchor}"' if anchor else ""
        letters = f' font-size="{size}"' if size else ""
        return f'<text class="{kind}" fill="{hue}" x="{place(x)}" y="{place(y)}"{at}{letters}{more}>{xml(text)}</text>'

    def _straight(self, kind: str, hue: str, x1: float, y1: float, x2: float, y2: float) -> str:
        return (
            f'<line class="{kind}" stroke="{hue}" x1="{place(x1)}" y1="{place(y1)}" x2="{place(x2)}" y2="{place(y2)}"'
            ' stroke-width="1"/>'
        )


def _letter(number: int) -> str:
    return _LETTERS[number] if number < len(_LETTERS) else str(number + 1)


def _dashed(number: int) -> str:
    return f' stroke-dasharray="{dash(number)}"' if dash(number) else ""
