"""A scenario from names and numbers as people write them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kvcalc.catalogue import find_gpu, find_model
from kvcalc.deployment import MAX_RANKS, Deployment
from kvcalc.engines import choose_engine
from kvcalc.errors import KvcalcError
from kvcalc.fields import MAX_PARAMETERS
from kvcalc.formats.element import find_format
from kvcalc.formats.weights import find_weight_format
from kvcalc.gpu import Gpu
from kvcalc.mechanisms import Role
from kvcalc.model.model import Model
from kvcalc.note import Note, note
from kvcalc.scenario.numbers import count_of, share_of, size_of
from kvcalc.scenario.scenario import DEFAULT_UTILIZATION, GpuLimit, Replacements, Scenario, cache_format
from kvcalc.scenario.workload import Workload, default_context
from kvcalc.units import MAX_BATCH, MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from fractions import Fraction
    from pathlib import Path

    from kvcalc.engines import Engine

DEFAULT_GPU = "h100-sxm"


def make_scenario(
    model: Model | str | Path,
    *,
    batch: int | str = 1,
    context: int | str | None = None,
    gpu: Gpu | str = DEFAULT_GPU,
    gpu_memory: int | str | None = None,
    utilization: float | str | Fraction = DEFAULT_UTILIZATION,
    tp: int | str | None = None,
    pp: int | str | None = None,
    dp: int | str | None = None,
    ep: int | str | None = None,
    dcp: int | str | None = None,
    dp_attention: bool = False,
    gpus: int | str | None = None,
    node_size: int | str | None = None,
    allow_pp: bool = False,
    engine: str = "exact",
    engine_option: Mapping[str, str | float] | None = None,
    block_size: int | str | None = None,
    dtype: str | None = None,
    parameters: int | str | None = None,
    cache_dtype: str | None = None,
    weight_dtype: str | None = None,
    state_dtype: str | None = None,
    conv_dtype: str | None = None,
    weights: int | str | None = None,
    temporary: int | str | None = None,
    overhead: int | str | None = None,
    reserve: Mapping[str, int | str] | None = None,
    shared_prefix: int | str | None = None,
    spill: bool = False,
    assume: Mapping[str, Any] | None = None,
    origin: str | None = None,
    notes: tuple[Note, ...] = (),
) -> Scenario:
    """Put a question together, from names and numbers as people write them.

    Args:
        model: a model, or what `load_model` takes.
        batch: sequences, over all replicas.
        context: tokens of each; None is 8,192 or the model's limit, whichever is less; 'max' the model's limit.
        gpu: an accelerator, or a name of the catalogue.
        gpu_memory: its memory, instead of the catalogue's figure.
        utilization: share of that memory which may be used.
        tp: tensor-parallel ranks; with pp and dp the deployment asked for.
        pp: pipeline stages.
        dp: replicas.
        ep: parts into which experts fall, each on its own ranks.
        dcp: ranks, among the tp, that share the tokens of a sequence.
        dp_attention: whether replicas share the experts.
        gpus: the best legal deployment of at most so many, instead of tp and pp.
        node_size: GPUs that tensor parallelism may span, instead of the accelerator's own.
        allow_pp: whether the smallest deployment may use pipeline stages although tensor parallelism is enough.
        engine: how positions and bytes are counted: NAME, or NAME@VERSION.
        engine_option: options of the engine, as it names them.
        block_size: tokens of a block, in engines that have blocks.
        dtype: the format of computing, instead of the model's own.
        parameters: where the model's file does not give them.
        cache_dtype: an element format, or 'k=q8_0,v=q4_0'. It does not touch constant states.
        weight_dtype: an element format instead of the checkpoint's.
        state_dtype: the format of recurrent states, instead of what the model's file says, or fp32.
        conv_dtype: the format of convolutions' inputs, instead of what the model's file says, or its dtype.
        weights: bytes of one replica, instead of what the model's file says.
        temporary: bytes of one rank, instead of the default.
        overhead: bytes of one rank, instead of the default.
        reserve: name -> bytes of one rank: rows of their own.
        shared_prefix: first tokens of the context that all sequences of a replica share, kept once.
        spill: whether cache that has no room on a rank goes to the host's memory.
        assume: keys and values that decide what an imported file does not.
        origin: where the model came from, for messages.
        notes: further ones for the result.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    if not isinstance(model, Model):
        found = find_model(str(model), assume)
        model, origin, notes = found.model, found.origin, (*found.notes, *notes)
    if weights is not None and weight_dtype is not None:
        raise KvcalcError("--weights: gives the size, so --weight-dtype has nothing to say; give one of them")
    if weights is not None and parameters is not None:
        raise KvcalcError("--weights: gives the size, so --parameters has nothing to say; give one of them")
    model = _completed(model, dtype, parameters)
    tokens = _context(model, context)
    if context is None:
        taken = note("default-context", f"context is not given: {tokens:,} is taken (-c sets it)", context=tokens)
        notes = (*notes, taken)
    notes = (*notes, *_unused_formats(model, cache_dtype, conv_dtype, state_dtype))
    asked = Scenario(
        model=model,
        workload=Workload(count_of(batch, "--batch", MAX_BATCH), tokens),
        gpu=asked_gpu(gpu, gpu_memory, node_size),
        cache_format=cache_format(model, cache_dtype, conv_dtype, state_dtype),
        engine=_engine(engine, engine_option or {}, block_size),
        weight_format=None if weight_dtype is None else find_weight_format(weight_dtype, "--weight-dtype"),
        utilization=share_of(utilization),
        replacements=Replacements(
            weights=None if weights is None else size_of(weights, "--weights"),
            temporary=None if temporary is None else size_of(temporary, "--temporary"),
            overhead=None if overhead is None else size_of(overhead, "--overhead"),
            reserve=tuple((name, size_of(size, f"--reserve {name}")) for name, size in (reserve or {}).items()),
        ),
        allow_pp=allow_pp,
        shared_prefix=_prefix(shared_prefix, tokens),
        spill=spill,
        origin=origin or "the model",
        notes=notes,
    )
    ways = {"tp": tp, "pp": pp, "dp": dp, "ep": ep, "dcp": dcp}
    counts = {name: count_of(given, f"--{name}", MAX_RANKS) for name, given in ways.items() if given is not None}
    if gpus is not None:
        chosen = [f"--{name}" for name in counts if name != "dp"] + (["--dp-attention"] if dp_attention else [])
        if chosen:
            raise KvcalcError(f"--gpus: chooses the deployment; give --gpus, or {' and '.join(chosen)}, not both")
        return replace(asked, gpu_limit=GpuLimit(count_of(gpus, "--gpus", MAX_RANKS), counts.get("dp", 1)))
    if not counts and not dp_attention:
        return asked
    return replace(asked, deployment=Deployment(**counts, dp_attention=dp_attention))


