"""A chart as a page of HTML that needs no other file: the picture, and every value of it as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.charts.chart import BarChart
from kvcalc.charts.elements import xml
from kvcalc.charts.looks import DARK, LIGHT
from kvcalc.charts.svg import svg
from kvcalc.charts.words import exact, raw, titled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.charts.chart import Chart
    from kvcalc.charts.looks import Theme

_STYLE = """body{{margin:2em auto;max-width:{width}px;padding:0 1em;font:14px system-ui,sans-serif;{colours}}}
.kvcalc-chart{{max-width:100%;height:auto}}
table{{border-collapse:collapse;margin:1em 0}}
th,td{{padding:.2em .8em;text-align:right;border-bottom:1px solid #8884}}
th:first-child,td:first-child{{text-align:left}}"""


def page(chart: Chart, width: int = 720, *, dark: bool = False) -> str:
    """The whole page.

    Args:
        chart: what to show.
        width: of the picture, in pixels.
        dark: whether it is dark by itself; else it is as its reader's screen is.
    """
    theme = DARK if dark else LIGHT
    rules = _STYLE.format(width=width, colours=_colours(theme))
    if not dark:
        rules += f"\n@media screen and (prefers-color-scheme:dark){{body{{{_colours(DARK)}}}}}"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{xml(chart.title)}</title>",
            f"<style>{rules}</style></head><body>",
            f"{svg(chart, width, theme=theme, styled=not dark)}<table>",
            *_rows(chart),
            "</table></body></html>\n",
        ]
    )


def _colours(theme: Theme) -> str:
    return f"background:{theme.paper};color:{theme.ink}"


def _rows(chart: Chart) -> Iterator[str]:
    yield _row("th", "", titled(chart.x), chart.y.title, "exactly")
    if isinstance(chart, BarChart):
        for bar in chart.bars:
            for part in bar.parts:
                yield _row("td", part.name, bar.name, exact(part.value, chart.y), raw(part.value))
            if not bar.parts:
                yield _row("td", "", bar.name, bar.note, "")
    else:
        for each in chart.series:
            for point in each.points:
                value = point.note if point.y is None else exact(point.y, chart.y)
                yield _row("td", each.name, f"{point.x:,}", value, "" if point.y is None else raw(point.y))
    for level in chart.levels:
        yield _row("td", level.name, "", exact(level.value, chart.y), raw(level.value))


def _row(cell: str, *texts: str) -> str:
    return f"<tr>{''.join(f'<{cell}>{xml(text)}</{cell}>' for text in texts)}</tr>"
