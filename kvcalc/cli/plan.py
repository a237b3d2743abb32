"""kvcalc plan: the smallest legal deployments that hold a workload."""

from typing import Any

import typer

from kvcalc.api import plan
from kvcalc.cli.emit import Emit, emit
from kvcalc.cli.output import show
from kvcalc.cli.output_options import ResultOutput, Unit, output_of
from kvcalc.cli.parameters import ModelArgument, given_on_line, takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.errors import NoError
from kvcalc.render.screens.plan import plan_report
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import PlanOptions, ScenarioOptions
from kvcalc.scenario.spelled import typed_anew

_SAID_BY_A_ROW = {"context", "input_tokens", "output_tokens", "allow_pp"}

SAME_IN_ESTIMATE = {
    name: option
    for name, option in options_of(ScenarioOptions).items()
    if options_of(PlanOptions).get(name) == option and name not in _SAID_BY_A_ROW
} | {**options_of(Unit)}
"""Options that mean the same to `kvcalc estimate`, beside the deployment and the workload of a row."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan", cls=TextCommand)(plan_command)


@takes(PlanOptions, Emit, ResultOutput)
def plan_command(model: ModelArgument = None, **given: Any) -> None:
    """The smallest legal deployments that hold a workload, ranked, and why each smaller one does not."""
    output = output_of(given)
    if given["emit"] is not None:
        emit("plan", model, given, given_on_line(given, PlanOptions))
        return
    result = plan(model, **given_on_line(given, PlanOptions))
    command = typed_anew("estimate", model, given_on_line(given, PlanOptions, Unit), SAME_IN_ESTIMATE)
    show(plan_report(result, output.unit, explain=output.explain, command=command), output)
    if result.nearest is not None:
        raise NoError(f"plan: {result.nearest}")
