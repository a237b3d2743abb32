"""kvcalc plan: the smallest legal deployments that hold a workload."""

from typing import Annotated, Any

import typer

from kvcalc.api import DEFAULT_MAX_GPUS, plan
from kvcalc.cli import scenario_options as shared
from kvcalc.cli.options import TextCommand, chosen_format, chosen_unit, option
from kvcalc.cli.output import show
from kvcalc.cli.question import model_options, pairs_of, typed_anew
from kvcalc.errors import NoError
from kvcalc.render.plan import plan_report
from kvcalc.scenario.make import DEFAULT_GPU

SAME_IN_ESTIMATE = (
    "shared_prefix",
    *shared.FORMATS,
    *shared.MEMORY,
    *shared.ENGINE,
    "gpu_memory",
    "utilization",
    "node_size",
    *shared.AD_HOC,
)
"""Options that mean the same to `kvcalc estimate`, beside its deployment."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan", cls=TextCommand)(plan_command)


@shared.takes(
    (
        "context",
        "input_tokens",
        "output_tokens",
        *SAME_IN_ESTIMATE,
        "allow_pp",
        *shared.OUTPUT,
        "explain",
    )
)
def plan_command(
    model: shared.ModelArgument = None,
    batch: Annotated[
        str | None, option("-b", "--batch", panel="Workload", metavar="N", text="Sequences, over all replicas (1).")
    ] = None,
    tokens: Annotated[
        str | None,
        option("--tokens", panel="Workload", metavar="N", text="Tokens held at a time, in sequences of the context."),
    ] = None,
    rps: Annotated[
        str | None,
        option("--rps", panel="Workload", metavar="R", text="Requests a second: batch is R x S (Little's law)."),
    ] = None,
    latency: Annotated[
        str | None, option("--latency", panel="Workload", metavar="S", text="Seconds that a request takes.")
    ] = None,
    gpu: Annotated[
        list[str] | None,
        option(
            "--gpu",
            panel="Deployment",
            metavar="NAME",
            text=f"Accelerators to choose from, as A,B, or all; repeatable ({DEFAULT_GPU}).",
        ),
    ] = None,
    max_gpus: Annotated[
        str, option("--max-gpus", "--gpus", panel="Deployment", metavar="N", text="At most so many GPUs.")
    ] = str(DEFAULT_MAX_GPUS),
    spare: Annotated[
        str, option("--spare", panel="Deployment", metavar="N", text="Replicas beyond those that hold the workload.")
    ] = "0",
    price: Annotated[
        list[str] | None,
        option(
            "--price",
            panel="Deployment",
            metavar="NAME=USD",
            text="Price of one accelerator for an hour: the cheapest come first; repeatable.",
        ),
    ] = None,
    tp: Annotated[
        str | None, option("--tp", panel="Deployment", metavar="N", text="This tensor-parallel size only.")
    ] = None,
    pp: Annotated[
        str | None, option("--pp", panel="Deployment", metavar="N", text="This number of pipeline stages only.")
    ] = None,
    limit: Annotated[str, option("--limit", metavar="N", text="Deployments to show.")] = "10",
    **given: Any,
) -> None:
    """The smallest legal deployments that hold a workload, ranked, and why each smaller one does not."""
    chosen, unit = chosen_format(given["how"], json=given["json"]), chosen_unit(given["unit"])
    found, options = model_options(model, given)
    result = plan(
        found,
        gpu=gpu or [DEFAULT_GPU],
        max_gpus=max_gpus,
        batch=batch,
        tokens=tokens,
        rps=rps,
        latency=latency,
        spare=spare,
        prices=pairs_of("--price", price or [], "NAME=USD_PER_HOUR (for example h100=2.99)"),
        limit=limit,
        tp=tp,
        pp=pp,
        **options,
    )
    command = typed_anew("estimate", model, given, (*SAME_IN_ESTIMATE, "unit"))
    show(plan_report(result, unit, explain=given["explain"], command=command), chosen, given["output_file"])
    if result.nearest is not None:
        raise NoError(f"plan: {result.nearest}")