def asked_alike(
    ask: Callable[..., Scenario], models: Sequence[Any], options: Mapping[str, Any], formats: Sequence[str] = ()
) -> list[Scenario]:
    """Scenarios of one model, or of several at one context: without any, the least of their own defaults.

    Args:
        ask: makes a scenario of a model, with arguments of `make_scenario` that replace those it has.
        models: what it takes.
        options: those it has.
        formats: of the cache, each of which every model is asked with; without any, as the options say.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    for name in ("weights", "parameters", "assume"):
        if len(models) > 1 and options.get(name):
            raise KvcalcError(f"--{name}: is of one model, and {len(models)} are given")
    ways = [{"cache_dtype": each} for each in formats] or [{}]
    asked = [ask(model, **way) for model in models for way in ways]
    contexts = {each.workload.context for each in asked}
    if len(contexts) <= 1 or options.get("context") is not None or any(isinstance(each, Scenario) for each in models):
        return asked
    least = min(contexts)
    taken = note(
        "default-context",
        f"context is not given: {least:,} is taken, the least of what each model would have (-c sets it)",
        context=least,
    )
    alike = (ask(model, **way, context=least) for model in models for way in ways)
    return [replace(each, notes=(taken, *each.notes)) for each in alike]


def _completed(model: Model, dtype: str | None, parameters: int | str | None) -> Model:
    """The model with what was given beside its file."""
    if parameters is not None:
        if model.weights:
            raise KvcalcError(
                f"--parameters: {model.name} lists its weights part by part; --weights SIZE replaces them"
            )
        model = replace(model, parameters=count_of(parameters, "--parameters", MAX_PARAMETERS))
    return model if dtype is None else replace(model, dtype=find_format(dtype, "--dtype").name)


def _engine(text: str, options: Mapping[str, str | float], block_size: int | str | None) -> Engine:
    """The engine, with its options' names and values as on a command line: dashes for underscores, true and false."""
    written: dict[str, str] = {}
    for name, value in options.items():
        option = name.strip().replace("_", "-")
        if option in written:
            raise KvcalcError(f"--engine-option: '{option[:60]}' is given twice")
        written[option] = str(value).lower() if isinstance(value, bool) else str(value)
    return choose_engine(text, written, None if block_size is None else str(block_size))


def _unused_formats(
    model: Model, cache_dtype: str | None, conv_dtype: str | None, state_dtype: str | None
) -> Iterator[Note]:
    """Of formats that were asked for, those that nothing is kept in."""
    roles = {tensor.role for tensor in model.cached_tensors}
    for option, given, role in (("--conv-dtype", conv_dtype, Role.CONV), ("--state-dtype", state_dtype, Role.STATE)):
        if given is not None and role not in roles:
            yield note("unused-option", f"{option}: no layer of this model keeps such a state", options=(option,))
    if cache_dtype is not None and roles and not roles & {Role.CACHE, Role.INDEX}:
        yield note(
            "unused-option",
            "--cache-dtype: no layer keeps keys or values; --state-dtype and --conv-dtype are for states",
            options=("--cache-dtype",),
        )


def _prefix(given: int | str | None, context: int) -> int:
    if given is None:
        return 0
    prefix = count_of(given, "--shared-prefix", MAX_CONTEXT)
    if prefix > context:
        raise KvcalcError(f"--shared-prefix: {prefix:,} tokens are more than the context of {context:,}")
    return prefix


def _context(model: Model, context: int | str | None) -> int:
    if context is None:
        return default_context(model.max_context)
    if context == "max":
        if model.max_context is None:
            raise KvcalcError(f"--context: {model.name} does not say its max_context; give a number")
        return model.max_context
    return count_of(context, "--context", MAX_CONTEXT)


def asked_gpu(gpu: Gpu | str, memory: int | str | None = None, node_size: int | str | None = None) -> Gpu:
    """The accelerator, with what is given instead of its own figures."""
    found = gpu if isinstance(gpu, Gpu) else find_gpu(gpu)
    if node_size is not None:
        found = replace(found, gpus_per_node=count_of(node_size, "--node-size", MAX_RANKS))
    if memory is None:
        return found
    size = size_of(memory, "--gpu-memory")
    if size < 1:
        raise KvcalcError("--gpu-memory: must be at least 1 byte")
    return replace(found, memory_bytes=size, memory_from="user")
