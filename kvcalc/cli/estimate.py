"""kvcalc estimate: the cache, the memory and the GPUs of one scenario."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, TypedDict

import typer

from kvcalc.cli.emit import Emit, emit
from kvcalc.cli.output import show
from kvcalc.cli.output_options import ResultOutput, Unit, output_of
from kvcalc.cli.parameters import ModelArgument, given_on_line, may_be_several, takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError, NoError
from kvcalc.render.screens.estimate import estimate_report
from kvcalc.scenario.make import scenario_of
from kvcalc.scenario.option import Option, options_of
from kvcalc.scenario.options import ScenarioOptions
from kvcalc.verbs.estimate import estimate
from kvcalc.verbs.estimate_result import Estimate


class Check(TypedDict, total=False):
    """What a script asks."""

    check: Annotated[
        bool,
        Option(
            "",
            "Exit 1 unless the deployment asked for, or else the smallest, fits; tight does not.",
            panel="Output",
            default=False,
        ),
    ]
    accept_tight: Annotated[
        bool, Option("", "With --check, accept a tight deployment too.", panel="Output", default=False)
    ]


class Beside(TypedDict, total=False):
    """What stands beside the bound."""

    measured: Annotated[
        str | None,
        Option(
            "FILE",
            "Tell what a machine took, from what kvcalc bench --json wrote, beside the bound.",
            panel="Output",
        ),
    ]


_LOOKED_FOR = {"tp", "pp", "dp", "ep", "dcp", "dp_attention", "spill"}


def same_in_plan() -> dict[str, Option]:
    """Options that mean the same to `kvcalc plan`, beside the deployment that it looks for."""
    from kvcalc.scenario.options import PlanOptions

    own, plans = options_of(ScenarioOptions), options_of(PlanOptions)
    found = {name: option for name, option in own.items() if name in plans and name not in _LOOKED_FOR}
    return found | {**options_of(Unit)}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("estimate", cls=TextCommand)(estimate_command)


@takes(ScenarioOptions, Check, Beside, Emit, ResultOutput)
def estimate_command(call: typer.Context, model: ModelArgument = None, **given: Any) -> None:
    """The cache, the memory and the number of GPUs of a model, with the formula behind every figure."""
    output, check, accept_tight = output_of(given), given["check"], given["accept_tight"]
    if accept_tight and not check:
        raise KvcalcError("--accept-tight: says what --check accepts; give --check too")
    asked = given_on_line(given, ScenarioOptions)
    if given["emit"] is not None:
        _refuse_measured(given)
        emit("estimate", model, given, asked)
        return
    if may_be_several(asked):
        from kvcalc import estimate as estimate_each
        from kvcalc.cli.ladder import refuse_unless, show_ladder, varied
        from kvcalc.render.screens.ladder import estimate_ladder_report

        if varied(estimate_each, asked):
            _refuse_measured(given)
            rows = show_ladder(estimate_each, estimate_ladder_report, model, asked, output, ScenarioOptions)
            if check:
                refuse_unless(rows, lambda each: _holds(each, accept_tight=accept_tight))
            return
    result = estimate(scenario_of(model, asked))
    if given["measured"] is not None:
        result = _with_measured(result, model, given["measured"])
    holds = not check or _holds(result, accept_tight=accept_tight)
    command = _next(result, call.obj, model, given) if output.is_read else ""
    show(estimate_report(result, output.unit, explain=output.explain, command=command), output)
    if not holds:
        raise NoError(f"--check: {_why_not(result)}")


def _with_measured(result: Estimate, model: str | None, file: str) -> Estimate:
    from kvcalc.verbs.measured import measured_speed

    return replace(result, measured=measured_speed(file, model, result))


def _refuse_measured(given: Mapping[str, Any]) -> None:
    if given["measured"] is not None:
        raise KvcalcError("--measured: stands beside one estimate; give one value of each option, and no --emit")


def _holds(result: Estimate, *, accept_tight: bool) -> bool:
    """What --check asks.

    Raises:
        KvcalcError: nobody knows.
    """
    answer = result.answer
    if answer.fits is None:
        raise KvcalcError("--check: whether it fits needs the weights: give --weights SIZE or --parameters N")
    return bool(answer.fits or (accept_tight and answer.tight))


def _next(result: Estimate, words: list[str], model: str | None, given: Mapping[str, Any]) -> str:
    """Where the deployment asked for holds the workload, or there is nothing to look for, the formulas; else a plan."""
    from kvcalc.cli.typed import typed  # only for people
    from kvcalc.scenario.spelled import typed_anew

    asked = result.question.deployment
    if result.answer.fits is None or (asked is not None and result.answer.fits):
        return f"{typed(words, '--check', '--accept-tight')} --explain"
    return typed_anew("plan", model, given_on_line(given, ScenarioOptions, Unit), same_in_plan())


def _why_not(result: Estimate) -> str:
    """What does not fit, and what would."""
    asked, answer, gpus = result.question.deployment, result.answer, result.gpus
    if answer.tight:
        return f"{answer.deployment} is tight (--accept-tight accepts it)"
    found = gpus.deployment
    if found is None:
        return f"{asked} does not fit" if asked else "no legal deployment holds the workload"
    return (
        f"{asked or Deployment()} does not fit; {found.gpus:,} GPUs do ({found}{', tight' if gpus.count_tight else ''})"
    )
