"""kvcalc estimate: the cache, the memory and the GPUs of one scenario.

Annotations are evaluated here, not kept as text: typer reads them at every start, and text takes it twice as long.
"""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kvcalc.ad_hoc import MAX_DIM, AdHoc
from kvcalc.api import DEFAULT_GPU, estimate, make_scenario
from kvcalc.catalogue import find_model
from kvcalc.cli.options import (
    FormatOption,
    JsonOption,
    OutputOption,
    TextCommand,
    UnitOption,
    chosen_format,
    chosen_unit,
    flag,
    option,
)
from kvcalc.cli.output import show
from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError, NoError
from kvcalc.formats import find_format
from kvcalc.model import MAX_LAYERS, Model
from kvcalc.render import Report
from kvcalc.units import MAX_CONTEXT, parse_count
from kvcalc.verbs.result import Estimate, RankResult

if TYPE_CHECKING:
    from kvcalc.render.view import View

_AD_HOC = "A model without a file"
_WORKLOAD = "Workload"
_MEMORY = "Memory"
_DEPLOYMENT = "Deployment"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("estimate", cls=TextCommand)(estimate_command)


def estimate_command(
    context_of_call: typer.Context,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A YAML file, a name of the catalogue, or a hub id.")
    ] = None,
    batch: Annotated[
        str, option("-b", "--batch", panel=_WORKLOAD, metavar="N", text="Sequences, over all replicas.")
    ] = "1",
    context: Annotated[
        str | None,
        option(
            "-c",
            "--context",
            panel=_WORKLOAD,
            metavar="N",
            text="Tokens of each sequence, as 8192, 131_072, 128Ki, 1e6 or max (8192, or the model's limit).",
        ),
    ] = None,
    input_tokens: Annotated[
        str | None, option("--input", panel=_WORKLOAD, metavar="N", text="Prompt tokens: context is N + M.")
    ] = None,
    output_tokens: Annotated[
        str | None,
        option("--output", panel=_WORKLOAD, metavar="M", text="Generated tokens: context is N + M."),
    ] = None,
    cache_dtype: Annotated[
        str | None,
        option("--cache-dtype", panel=_MEMORY, metavar="F", text="Format of the cache: fp8, or k=q8_0,v=q4_0."),
    ] = None,
    weight_dtype: Annotated[
        str | None, option("--weight-dtype", panel=_MEMORY, metavar="F", text="Format of the weights.")
    ] = None,
    state_dtype: Annotated[
        str | None, option("--state-dtype", panel=_MEMORY, metavar="F", text="Format of recurrent states.")
    ] = None,
    conv_dtype: Annotated[
        str | None, option("--conv-dtype", panel=_MEMORY, metavar="F", text="Format of convolution states.")
    ] = None,
    weights: Annotated[
        str | None, option("--weights", panel=_MEMORY, metavar="SIZE", text="Weights of one replica.")
    ] = None,
    temporary: Annotated[
        str | None,
        option("--temporary", panel=_MEMORY, metavar="SIZE", text="Temporary memory of one rank."),
    ] = None,
    overhead: Annotated[
        str | None, option("--overhead", panel=_MEMORY, metavar="SIZE", text="Overhead of one rank.")
    ] = None,
    reserve: Annotated[
        list[str] | None,
        option("--reserve", panel=_MEMORY, metavar="NAME=SIZE", text="A further row of one rank; repeatable."),
    ] = None,
    gpu: Annotated[
        str, option("--gpu", panel=_DEPLOYMENT, metavar="NAME", text="Accelerator (kvcalc gpus list).")
    ] = DEFAULT_GPU,
    gpu_memory: Annotated[
        str | None,
        option("--gpu-memory", panel=_DEPLOYMENT, metavar="SIZE", text="Its memory, as its runtime reports."),
    ] = None,
    utilization: Annotated[
        str, option("--utilization", panel=_DEPLOYMENT, metavar="X", text="Share of it that may be used.")
    ] = "0.92",
    tp: Annotated[str | None, option("--tp", panel=_DEPLOYMENT, metavar="N", text="Tensor-parallel ranks.")] = None,
    pp: Annotated[str | None, option("--pp", panel=_DEPLOYMENT, metavar="N", text="Pipeline stages.")] = None,
    dp: Annotated[str | None, option("--dp", panel=_DEPLOYMENT, metavar="N", text="Replicas.")] = None,
    gpus: Annotated[
        str | None,
        option("--gpus", panel=_DEPLOYMENT, metavar="N", text="The best legal deployment of at most N GPUs."),
    ] = None,
    allow_pp: Annotated[
        bool,
        flag(
            "--allow-pp",
            "Let the smallest deployment use pipeline stages where tensor parallelism is enough.",
            _DEPLOYMENT,
        ),
    ] = False,
    check: Annotated[
        bool,
        flag("--check", "Exit 1 where the given deployment (else one GPU) does not fit.", _DEPLOYMENT),
    ] = False,
    engine: Annotated[
        str, option("--engine", panel=_MEMORY, metavar="NAME", text="How the cache is counted.")
    ] = "exact",
    engine_option: Annotated[
        list[str] | None,
        option(
            "--engine-option",
            panel=_MEMORY,
            metavar="KEY=VALUE",
            text="An option of the engine, as it names it; repeatable.",
        ),
    ] = None,
    block_size: Annotated[
        str | None,
        option("--block-size", panel=_MEMORY, metavar="N", text="Tokens of a block, in engines that have blocks."),
    ] = None,
    layers: Annotated[str | None, option("--layers", panel=_AD_HOC, metavar="N", text="Layers.")] = None,
    heads: Annotated[str | None, option("--heads", panel=_AD_HOC, metavar="N", text="Query heads.")] = None,
    kv_heads: Annotated[
        str | None, option("--kv-heads", panel=_AD_HOC, metavar="N", text="KV heads (as many as heads).")
    ] = None,
    head_dim: Annotated[
        str | None, option("--head-dim", panel=_AD_HOC, metavar="N", text="Elements of a head.")
    ] = None,
    v_head_dim: Annotated[
        str | None, option("--v-head-dim", panel=_AD_HOC, metavar="N", text="Elements of a value (as head-dim).")
    ] = None,
    kv_lora_rank: Annotated[
        str | None, option("--kv-lora-rank", panel=_AD_HOC, metavar="N", text="Latent elements (mla).")
    ] = None,
    qk_rope_head_dim: Annotated[
        str | None,
        option("--qk-rope-head-dim", panel=_AD_HOC, metavar="N", text="Rotary key elements (mla)."),
    ] = None,
    window: Annotated[
        str | None, option("--window", panel=_AD_HOC, metavar="N", text="Sliding window of every layer.")
    ] = None,
    parameters: Annotated[
        str | None,
        option("--parameters", panel=_AD_HOC, metavar="N", text="Parameters; also where a file lacks them."),
    ] = None,
    dtype: Annotated[
        str | None,
        option(
            "--dtype",
            panel=_AD_HOC,
            metavar="F",
            text="Format of computing, to which cache and weights default (bf16).",
        ),
    ] = None,
    how: FormatOption = None,
    json: JsonOption = False,
    output_file: OutputOption = None,
    unit: UnitOption = "GiB",
    explain: Annotated[bool, flag("--explain", "Print the tree of terms with its formulas.")] = False,
) -> None:
    """The cache, the memory and the number of GPUs of a model, with the formula behind every figure."""
    chosen, sizes_in = chosen_format(how, json=json), chosen_unit(unit)
    _refuse_blocks(engine, engine_option, block_size)
    numbers = AdHoc(
        layers=_number(layers, "--layers", MAX_LAYERS),
        heads=_number(heads, "--heads", MAX_DIM),
        kv_heads=_number(kv_heads, "--kv-heads", MAX_DIM),
        head_dim=_number(head_dim, "--head-dim", MAX_DIM),
        v_head_dim=_number(v_head_dim, "--v-head-dim", MAX_DIM),
        kv_lora_rank=_number(kv_lora_rank, "--kv-lora-rank", MAX_DIM),
        qk_rope_head_dim=_number(qk_rope_head_dim, "--qk-rope-head-dim", MAX_DIM),
        window=_number(window, "--window", MAX_CONTEXT),
    )
    found, origin = _model(model, numbers)
    asked = make_scenario(
        found,
        batch=batch,
        context=_context(context, input_tokens, output_tokens),
        gpu=gpu,
        gpu_memory=gpu_memory,
        utilization=utilization,
        tp=tp,
        pp=pp,
        dp=dp,
        gpus=gpus,
        allow_pp=allow_pp,
        engine=engine,
        dtype=dtype,
        parameters=parameters,
        cache_dtype=cache_dtype,
        weight_dtype=weight_dtype,
        weights=weights,
        temporary=temporary,
        overhead=overhead,
        reserve=_reserve(reserve or []),
        origin=origin,
        remarks=tuple(_remarks(numbers, {"--state-dtype": state_dtype, "--conv-dtype": conv_dtype})),
    )
    result = estimate(asked)
    if check and result.gpus.fits is None:
        raise KvcalcError("--check: whether it fits needs the weights: give --weights SIZE or --parameters N")
    show(_report(result, sizes_in, _typed(context_of_call.obj), explain=explain), chosen, output_file)
    if check and not result.gpus.fits:
        raise NoError(
            f"--check: {asked.deployment or Deployment()} {'is tight' if result.gpus.tight else 'does not fit'}"
        )


