"""kvcalc capacity: the most tokens, sequences and context that fit."""

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

import typer

from kvcalc.api import capacity, capacity_from_command, capacity_from_log
from kvcalc.cli.emit import Emit, emit
from kvcalc.cli.output import show
from kvcalc.cli.output_options import Output, ResultOutput, output_of
from kvcalc.cli.parameters import ModelArgument, given_on_line, may_be_several, takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.cli.typed import typed
from kvcalc.errors import KvcalcError, NoError
from kvcalc.render.screens.capacity import capacity_report
from kvcalc.scenario.option import Option
from kvcalc.scenario.options import CapacityOptions, ScenarioOptions
from kvcalc.verbs.capacity import nearest
from kvcalc.verbs.capacity_result import Capacity
from kvcalc.verbs.offload import on_gpu, way_out


class FromElsewhere(TypedDict, total=False):
    """Instead of a question."""

    from_log: Annotated[
        str | None,
        Option(
            "FILE", "A server's start-up log (- is stdin): printed figures beside predicted ones.", panel="Deployment"
        ),
    ]
    from_command: Annotated[
        str | None,
        Option("TEXT", "A server's command line, read and not run; it names the model itself.", panel="Deployment"),
    ]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("capacity", cls=TextCommand)(capacity_command)


@takes(CapacityOptions, FromElsewhere, Emit, ResultOutput, without=("spill",))
def capacity_command(call: typer.Context, model: ModelArgument = None, **given: Any) -> None:
    """How much fits: exact numbers of tokens, sequences and context; each fits, and one more does not."""
    output = output_of(given)
    if given["from_command"] is not None:
        _refuse_beside_a_command(model, given)
    elif given["emit"] is not None and given["from_log"] is None:
        emit("capacity", model, given, given_on_line(given, CapacityOptions))
        return
    if given["from_log"] is not None:
        _compare_with_log(model, given, output, f"{typed(call.obj)} --explain")
        return
    asked = given_on_line(given, CapacityOptions)
    command = given["from_command"]
    if command is None and may_be_several(asked):
        from kvcalc.cli.ladder import show_ladder, varied
        from kvcalc.render.screens.ladder import capacity_ladder_report

        if varied(capacity, asked):
            rows = show_ladder(capacity, capacity_ladder_report, model, asked, output, CapacityOptions)
            if all(_holds_nothing(row.result) for row in rows):
                raise NoError(f"capacity: nothing fits in any of {len(rows):,} rows")
            return
    result = capacity(model, **asked) if command is None else capacity_from_command(command, **asked)
    report = capacity_report(result, output.unit, explain=output.explain, command=f"{typed(call.obj)} --explain")
    show(report, output)
    if _holds_nothing(result):
        raise NoError(_why_nothing_fits(result))


def _refuse_beside_a_command(model: str | None, given: Mapping[str, Any]) -> None:
    if model is not None:
        raise KvcalcError(
            f"MODEL: --from-command names the model itself; leave '{model[:60]}' out, or put it in the line"
        )
    for name in ("from_log", "emit"):
        if given[name] is not None:
            raise KvcalcError(f"--{name.replace('_', '-')}: goes with MODEL, not with --from-command; leave one out")


def _holds_nothing(result: Capacity) -> bool:
    return result.sequences == 0 or result.max_context == 0


def _compare_with_log(model: str | None, given: Mapping[str, Any], output: Output, command: str) -> None:
    from kvcalc.render.screens.log_check import log_check_report

    if given["emit"] is not None:
        raise KvcalcError("--emit: launches what is computed, and --from-log compares a server that ran; leave one out")
    if given["cache_memory"] is not None:
        raise KvcalcError("--cache-memory: a log prints the memory that its cache has; leave it out, or --from-log")
    result = capacity_from_log(given["from_log"], model, **given_on_line(given, ScenarioOptions))
    show(log_check_report(result, output.unit, explain=output.explain, command=command), output)
    if result.differs:
        raise NoError(f"--from-log: {result.verdict}")


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
    held_by = f"; {enough.gpus:,} GPUs hold it ({enough})" if enough else ""
    partly = way_out(on_gpu(result.scenario, result.deployment), result.scenario)
    return f"{message}{held_by}" + (f"; {partly} leaves the rest to the host" if partly else "")
