"""kvcalc demand: what the requests of a trace hold over time, and the GPUs for it."""

from typing import Any

import typer

from kvcalc.api import demand
from kvcalc.cli.output import show
from kvcalc.cli.output_options import ResultOutput, output_of
from kvcalc.cli.parameters import ModelArgument, given_on_line, takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.render.screens.demand import demand_report
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import DemandOptions, ScenarioOptions
from kvcalc.scenario.spelled import typed_anew

SAME_IN_ESTIMATE = {
    name: option
    for name, option in options_of(ScenarioOptions).items()
    if options_of(DemandOptions).get(name) == option
}
"""Options that mean the same to `kvcalc estimate`, beside the workload."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demand", cls=TextCommand)(demand_command)


@takes(DemandOptions, ResultOutput, without=("gpus",))
def demand_command(model: ModelArgument = None, **given: Any) -> None:
    """What the requests of a trace hold over time: mean, percentiles and the most, and the GPUs for each."""
    output = output_of(given)
    asked = given_on_line(given, DemandOptions)
    result = demand(model, **asked)
    command = typed_anew("estimate", model, asked, SAME_IN_ESTIMATE)
    show(demand_report(result, output.unit, explain=output.explain, command=command), output)
