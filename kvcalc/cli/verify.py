"""kvcalc verify: allocate a model's cache for real and check every byte."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kvcalc.api import verify
from kvcalc.cli import scenario_options as shared
from kvcalc.cli.options import TextCommand, chosen_format, chosen_unit, flag, option
from kvcalc.cli.output import show
from kvcalc.cli.question import scenario_of
from kvcalc.errors import KvcalcError, NoError
from kvcalc.render.progress import progress_bar
from kvcalc.render.verify import verification_report
from kvcalc.verification.torchrun import is_first


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify", cls=TextCommand)(verify_command)


_BESIDE = ("gpu_memory", "utilization", "weights", "temporary", "overhead", "reserve")
"""What stands beside the cache, for --boundary."""


_STATES = ("state_dtype", "conv_dtype")


@shared.takes((*_STATES, *_BESIDE, "assume", *shared.OUTPUT))
def verify_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=shared.MODEL_HELP)],
    batch: Annotated[str | None, option("-b", "--batch", metavar="N", text="Sequences (1).")] = None,
    context: Annotated[
        str | None,
        option("-c", "--context", metavar="N", text="Tokens of each sequence (8192, or the model's limit)."),
    ] = None,
    cache_dtype: Annotated[
        str | None, option("--cache-dtype", metavar="F", text="Format of the cache: fp8, or k=q8_0,v=q4_0.")
    ] = None,
    tp: Annotated[
        str | None, option("--tp", metavar="N", text="Tensor-parallel ranks; under torchrun, a process each.")
    ] = None,
    pp: Annotated[str | None, option("--pp", metavar="N", text="Pipeline stages.")] = None,
    device: Annotated[
        str,
        option(
            "--device", metavar="meta|cpu|cuda|auto", text="Where: meta is shapes without memory; auto a GPU, else cpu."
        ),
    ] = "auto",
    decode: Annotated[
        bool, flag("--decode", "Fill the cache by prefill and decode from it on the CPU too (slow); on CUDA always.")
    ] = False,
    skip_unsupported: Annotated[
        bool, flag("--skip-unsupported", "Kinds of layers that cannot be verified leave the verdict alone.")
    ] = False,
    boundary: Annotated[
        bool,
        flag("--boundary", "Find the most sequences that allocate beside the rest of a rank: one more must not."),
    ] = False,
    **given: Any,
) -> None:
    """Allocate the cache through small torch implementations, and check every byte that estimate counts."""
    leads = is_first()
    if not leads:  # under torchrun every process runs this command, and the first reports for all
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # until the process ends
    chosen, sizes_in = chosen_format(given["how"], json=given["json"]), chosen_unit(given["unit"])
    _refuse_without_boundary(given, batch, boundary=boundary)
    scenario = scenario_of(model, given, batch=batch or "1", context=context, cache_dtype=cache_dtype, tp=tp, pp=pp)
    with progress_bar() as progress:
        result = verify(
            scenario,
            device=device,
            decode=decode,
            skip_unsupported=skip_unsupported,
            boundary=boundary,
            progress=progress,
        )
    show(verification_report(result, sizes_in), chosen, given["output_file"] if leads else None)
    if not result.verified:
        raise NoError(f"not verified: {result.summary}")


def _refuse_without_boundary(given: dict[str, Any], batch: str | None, *, boundary: bool) -> None:
    if boundary and batch is not None:
        raise KvcalcError("--batch: --boundary finds the most sequences itself")
    defaults = {"utilization": "0.92"}
    for name in _BESIDE:
        if not boundary and (given[name] or None) != defaults.get(name):
            raise KvcalcError(f"--{name.replace('_', '-')}: is beside the cache, which only --boundary looks at")
