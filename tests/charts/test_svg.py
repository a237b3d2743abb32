"""Charts as SVG: well formed, exact in their attributes, the same each time, and with nothing of a name as markup."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from kvcalc.charts.chart import Axis, Bar, BarChart, Level, LineChart, Part, Point, Scale, Series
from kvcalc.charts.labels import apart
from kvcalc.charts.looks import DARK, LIGHT, Theme, dash
from kvcalc.charts.scales import range_of
from kvcalc.charts.svg import svg
from kvcalc.charts.words import exact, tick

GOLDEN = Path(__file__).parent / "golden"
SVG = "{http://www.w3.org/2000/svg}"
CONTEXT = Axis("context", "tokens", Scale.LOG2)
SIZE = Axis("cache of a sequence", "GiB", Scale.LOG2)
GIB = 2**30


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  # our own


def lines(number: int = 2, name: str = "model") -> LineChart:
    return LineChart(
        "KV cache against context",
        "exact",
        CONTEXT,
        SIZE,
        tuple(
            Series(f"{name}-{each}", tuple(Point(2**k, 327_680 * (each + 1) * 2**k) for k in range(10, 18)))
            for each in range(number)
        ),
        (Level("left on h100-sxm", 40 * GIB + 1),),
        ("a note",),
    )


BARS = BarChart(
    "Memory of each GPU",
    "exact",
    Axis("tensor-parallel ranks", "tp"),
    Axis("memory of a GPU", "GiB"),
    (
        Bar("1", (Part("weights", 130 * GIB), Part("cache", 20 * GIB + 7))),
        Bar("2", (Part("weights", 65 * GIB), Part("cache", 10 * GIB), Part("copies", 5 * GIB, "of the latent"))),
        Bar("3", (), "32 heads do not divide by 3"),
    ),
    (Level("usable", 73 * GIB),),
)


@pytest.mark.parametrize(("name", "chart"), [("lines", lines()), ("bars", BARS)])
def test_a_picture_is_the_same_as_ever(name: str, chart: LineChart | BarChart) -> None:
    path = GOLDEN / f"{name}.svg"
    if os.environ.get("UPDATE_GOLDENS"):
        path.write_text(svg(chart), encoding="utf-8")
    assert svg(chart) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [100, 360, 720, 1400])
@pytest.mark.parametrize("chart", [lines(1), lines(12), lines(3, "a-very-long-organisation/and-a-long-model"), BARS])
def test_everything_is_within_the_picture(chart: LineChart | BarChart, width: int) -> None:
    root = parsed(svg(chart, width))
    wide, high = int(root.attrib["width"]), int(root.attrib["height"])
    assert root.attrib["viewBox"] == f"0 0 {wide} {high}"
    for each in root.iter(f"{SVG}text"):
        x, y, letters = float(each.attrib["x"]), float(each.attrib["y"]), len(each.text or "")
        anchor, size = each.attrib.get("text-anchor", "start"), float(each.attrib.get("font-size", 12))
        start = x - letters * size * 0.5 * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        assert start >= -1
        assert start + letters * size * 0.5 <= wide + 1, each.text
        assert 0 < y <= high


def test_each_value_is_told_exactly() -> None:
    root = parsed(svg(lines()))
    found = [each.attrib for each in root.iter(f"{SVG}path") if each.attrib["class"].startswith("point")]
    assert len(found) == 16
    assert found[3]["data-series"] == "model-0"
    assert (found[3]["data-x"], found[3]["data-y"]) == ("8192", str(327_680 * 8192))
    assert (found[3]["data-x-text"], found[3]["data-y-text"]) == ("8,192 tokens", "2.50 GiB")
    parts = [each for each in parsed(svg(BARS)).iter(f"{SVG}rect") if "part" in each.attrib["class"]]
    assert [int(each.attrib["data-y"]) for each in parts[:2]] == [130 * GIB, 20 * GIB + 7]
    assert parts[4].attrib["data-note"] == "of the latent"
    assert parts[4][0].text == "copies, tp 2: 5.00 GiB (of the latent)"


def test_a_name_is_never_markup() -> None:
    nasty = '</text><script>alert(1)</script>" onload="x" & \x00 \u202e'
    chart = LineChart(nasty, nasty, CONTEXT, SIZE, (Series(nasty, (Point(1, 1),)),), (Level(nasty, 2),), (nasty,))
    root = parsed(svg(chart))
    assert not list(root.iter(f"{SVG}script"))
    assert all("onload" not in each.attrib for each in root.iter())
    assert "\u202e" not in svg(chart)


def test_a_gap_breaks_the_line_and_zero_has_no_place_on_a_logarithm() -> None:
    values = (1, 2, None, 4, 8, 0, 16)
    points = tuple(Point(2**place, value) for place, value in enumerate(values))
    found = svg(LineChart("t", "", CONTEXT, Axis("n", "GPUs", Scale.LOG10), (Series("a", points),)))
    path = re.search(r'class="line[^>]* d="([^"]*)"', found)
    assert path is not None
    assert path[1].count("M") == 3
    assert found.count('class="point') == 5


def test_steps_hold_their_value_until_the_next() -> None:
    axis = Axis("users", "users")
    chart = LineChart("t", "", axis, Axis("GPUs", "GPUs"), (Series("a", (Point(0, 1), Point(10, 2)), steps=True),))
    path = re.search(r'class="line[^>]* d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', svg(chart))
    assert path is not None
    assert (path[2], path[3]) == (path[4], path[5])


@pytest.mark.parametrize("chart", [LineChart("t", "", CONTEXT, SIZE, ()), BarChart("t", "", CONTEXT, SIZE, ())])
def test_nothing_to_show_is_a_picture_too(chart: LineChart | BarChart) -> None:
    parsed(svg(chart))


def test_dark_is_for_screens_alone_and_may_be_chosen() -> None:
    assert "@media screen and (prefers-color-scheme:dark)" in svg(BARS)
    assert "<style>" not in svg(BARS, styled=False)
    assert DARK.paper in svg(BARS, theme=DARK, styled=False)


@pytest.mark.parametrize("shown", [LIGHT, DARK])
def test_colours_stand_out_from_the_paper(shown: Theme) -> None:
    assert all(_contrast(each, shown.paper) >= 3 for each in shown.lines)
    assert all(_contrast(each, shown.paper) >= 4.5 for each in (shown.ink, shown.faint))


def test_twelve_lines_differ_without_their_colours_or_by_them() -> None:
    assert len({(each % 6, dash(each)) for each in range(12)}) == 12


def _contrast(one: str, other: str) -> float:
    """As WCAG 2.2 defines it."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("axis", "value", "said", "at_tick"),
    [
        (SIZE, 2_684_354_560, "2.50 GiB", "2.5"),
        (SIZE, 512, "<0.01 GiB", "512 B"),
        (SIZE, 64 * 2**20, "0.06 GiB", "64 MiB"),
        (Axis("", "B"), 1_500, "1,500 bytes", "1,500"),
        (Axis("", "GB"), 10**12, "1,000.00 GB", "1,000"),
        (CONTEXT, 131_072, "131,072 tokens", "128Ki"),
        (CONTEXT, 100_000, "100,000 tokens", "100,000"),
        (Axis("", "GPUs"), 1, "1 GPU", "1"),
        (Axis("", "USD"), Fraction(25, 2), "USD 12.50", "12.50"),
        (Axis("", "USD"), 1_200, "USD 1,200", "1,200"),
    ],
)
def test_values_in_words(axis: Axis, value: int | Fraction, said: str, at_tick: str) -> None:
    assert exact(value, axis) == said
    assert tick(value, axis) == at_tick


