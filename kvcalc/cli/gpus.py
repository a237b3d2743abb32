"""kvcalc gpus: the accelerators that kvcalc knows."""

from typing import Annotated

import typer

from kvcalc.catalogue import find_gpu
from kvcalc.cli.options import (
    FormatOption,
    JsonOption,
    OutputOption,
    TextCommand,
    TextGroup,
    UnitOption,
    chosen_format,
    chosen_unit,
)
from kvcalc.cli.output import show
from kvcalc.render.listing import gpu_report, gpus_report
from kvcalc.verbs.listing import list_gpus, show_gpu


def register(app: typer.Typer) -> None:
    """Add the commands."""
    gpus = typer.Typer(help="The accelerators that kvcalc knows.", cls=TextGroup, no_args_is_help=True)
    gpus.command("list", cls=TextCommand)(list_command)
    gpus.command("show", cls=TextCommand)(show_command)
    app.add_typer(gpus, name="gpus")


def list_command(
    how: FormatOption = None,
    json: JsonOption = False,
    output_file: OutputOption = None,
    unit: UnitOption = "GiB",
) -> None:
    """Every accelerator, with the memory that software sees."""
    show(gpus_report(list_gpus(), chosen_unit(unit)), chosen_format(how, json=json), output_file)


def show_command(
    gpu: Annotated[str, typer.Argument(metavar="GPU", help="A name or an alias.")],
    how: FormatOption = None,
    json: JsonOption = False,
    output_file: OutputOption = None,
    unit: UnitOption = "GiB",
) -> None:
    """One accelerator, with the source of its figures."""
    show(gpu_report(show_gpu(find_gpu(gpu)), chosen_unit(unit)), chosen_format(how, json=json), output_file)
