"""kvcalc from Python: the same calculations as on the command line, by name or by value.

Numbers may be integers or the spellings of the command line ('128Ki', '1.5GiB').
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from kvcalc.catalogue import find_gpu, find_model
from kvcalc.deployment import MAX_RANKS, Deployment
from kvcalc.engines import find_engine
from kvcalc.errors import KvcalcError
from kvcalc.fields import MAX_PARAMETERS
from kvcalc.formats import find_format
from kvcalc.gpu import Gpu
from kvcalc.memory import Fit
from kvcalc.model import Model
from kvcalc.scenario import DEFAULT_UTILIZATION, Replacements, Scenario, cache_format
from kvcalc.units import MAX_BATCH, MAX_CONTEXT, check_count, parse_count, parse_fraction, parse_size
from kvcalc.verbs.capacity import capacity as _capacity
from kvcalc.verbs.estimate import estimate as _estimate
from kvcalc.verbs.smallest import best_of, evaluate, smallest
from kvcalc.workload import Workload, default_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kvcalc.verbs.capacity import Capacity
    from kvcalc.verbs.comparison import Comparison
    from kvcalc.verbs.result import Estimate
    from kvcalc.verification.result import Verification

Options = ParamSpec("Options")

DEFAULT_GPU = "h100-sxm"


def load_model(model: str | Path) -> Model:
    """A model from a YAML file, or of the catalogue by name or hub id.

    Raises:
        KvcalcError: there is none, or its file has mistakes.
    """
    return find_model(str(model)).model


def load_gpu(gpu: str) -> Gpu:
    """An accelerator of the catalogue, by name or alias.

    Raises:
        KvcalcError: there is none.
    """
    return find_gpu(gpu)


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
    dtype: str | None = None,
    parameters: int | str | None = None,
    cache_dtype: str | None = None,
    weight_dtype: str | None = None,
    weights: int | str | None = None,
    temporary: int | str | None = None,
    overhead: int | str | None = None,
    reserve: Mapping[str, int | str] | None = None,
    shared_prefix: int | str | None = None,
    spill: bool = False,
    origin: str | None = None,
    remarks: tuple[str, ...] = (),
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
        engine: how positions and bytes are counted.
        dtype: the format of computing, instead of the model's own.
        parameters: where the model's file does not give them.
        cache_dtype: an element format, or 'k=q8_0,v=q4_0'.
        weight_dtype: an element format instead of the checkpoint's.
        weights: bytes of one replica, instead of what the model's file says.
        temporary: bytes of one rank, instead of the default.
        overhead: bytes of one rank, instead of the default.
        reserve: name -> bytes of one rank: rows of their own.
        shared_prefix: first tokens of the context that all sequences of a replica share, kept once.
        spill: whether cache that has no room on a rank goes to the host's memory.
        origin: where the model came from, for messages.
        remarks: further notes for the result.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    if not isinstance(model, Model):
        found = find_model(str(model))
        model, origin = found.model, found.origin
    if weights is not None and weight_dtype is not None:
        raise KvcalcError("--weights: gives the size, so --weight-dtype has nothing to say; give one of them")
    model = _completed(model, dtype, parameters)
    tokens = _context(model, context)
    if context is None:
        remarks = (*remarks, f"context is not given: {tokens:,} is taken (-c sets it)")
    asked = Scenario(
        model=model,
        workload=Workload(_count(batch, "--batch", MAX_BATCH), tokens),
        gpu=_gpu(gpu, gpu_memory, node_size),
        cache_format=cache_format(model, cache_dtype),
        engine=find_engine(engine),
        weight_format=None if weight_dtype is None else find_format(weight_dtype, "--weight-dtype"),
        utilization=_share(utilization),
        replacements=Replacements(
            weights=None if weights is None else _size(weights, "--weights"),
            temporary=None if temporary is None else _size(temporary, "--temporary"),
            overhead=None if overhead is None else _size(overhead, "--overhead"),
            reserve=tuple((name, _size(size, f"--reserve {name}")) for name, size in (reserve or {}).items()),
        ),
        allow_pp=allow_pp,
        shared_prefix=_prefix(shared_prefix, tokens),
        spill=spill,
        origin=origin or "the model",
        remarks=remarks,
    )
    ways = {"tp": tp, "pp": pp, "dp": dp, "ep": ep, "dcp": dcp}
    counts = {name: _count(given, f"--{name}", MAX_RANKS) for name, given in ways.items() if given is not None}
    if gpus is not None:
        if dp_attention or counts.keys() - {"dp"}:
            raise KvcalcError("--gpus: chooses tp and pp; give --gpus, or the deployment itself, not both")
        return _with_gpus(asked, _count(gpus, "--gpus", MAX_RANKS), counts.get("dp", 1))
    if not counts and not dp_attention:
        return _holding_the_weights(asked) if spill else asked
    return replace(asked, deployment=Deployment(**counts, dp_attention=dp_attention))


def _answering(
    ask: Callable[Concatenate[Model | str | Path, Options], Scenario],
) -> Callable[Concatenate[Model | str | Path | Scenario, Options], Estimate]:
    """`estimate` takes a scenario, or whatever makes one: the same options, checked by the same types."""

    @wraps(ask, assigned=())  # so that help() shows the options
    def estimate(model: Model | str | Path | Scenario, /, *args: Options.args, **options: Options.kwargs) -> Estimate:
        """The cache, the memory and the GPU count: `estimate("llama-3-70b", batch=32, context="8Ki", tp=4)`.

        Args:
            model: a scenario, or what `make_scenario` takes.
            args: none; options have names.
            options: those of `make_scenario`.

        Raises:
            KvcalcError: anything that cannot be, with the option named.
        """
        if not isinstance(model, Scenario):
            return _estimate(ask(model, *args, **options))
        if options:
            raise TypeError("a scenario has its options already: dataclasses.replace() changes them")
        return _estimate(model)

    return estimate


estimate = _answering(make_scenario)


def capacity(
    model: Model | str | Path | Scenario, /, *, cache_memory: int | str | None = None, **options: Any
) -> Capacity:
    """The most tokens, sequences and context that fit: `capacity("llama-3-70b", tp=8, context="8Ki").sequences`.

    Args:
        model: a scenario, or what `make_scenario` takes.
        cache_memory: bytes that one rank has for the cache, instead of what the accelerator leaves.
        options: those of `make_scenario`.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    asked = _asked(model, options)
    return _capacity(asked, None if cache_memory is None else _size(cache_memory, "--cache-memory"))


