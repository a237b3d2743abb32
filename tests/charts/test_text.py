"""Charts as text: no line is longer than asked for, and lines are told apart without colours."""

from __future__ import annotations

import re

import pytest
from test_svg import BARS, lines

from kvcalc.charts.chart import Axis, BarChart, LineChart, Point, Scale, Series
from kvcalc.charts.text import text
from kvcalc.charts.words import cells

_COLOUR = re.compile(r"\x1b\[\d+m")


@pytest.mark.parametrize("width", [30, 60, 80, 200])
@pytest.mark.parametrize("chart", [lines(1), lines(12), lines(3, "a-very-long-organisation/and-a-long-model"), BARS])
def test_no_line_is_longer_than_the_terminal(chart: LineChart | BarChart, width: int) -> None:
    for colours in (False, True):
        for line in text(chart, width, colours=colours).splitlines():
            assert cells(_COLOUR.sub("", line)) <= width, line


def test_names_and_values_are_there() -> None:
    shown = text(lines(12))
    assert all(f"model-{each}" in shown for each in range(12))
    assert "left on h100-sxm: 40.00 GiB" in shown
    assert "weights" in text(BARS)
    assert "usable: 73.00 GiB" in text(BARS)
    assert "3 │ none" in text(BARS)


def test_colours_are_asked_for_and_letters_of_ascii_too() -> None:
    assert "\x1b" not in text(lines(3))
    assert "\x1b[34m" in text(lines(3), colours=True)
    assert text(lines(3), plain=True).isascii()
    assert text(BARS, plain=True).isascii()


def test_a_line_of_steps_is_flat_between_them() -> None:
    points = (Point(1, 1), Point(50, 4), Point(100, 8))
    chart = LineChart("t", "", Axis("users", "users"), Axis("GPUs", "GPUs"), (Series("a", points, steps=True),))
    rows = [line for line in text(chart, 80).splitlines() if "●" in line]
    assert len(rows) == 3


def test_nothing_to_show() -> None:
    axis = Axis("context", "tokens", Scale.LOG2)
    assert text(LineChart("t", "", axis, axis, ())).startswith("t\n")
    assert text(BarChart("t", "", axis, axis, ())).startswith("t\n")


def test_a_name_is_nothing_that_a_terminal_obeys() -> None:
    axis = Axis("x\x1b[2J", "\x07")
    chart = LineChart("t\x1b]0;x\x07", "\r", axis, axis, (Series("a\x1b[31m\n", (Point(1, 1),)),), (), ("\x9b",))
    assert not set(text(chart)) & set("\x1b\x07\r\x9b")
