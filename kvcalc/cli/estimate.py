"""kvcalc estimate: the cache, the memory and the GPUs of one scenario."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kvcalc.api import estimate
from kvcalc.cli import scenario_options as shared
from kvcalc.cli.options import TextCommand, chosen_format, chosen_unit, flag
from kvcalc.cli.output import show
from kvcalc.cli.question import scenario_of, typed
from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError, NoError
from kvcalc.record import contents, keys
from kvcalc.render import Report
from kvcalc.verbs.decode_bound import DecodeBound, Spill
from kvcalc.verbs.estimate_result import Estimate, RankResult, SpillResult

if TYPE_CHECKING:
    from kvcalc.render.view import View


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("estimate", cls=TextCommand)(estimate_command)


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
def estimate_command(
    context_of_call: typer.Context,
    model: shared.ModelArgument = None,
    check: Annotated[
        bool,
        flag(
            "--check",
            "Exit 1 where the deployment asked for, else the smallest, does not fit; tight does not.",
            "Deployment",
        ),
    ] = False,
    accept_tight: Annotated[
        bool, flag("--accept-tight", "With --check, what is tight fits too.", "Deployment")
    ] = False,
    **given: Any,
) -> None:
    """The cache, the memory and the number of GPUs of a model, with the formula behind every figure."""
    chosen, unit = chosen_format(given["how"], json=given["json"]), chosen_unit(given["unit"])
    if accept_tight and not check:
        raise KvcalcError("--accept-tight: says what --check accepts; give --check too")
    result = estimate(scenario_of(model, given))
    if check and result.answer.fits is None:
        raise KvcalcError("--check: whether it fits needs the weights: give --weights SIZE or --parameters N")
    command = typed(context_of_call.obj, "--check", "--accept-tight")
    show(_report(result, unit, command, explain=given["explain"]), chosen, given["output_file"])
    if check and not (result.answer.fits or (accept_tight and result.answer.tight)):
        raise NoError(f"--check: {_why_not(result)}")


def _why_not(result: Estimate) -> str:
    """What does not fit, and what would."""
    asked, answer, gpus = result.scenario.deployment, result.answer, result.gpus
    if answer.tight:
        return f"{answer.deployment} is tight (--accept-tight accepts it)"
    found = gpus.deployment
    if found is None:
        return f"{asked} does not fit" if asked else "no legal deployment holds the workload"
    return (
        f"{asked or Deployment()} does not fit; {found.gpus:,} GPUs do ({found}{', tight' if gpus.count_tight else ''})"
    )


def _report(result: Estimate, unit: str, command: str, *, explain: bool) -> Report:
    """With --explain, CSV has the leaves of the cache, and the view the tree of terms."""

    def view() -> "View":
        from kvcalc.render.estimate import estimate_view  # noqa: PLC0415  # for start-up time

        return estimate_view(result, unit, explain=explain, command=command)

    rows = result.cache.terms if explain else (_csv_row(result),)
    return Report(result, rows, view, result.notes, unit=unit)


def _csv_row(result: Estimate) -> dict[str, Any]:
    """CSV's columns do not depend on the answer: a rank's figures are empty where no deployment holds the workload."""
    gpus = contents(result.gpus)
    del gpus["most_sequences"]
    gpus["per_rank"] = result.gpus.per_rank or _empty(RankResult)
    decode = contents(result.decode) if result.decode else _empty(DecodeBound)
    decode["spill"] = decode["spill"] or _empty(Spill)
    return contents(result) | {"gpus": gpus, "decode": decode, "spill": result.spill or _empty(SpillResult)}


def _empty(record: type[Any]) -> dict[str, Any]:
    return {name: None for name in keys(record) if name not in {"terms", "tree"}}
