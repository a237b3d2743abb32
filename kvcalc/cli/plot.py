"""kvcalc plot: pictures."""

import sys
from typing import Annotated, Any

import typer

from kvcalc.cli.output import deliver
from kvcalc.cli.output_options import Destination, Unit, format_of_file
from kvcalc.cli.parameters import ModelsArgument, argument, given_on_line, takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.errors import KvcalcError
from kvcalc.scenario.option import Option, read_options
from kvcalc.scenario.options import PlotOptions
from kvcalc.scenario.reading import count

FORMATS = {"svg": (".svg",), "png": (".png",), "html": (".html", ".htm"), "text": (".txt",)}
"""Each with the endings of its files."""

KINDS = ("cache", "sequences", "gpus", "memory")

_LEAST, _MOST = 30, 4000
_COLUMNS = 80

KindArgument = Annotated[
    str,
    argument(
        Option(
            "KIND",
            "What to show: cache or sequences (against context), gpus (against batch), memory (by tp).",
            values=lambda: KINDS,
        )
    ),
]


class PictureOutput(Destination, Unit, total=False):
    """How a picture is written."""

    how: Annotated[
        str | None,
        Option(
            "|".join(FORMATS),
            "How to draw (as FILE ends; on a terminal text, else svg); png needs -o and resvg-py.",
            flags=("--format",),
            values=lambda: FORMATS,
        ),
    ]
    width: Annotated[
        str | None,
        Option("N", "Pixels of the picture (720), or columns of text (the terminal's, else 80).", read=count(_MOST)),
    ]
    dark: Annotated[bool, Option("", "Draw in dark colours, whatever the reader's screen is.", default=False)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plot", cls=TextCommand)(plot_command)


@takes(PlotOptions, PictureOutput, without=("model",))
def plot_command(kind: KindArgument, models: ModelsArgument = None, **given: Any) -> None:
    """A picture: cache or sequences against context, GPUs or USD against sequences, or a GPU's memory by tp.

    Axes take comma lists and ranges as in sweep: a line, or a bar, for each of their values.
    """
    file = None if given["output_file"] in (None, "-") else str(given["output_file"])
    how = _format(given["how"], file)
    width = read_options(PictureOutput, {"width": given["width"]})["width"]
    if width is not None and width < _LEAST:
        raise KvcalcError(f"--width: must be at least {_LEAST}, not {width}")
    if how == "png":
        from kvcalc.charts.png import refuse_missing

        refuse_missing()
    from kvcalc.api import plot

    picture = plot(kind, models or None, unit=given["unit"] or "GiB", **given_on_line(given, PlotOptions))
    if how == "text":
        deliver(_text(picture, file, width), file)
    elif how == "png":
        from kvcalc.cli.destination import streamed

        with streamed(str(file)) as stream:
            stream.write(picture.to_png(width or 720, dark=given["dark"]))
    else:
        write = picture.to_html if how == "html" else picture.to_svg
        deliver(write(width or 720, dark=given["dark"]), file)


def _format(asked: str | None, file: str | None) -> str:
    how = format_of_file(asked, file, FORMATS, "text" if file is None and sys.stdout.isatty() else "svg")
    if how == "png" and file is None:
        raise KvcalcError("--format: png is no text for stdout; give -o FILE.png")
    return how


def _text(picture: Any, file: str | None, width: int | None) -> str:
    from kvcalc.cli.colour import width_of
    from kvcalc.render.terminal.colour import has_colours

    if file is not None:
        return str(picture.to_text(width or _COLUMNS))
    columns = width or width_of(sys.stdout, _COLUMNS) or _COLUMNS
    plain = not _holds_marks(sys.stdout.encoding)
    return str(picture.to_text(columns, colours=has_colours(terminal=sys.stdout.isatty()), plain=plain))


def _holds_marks(encoding: str | None) -> bool:
    try:
        "●█┄│".encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