def _asked(model: Model | str | Path | Scenario, options: dict[str, Any]) -> Scenario:
    if not isinstance(model, Scenario):
        return make_scenario(model, **options)
    if options:
        raise TypeError("a scenario has its options already: dataclasses.replace() changes them")
    return model


def compare(
    models: Model | str | Path | Scenario | Sequence[Model | str | Path | Scenario], /, **options: Any
) -> Comparison:
    """One model under each mechanism, or several side by side: `compare("llama-3-70b").rows[0].cache_bytes`.

    Args:
        models: a scenario, or what `make_scenario` takes; or a list of them.
        options: those of `make_scenario`.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    from kvcalc.verbs.compare import compare as _compare  # noqa: PLC0415  # for start-up time

    several = [models] if isinstance(models, (Model, str, Path, Scenario)) else models
    return _compare(asked_alike(lambda model, **more: _asked(model, {**options, **more}), several, options))


def asked_alike(ask: Callable[..., Scenario], models: Sequence[Any], options: Mapping[str, Any]) -> list[Scenario]:
    """Scenarios of one model, or of several at one context: without any, the least of their own defaults.

    Args:
        ask: makes a scenario of a model, with arguments of `make_scenario` that replace those it has.
        models: what it takes.
        options: those it has.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    for name in ("weights", "parameters"):
        if len(models) > 1 and options.get(name) is not None:
            raise KvcalcError(f"--{name}: is of one model, and {len(models)} are given")
    asked = [ask(model) for model in models]
    contexts = {each.workload.context for each in asked}
    if len(contexts) <= 1 or options.get("context") is not None or any(isinstance(each, Scenario) for each in models):
        return asked
    remark = f"context is not given: {min(contexts):,} is taken, the least of what each model would have (-c sets it)"
    alike = (ask(model, context=min(contexts)) for model in models)
    return [replace(each, remarks=(remark, *each.remarks)) for each in alike]


