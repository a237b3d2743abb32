"""kvcalc capacity: the most tokens, sequences and context that fit."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from kvcalc.api import capacity
from kvcalc.cli import scenario_options as shared
from kvcalc.cli.options import TextCommand, chosen_format, chosen_unit, option
from kvcalc.cli.output import show
from kvcalc.cli.question import scenario_of, typed
from kvcalc.errors import NoError
from kvcalc.render.capacity import capacity_report
from kvcalc.scenario.cache_memory import beside_cache_memory
from kvcalc.verbs.capacity import Capacity, nearest


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("capacity", cls=TextCommand)(capacity_command)


@shared.takes(
    (
        *shared.WORKLOAD,
        *shared.FORMATS,
        *shared.MEMORY,
        *shared.ENGINE,
        *shared.GPU,
        *shared.DEPLOYMENT,
        *shared.AD_HOC,
        *shared.OUTPUT,
        "explain",
    )
)
def capacity_command(
    context_of_call: typer.Context,
    model: shared.ModelArgument = None,
    cache_memory: Annotated[
        str | None,
        option(
            "--cache-memory",
            metavar="SIZE",
            text="What one rank has for the cache; then accelerator, weights and the rest play no part.",
            panel="Memory",
        ),
    ] = None,
    **given: Any,
) -> None:
    """How much fits: exact numbers of tokens, sequences and context; each fits, and one more does not."""
    chosen, unit = chosen_format(given["how"], json=given["json"]), chosen_unit(given["unit"])
    asked = scenario_of(model, given)
    if cache_memory is not None:
        typed_in = (name for name in given if _is_typed(context_of_call, name))
        asked = replace(asked, notes=(*asked.notes, *beside_cache_memory(typed_in)))
    result = capacity(asked, cache_memory=cache_memory)
    command = typed(context_of_call.obj)
    show(capacity_report(result, unit, explain=given["explain"], command=command), chosen, given["output_file"])
    if result.sequences == 0 or result.max_context == 0:
        raise NoError(_why_nothing_fits(result))


def _is_typed(context_of_call: typer.Context, name: str) -> bool:
    source = context_of_call.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _why_nothing_fits(result: Capacity) -> str:
    held = "one sequence" if result.sequences == 0 else "the batch, even of one token each,"
    lacks = result.one_more_lacks_bytes or 0
    message = f"capacity: {held} does not fit"
    if result.sequences == 0:
        message += f": a rank lacks {lacks:,} bytes"
    if result.gpus is None:
        enough_for_one = result.cache_memory_bytes + lacks
        return (
            f"{message}; --cache-memory {enough_for_one} holds it"
            if result.sequences == 0
            else f"{message} in --cache-memory"
        )
    enough = nearest(result)
    return message + (f"; {enough.gpus:,} GPUs hold it ({enough})" if enough else "")