def _typed(words: list[str]) -> str:
    """The command line, to be continued."""
    return shlex.join(["kvcalc", *(word for word in words if word != "--check")])


def _report(result: Estimate, unit: str, command: str, *, explain: bool) -> Report:
    """With --explain, CSV has the leaves of the cache, and the view the tree of terms."""

    def view() -> "View":
        from kvcalc.render.estimate import estimate_view  # noqa: PLC0415  # for start-up time

        return estimate_view(result, unit, explain=explain, command=command)

    rows = result.cache.terms if explain else (_csv_row(result),)
    return Report("estimate", result, rows, view, result.notes)


def _csv_row(result: Estimate) -> dict[str, Any]:
    """CSV's columns do not depend on the answer: a rank's figures are empty where no deployment holds the workload."""
    gpus = result.gpus._asdict()
    del gpus["most_sequences"]
    gpus["per_rank"] = result.gpus.per_rank or {name: None for name in RankResult._fields if name != "tree"}
    return result._asdict() | {"gpus": gpus}


def _number(text: str | None, name: str, limit: int) -> int | None:
    return None if text is None else parse_count(text, name, limit)


def _model(text: str | None, numbers: AdHoc) -> tuple[Model, str]:
    """The model that is named, or the one that the numbers describe, and where it is from."""
    if text is None:
        if not numbers.given:
            raise KvcalcError("MODEL: missing; name a model (kvcalc models list) or describe one with --layers ...")
        return numbers.model(), "the command line"
    if numbers.given:
        raise KvcalcError(f"{numbers.given[0]}: describes a model without a file, and '{text[:100]}' names one")
    found = find_model(text)
    return found.model, found.origin


