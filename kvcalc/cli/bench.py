"""kvcalc bench: how fast each mechanism decodes on this machine, measured beside its bound."""

from typing import Any

import typer

from kvcalc.cli.output import show
from kvcalc.cli.output_options import ListingOutput, output_of
from kvcalc.cli.parameters import RequiredModel, given_on_line, takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.measure import bench
from kvcalc.render.screens.bench import bench_report
from kvcalc.render.terminal.progress import progress_bar
from kvcalc.scenario.options import BenchOptions


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench", cls=TextCommand)(bench_command)


@takes(BenchOptions, ListingOutput)
def bench_command(model: RequiredModel, **given: Any) -> None:
    """Measure one decode step of a layer under each mechanism, and prefill, beside the bound of this machine."""
    output = output_of(given)
    with progress_bar() as progress:
        result = bench(model, progress=progress, **given_on_line(given, BenchOptions))
    show(bench_report(result, output.unit), output)
