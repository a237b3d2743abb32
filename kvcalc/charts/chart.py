"""Charts as data: values stay exact, and what writes a chart puts them into words and places.

LineChart("KV cache against context", "vllm 0.33.0", x=Axis("context", "tokens", Scale.LOG2),
y=Axis("cache of a sequence", "GiB", Scale.LOG2),
series=(Series("llama-3-70b", (Point(1024, 335544320), Point(2048, 671088640))),))
"""

from __future__ import annotations

from enum import Enum
from fractions import Fraction

from kvcalc.errors import one_line
from kvcalc.noun import Noun, noun

Number = int | Fraction


class _Worded(Noun):
    """What has words, which may be a stranger's: no letter of them is one that a terminal or a page would obey."""

    def __post_init__(self) -> None:
        for name, value in self.__dict__.items():
            if isinstance(value, str):
                self.__dict__[name] = one_line(value)
            elif isinstance(value, tuple):
                self.__dict__[name] = tuple(one_line(each) if isinstance(each, str) else each for each in value)


class Scale(Enum):
    """How values lie along an axis."""

    LINEAR = "linear"
    LOG2 = "log2"
    LOG10 = "log10"


@noun
class Axis(_Worded):
    """What an axis shows.

    Attributes:
        title: what is measured: 'context', 'memory of the fullest GPU'.
        unit: what its values are: a unit of sizes ('GiB': the values are bytes), 'USD', or a noun of what is counted
            ('tokens', 'GPUs').
        scale: how values lie along it. Of a logarithmic axis what is not above 0 is a gap.
    """

    title: str
    unit: str
    scale: Scale = Scale.LINEAR


@noun
class Point(_Worded):
    """One value of a line.

    Attributes:
        x: where it is.
        y: the value; None is a gap.
        note: a sentence beside it: why there is no value, or of what it is.
    """

    x: Number
    y: Number | None
    note: str = ""


@noun
class Series(_Worded):
    """A line.

    Attributes:
        name: stands at the line.
        points: in the order of their x.
        steps: whether each value holds until the next point, so that the line is a staircase.
    """

    name: str
    points: tuple[Point, ...]
    steps: bool = False


@noun
class Level(_Worded):
    """A value to compare with: a straight line across the chart with its name."""

    name: str
    value: Number


@noun
class Part(_Worded):
    """A piece of a bar. Parts of one name have one colour in all bars."""

    name: str
    value: Number
    note: str = ""


@noun
class Bar(_Worded):
    """Parts on top of each other, from the bottom.

    Attributes:
        name: stands below it.
        parts: none where there is no value.
        note: a sentence beside it.
    """

    name: str
    parts: tuple[Part, ...]
    note: str = ""


@noun
class Framed(_Worded):
    """What every chart has: two lines above it, and two axes.

    Attributes:
        title: what is asked, in one line.
        subtitle: what it is computed with: engine, version, formats.
        x: the axis along the bottom.
        y: the axis of the values.
    """

    title: str
    subtitle: str
    x: Axis
    y: Axis

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.title}>"


@noun
class LineChart(Framed):
    """Lines over a common axis, in a frame.

    Attributes:
        series: the lines.
        levels: values to compare with.
        notes: sentences below the picture.
    """

    series: tuple[Series, ...]
    levels: tuple[Level, ...] = ()
    notes: tuple[str, ...] = ()


@noun
class BarChart(Framed):
    """Stacked bars side by side, in a frame: `x.unit` names what the bars are of, and `y` begins at 0.

    Attributes:
        bars: from left to right.
        levels: values to compare with.
        notes: sentences below the picture.
    """

    bars: tuple[Bar, ...]
    levels: tuple[Level, ...] = ()
    notes: tuple[str, ...] = ()


Chart = LineChart | BarChart
