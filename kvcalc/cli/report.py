"""kvcalc report: one question, answered for a design review as a page of HTML or as Markdown."""

import sys
from typing import Annotated, Any

import typer

from kvcalc.cli.output import deliver
from kvcalc.cli.output_options import Destination, Unit, format_of_file, output_of
from kvcalc.cli.parameters import ModelsArgument, given_on_line, takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.render import Format
from kvcalc.review.make import report
from kvcalc.scenario.option import Option
from kvcalc.scenario.options import ReportOptions

FORMATS = {"html": (".html", ".htm"), "markdown": (".md", ".markdown")}
"""Each with the endings of its files."""


class ReportOutput(Destination, Unit, total=False):
    """How a report is written."""

    how: Annotated[
        str | None,
        Option(
            "|".join(FORMATS),
            "How to write it (as FILE ends; on a terminal markdown, else html).",
            flags=("--format",),
            values=lambda: FORMATS,
        ),
    ]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report", cls=TextCommand)(report_command)


@takes(ReportOptions, ReportOutput)
def report_command(models: ModelsArgument = None, **given: Any) -> None:
    """One page for a design review: the answer, every table, every formula with its source, what is not modelled.

    It needs no network and prints on A4; the same question gives the same bytes.
    """
    on_terminal = given["output_file"] is None and sys.stdout.isatty()
    how = format_of_file(given["how"], given["output_file"], FORMATS, "markdown" if on_terminal else "html")
    output = output_of({**given, "how": Format.TABLE})  # of a page there are but unit and file to read
    review = report(models or None, **given_on_line(given, ReportOptions))
    deliver(review.html(output.unit) if how == "html" else review.markdown(output.unit), output.file)
