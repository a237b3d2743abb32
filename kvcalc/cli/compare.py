"""kvcalc compare: one model under each attention mechanism, several models, or several formats side by side."""

from typing import Annotated, Any, TypedDict

import typer

from kvcalc.api import compare
from kvcalc.cli.output import show
from kvcalc.cli.output_options import ResultOutput, output_of
from kvcalc.cli.parameters import ModelsArgument, given_on_line, may_be_several, takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.cli.typed import typed
from kvcalc.render.screens.compare import compare_report
from kvcalc.scenario.option import Option
from kvcalc.scenario.options import CompareOptions


class Articles(TypedDict, total=False):
    """What is shown beside the figures."""

    articles: Annotated[
        bool, Option("", "Show what articles say of the mechanisms, and where that is wrong.", default=False)
    ]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare", cls=TextCommand)(compare_command)


@takes(CompareOptions, Articles, ResultOutput)
def compare_command(call: typer.Context, models: ModelsArgument = None, **given: Any) -> None:
    """What a model would keep as MHA, GQA, MQA or MLA, on how many GPUs; or several models or formats side by side.

    Formats: --cache-dtype bf16,fp8,q8_0.
    """
    output = output_of(given)
    if may_be_several(asked := given_on_line(given, CompareOptions)):
        from kvcalc.cli.ladder import show_ladder, varied
        from kvcalc.render.screens.ladder import compare_ladder_report

        if varied(compare, asked):
            show_ladder(compare, compare_ladder_report, models or None, asked, output, CompareOptions)
            return
    result = compare(models or None, **asked)
    command = f"{typed(call.obj)} --explain"
    shown = {"explain": output.explain, "articles": given["articles"]}
    show(compare_report(result, output.unit, command=command, **shown), output)
