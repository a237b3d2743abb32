"""kvcalc explain: what a mechanism, a format, an engine or a part of memory is, with its formula and source."""

from typing import Annotated, Any

import typer

from kvcalc.cli.output import show
from kvcalc.cli.output_options import Destination, Printed, output_of
from kvcalc.cli.parameters import argument, takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.render.listing import explanation_report, topics_report
from kvcalc.scenario.option import Option
from kvcalc.verbs.explain import explain, topics

NAME = Option(
    "NAME",
    "mha, mla, q8_0, exact, temporary, gpus ...",
    values=lambda: (each.name for each in topics().topics),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain", cls=TextCommand)(explain_command)


@takes(Printed, Destination)
def explain_command(name: Annotated[str | None, argument(NAME)] = None, **given: Any) -> None:
    """What NAME keeps or counts, its formula and its source; without NAME, everything that can be explained."""
    report = topics_report(topics()) if name is None else explanation_report(explain(name))
    show(report, output_of(given))