def verify(
    model: Model | str | Path | Scenario,
    *,
    batch: int | str = 1,
    context: int | str | None = None,
    cache_dtype: str | None = None,
    tp: int | str | None = None,
    pp: int | str | None = None,
    device: str = "auto",
    decode: bool = False,
    skip_unsupported: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Verification:
    """Allocate a cache for real and check every byte: `verify("llama-3-8b", device="cpu").verified`.

    Args:
        model: a scenario, or what `make_scenario` takes; a scenario has the next five already.
        batch: sequences.
        context: tokens of each.
        cache_dtype: an element format, or 'k=q8_0,v=q4_0'.
        tp: tensor-parallel ranks.
        pp: pipeline stages.
        device: where: meta (shapes without memory), cpu, cuda, or auto.
        decode: whether to fill the cache by prefill and decode from it on the CPU too.
        skip_unsupported: whether kinds of layers that cannot be verified leave the verdict alone.
        progress: is told what is being done, how much of it, of how much.

    Raises:
        CannotRunError: no torch, no such device, or no room there.
        KvcalcError: anything that cannot be, with the option named.
    """
    from kvcalc.verification import verify_scenario  # noqa: PLC0415  # for start-up time

    if not isinstance(model, Scenario):
        model = make_scenario(model, batch=batch, context=context, cache_dtype=cache_dtype, tp=tp, pp=pp)
    elif (batch, context, cache_dtype, tp, pp) != (1, None, None, None, None):
        raise TypeError("a scenario has its options already: dataclasses.replace() changes them")
    return verify_scenario(model, device=device, decode=decode, skip_unsupported=skip_unsupported, progress=progress)


def _completed(model: Model, dtype: str | None, parameters: int | str | None) -> Model:
    """The model with what was given beside its file."""
    if parameters is not None:
        if model.weights:
            raise KvcalcError(
                f"--parameters: {model.name} lists its weights part by part; --weights SIZE replaces them"
            )
        model = replace(model, parameters=_count(parameters, "--parameters", MAX_PARAMETERS))
    return model if dtype is None else replace(model, dtype=find_format(dtype, "--dtype").name)


def _prefix(given: int | str | None, context: int) -> int:
    if given is None:
        return 0
    prefix = _count(given, "--shared-prefix", MAX_CONTEXT)
    if prefix > context:
        raise KvcalcError(f"--shared-prefix: {prefix:,} tokens are more than the context of {context:,}")
    return prefix


def _with_gpus(asked: Scenario, gpus: int, dp: int) -> Scenario:
    if gpus < dp:
        raise KvcalcError(f"--gpus: {gpus} are fewer than the {dp} replicas of --dp")
    single = evaluate(asked, Deployment(dp=dp))  # also refuses a format that no split can store
    if single.fullest.weights is None:
        raise KvcalcError("--gpus: the best deployment depends on the weights: give --weights SIZE or --parameters N")
    best = best_of(asked, gpus, dp) or single
    deployment = best.deployment
    remark = f"of at most {gpus} GPUs, {deployment.gpus} are used: {deployment}"
    if best.fit is Fit.NO:
        enough = smallest(asked)
        remark += "; they do not hold the workload"
        remark += f", {enough.deployment.gpus:,} do ({enough.deployment})" if enough else ""
    return replace(asked, deployment=deployment, at_most_gpus=gpus, remarks=(*asked.remarks, remark))


def _holding_the_weights(asked: Scenario) -> Scenario:
    """With the smallest deployment that holds one token: what is to be spilled finds no room on it."""
    single = evaluate(asked, Deployment()).fullest
    if single.weights is None:
        raise KvcalcError("--spill: the room beside the weights is not known: give --weights SIZE or --parameters N")
    usual = replace(asked.replacements, temporary=single.temporary.term.bytes)
    found = smallest(replace(asked, workload=Workload(1, 1), shared_prefix=0, replacements=usual))
    if found is None:
        raise KvcalcError("--spill: no legal deployment holds the weights; cache alone can go to the host's memory")
    remark = f"spill: {found.deployment} is taken, the smallest deployment that holds the weights (--tp N sets it)"
    return replace(asked, deployment=found.deployment, remarks=(*asked.remarks, remark))


def _context(model: Model, context: int | str | None) -> int:
    if context is None:
        return default_context(model.max_context)
    if context == "max":
        if model.max_context is None:
            raise KvcalcError(f"--context: {model.name} does not say its max_context; give a number")
        return model.max_context
    return _count(context, "--context", MAX_CONTEXT)


def _gpu(gpu: Gpu | str, memory: int | str | None, node_size: int | str | None) -> Gpu:
    found = gpu if isinstance(gpu, Gpu) else find_gpu(gpu)
    if node_size is not None:
        found = replace(found, gpus_per_node=_count(node_size, "--node-size", MAX_RANKS))
    if memory is None:
        return found
    size = _size(memory, "--gpu-memory")
    if size < 1:
        raise KvcalcError("--gpu-memory: must be at least 1 byte")
    return replace(found, memory_bytes=size, memory_from="user")


def _count(value: int | str, what: str, limit: int) -> int:
    if isinstance(value, str):
        return parse_count(value, what, limit)
    if isinstance(value, bool) or not isinstance(value, int):
        raise KvcalcError(f"{what}: not a whole number: {value!r}")
    return check_count(value, what, limit)


def _size(value: int | str, what: str) -> int:
    return parse_size(str(value), what)


def _share(value: float | str | Fraction) -> Fraction:
    if isinstance(value, Fraction) and 0 < value <= 1:
        return value
    return parse_fraction(str(value), "--utilization")
