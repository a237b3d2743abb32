"""kvcalc gpus: the accelerators that kvcalc knows."""

from typing import Annotated, Any

import typer

from kvcalc.catalogue import find_gpu
from kvcalc.cli.output import show
from kvcalc.cli.output_options import ListingOutput, output_of
from kvcalc.cli.parameters import argument, takes
from kvcalc.cli.text_command import TextCommand, TextGroup
from kvcalc.render.screens.listing import gpu_report, gpus_report
from kvcalc.scenario.options import GPU
from kvcalc.verbs.listing.catalogue import list_gpus, show_gpu
from kvcalc.verbs.listing.model_list_options import GPU_WORD


def register(app: typer.Typer) -> None:
    """Add the commands."""
    gpus = typer.Typer(help="The accelerators that kvcalc knows.", cls=TextGroup)
    gpus.command("list", cls=TextCommand)(list_command)
    gpus.command("show", cls=TextCommand)(show_command)
    app.add_typer(gpus, name="gpus")


@takes(ListingOutput)
def list_command(word: Annotated[str | None, argument(GPU_WORD)] = None, **given: Any) -> None:
    """The accelerators, all of them or those that a word names, with the memory that software sees."""
    output = output_of(given)
    show(gpus_report(list_gpus(word), output.unit), output)


@takes(ListingOutput)
def show_command(gpu: Annotated[str, argument(GPU)], **given: Any) -> None:
    """One accelerator, with the source of its figures."""
    output = output_of(given)
    show(gpu_report(show_gpu(find_gpu(gpu)), output.unit), output)