def _context(context: str | None, prompt: str | None, generated: str | None) -> int | str | None:
    if prompt is None and generated is None:
        return context
    if context is not None:
        raise KvcalcError("--context: is --input plus --output; give one or the other")
    if prompt is None or generated is None:
        raise KvcalcError("--input and --output go together: the context is their sum")
    return parse_count(prompt, "--input", MAX_CONTEXT) + (
        0 if generated == "0" else parse_count(generated, "--output", MAX_CONTEXT)
    )


def _reserve(texts: list[str]) -> dict[str, int | str]:
    sizes: dict[str, int | str] = {}
    for text in texts:
        name, equals, size = text.partition("=")
        if not (equals and name.strip() and size.strip() and name.isprintable()):
            raise KvcalcError(f"--reserve: '{text[:60]}' is not NAME=SIZE (for example lora=2GiB)")
        if name in sizes:
            raise KvcalcError(f"--reserve: '{name[:60]}' is given twice")
        sizes[name] = size
    return sizes


def _remarks(numbers: AdHoc, state_formats: dict[str, str | None]) -> Iterator[str]:
    for name, text in state_formats.items():
        if text is not None:
            find_format(text, name)
            yield f"{name}: no layer of this model keeps such a state"
    if numbers.kv_lora_rank is not None:
        yield "qk_nope_head_dim and v_head_dim do not enter the cache: 128 is taken for what is not given"


def _refuse_blocks(engine: str, options: list[str] | None, block_size: str | None) -> None:
    """`exact` counts tokens: it has neither blocks nor options."""
    if block_size is not None:
        raise KvcalcError(f"--block-size: engine {engine} counts tokens, not blocks")
    if options:
        raise KvcalcError(f"--engine-option: engine {engine} has no options, so none named '{options[0][:60]}'")
