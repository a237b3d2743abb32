"""kvcalc explain: what a word means, with its formula and source."""

from typing import Annotated, Any

import typer

from kvcalc.cli.output import show
from kvcalc.cli.output_options import Destination, Printed, output_of
from kvcalc.cli.parameters import argument, takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.render.screens.explain import explanation_report, topics_report
from kvcalc.scenario.option import Option
from kvcalc.verbs.explain import explain, topics

NAME = Option(
    "NAME",
    "tp, tight, kv-cache, mla, q8_0, vllm, articles ...",
    values=lambda: (each.name for each in topics().topics),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain", cls=TextCommand)(explain_command)


@takes(Printed, Destination)
def explain_command(name: Annotated[str | None, argument(NAME)] = None, **given: Any) -> None:
    """What NAME means, its formula and its source; without NAME, a table of contents."""
    report = topics_report(topics()) if name is None else explanation_report(explain(name))
    show(report, output_of(given))
