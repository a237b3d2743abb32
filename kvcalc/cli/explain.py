"""kvcalc explain: what a mechanism, a format, an engine or a part of memory is, with its formula and source."""

from typing import Annotated

import typer

from kvcalc.cli.options import FormatOption, JsonOption, OutputOption, TextCommand, chosen_format
from kvcalc.cli.output import show
from kvcalc.render.listing import explanation_report, topics_report
from kvcalc.verbs.explain import explain, topics


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain", cls=TextCommand)(explain_command)


def explain_command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="mha, mla, q8_0, exact, temporary, gpus ...")
    ] = None,
    how: FormatOption = None,
    json: JsonOption = False,
    output_file: OutputOption = None,
) -> None:
    """What NAME keeps or counts, its formula and its source; without NAME, everything that can be explained."""
    report = topics_report(topics()) if name is None else explanation_report(explain(name))
    show(report, chosen_format(how, json=json), output_file)