@pytest.mark.parametrize(
    ("axis", "values", "ends", "ticks"),
    [
        (Axis("", "GPUs"), [3, 7], (0, 8), (0, 2, 4, 6, 8)),
        (Axis("", "GPUs"), [1], (0, 1), (0, 1)),
        (Axis("", "GiB"), [70 * GIB], (0, 80 * GIB), tuple(each * GIB for each in (0, 20, 40, 60, 80))),
        (Axis("", "sequences", Scale.LOG10), [3, 900], (2, 1000), (10, 100, 1000)),
        (SIZE, [GIB // 3, 5 * GIB], (GIB // 4, 8 * GIB), tuple(GIB * 2**each // 4 for each in range(6))),
    ],
)
def test_axes_end_at_round_values(axis: Axis, values: list[int], ends: tuple[int, int], ticks: tuple[int, ...]) -> None:
    found = range_of(axis, values, whole=True)
    assert (found.low, found.high) == ends
    assert found.ticks(6) == ticks


def test_names_keep_their_order_and_their_distance() -> None:
    assert apart([10, 11, 12, 100], 15, 0, 200) == [0, 15, 30, 100]
    assert apart([90, 95, 99], 10, 0, 100) == [80, 90, 100]
    squeezed = apart([5.0] * 30, 14, 0, 100)
    assert min(squeezed) == 0
    assert max(squeezed) == pytest.approx(100)
