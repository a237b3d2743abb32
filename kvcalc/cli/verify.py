"""kvcalc verify: allocate a model's cache for real and check every byte."""

import os
import sys
from pathlib import Path
from typing import Any

import typer

from kvcalc.cli.output import show
from kvcalc.cli.output_options import ListingOutput, output_of
from kvcalc.cli.parameters import RequiredModel, given_on_line, takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.errors import NoError
from kvcalc.measure import verify
from kvcalc.render.screens.verify import verification_report
from kvcalc.render.terminal.progress import progress_bar
from kvcalc.scenario.options import VerifyOptions
from kvcalc.verification.torchrun import is_first


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify", cls=TextCommand)(verify_command)


@takes(VerifyOptions, ListingOutput)
def verify_command(model: RequiredModel, **given: Any) -> None:
    """Allocate the cache through small torch implementations, and check every byte that estimate counts."""
    leads = is_first()
    if not leads:  # under torchrun every process runs this command, and the first reports for all
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # until the process ends
    output = output_of(given)
    with progress_bar() as progress:
        result = verify(model, progress=progress, **given_on_line(given, VerifyOptions))
    show(verification_report(result, output.unit), output if leads else output._replace(file=None))
    if not result.verified:
        raise NoError(f"not verified: {result.summary}")
