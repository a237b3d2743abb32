"""kvcalc compare: one model under each attention mechanism, several models, or several formats side by side."""

from typing import Annotated, Any

import typer

from kvcalc.api import compare
from kvcalc.cli import scenario_options as shared
from kvcalc.cli.options import TextCommand, chosen_format, chosen_unit
from kvcalc.cli.output import show
from kvcalc.cli.question import context_of, scenario_of, typed
from kvcalc.render.compare import compare_report
from kvcalc.scenario.format_list import split_formats
from kvcalc.scenario.make import asked_alike

ModelsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="MODEL...", help=f"{shared.MODEL_HELP} Several stand side by side.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare", cls=TextCommand)(compare_command)


@shared.takes(
    (
        *shared.WORKLOAD,
        *shared.FORMATS,
        *shared.MEMORY,
        *shared.ENGINE,
        *shared.GPU,
        *shared.DEPLOYMENT,
        "spill",
        *shared.AD_HOC,
        *shared.OUTPUT,
        "explain",
    )
)
def compare_command(context_of_call: typer.Context, models: ModelsArgument = None, **given: Any) -> None:
    """What a model would keep as MHA, GQA, MQA or MLA, on how many GPUs; or several models or formats side by side.

    Formats: --cache-dtype bf16,fp8,q8_0.
    """
    chosen, unit = chosen_format(given["how"], json=given["json"]), chosen_unit(given["unit"])
    named: list[str | None] = [*models] if models else [None]
    asked = asked_alike(
        lambda model, **replaced: scenario_of(model, given, **replaced),
        named,
        {**given, "context": context_of(given)},
        [] if given["cache_dtype"] is None else split_formats(given["cache_dtype"]),
    )
    result = compare(asked)
    command = typed(context_of_call.obj)
    show(compare_report(result, unit, explain=given["explain"], command=command), chosen, given["output_file"])
