"""A scenario from names, numbers and options as people write them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from kvcalc.catalogue import find_gpu
from kvcalc.deployment import Deployment
from kvcalc.engines import choose_engine
from kvcalc.engines.base import DEFAULT_UTILIZATION
from kvcalc.errors import KvcalcError
from kvcalc.formats.weights import find_asked_format, is_of_llama_cpp
from kvcalc.gpu import Gpu
from kvcalc.mechanisms import Role
from kvcalc.note import Note, note
from kvcalc.scenario.asked_workload import asked_workload
from kvcalc.scenario.described_model import described_model
from kvcalc.scenario.option import accepts, given_of, read_options
from kvcalc.scenario.options import ScenarioOptions
from kvcalc.scenario.scenario import BesideGpus, GpuLimit, Replacements, Scenario, cache_format

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from fractions import Fraction

    from kvcalc.engines import Engine
    from kvcalc.formats.element import ElementFormat
    from kvcalc.model.model import Model


@accepts(ScenarioOptions)
def make_scenario(model: Model | str | Path | None = None, **options: Unpack[ScenarioOptions]) -> Scenario:
    """Put a question together, from names and numbers as people write them.

    Without tp, pp, dp, ep, dcp, dp_attention or gpus the choice of a deployment is left to kvcalc.

    Args:
        model: a model, or what `load_model` takes; without it, numbers of the options describe one.
        options: as below; numbers may be integers or the spellings of the command line ('128Ki', '1.5GiB').

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    given = read_options(ScenarioOptions, options)
    found = described_model(model, given)
    gpu = gpu_of(given["gpu"], given["gpu_memory"], given["node_size"])
    engine_name, engine_notes = _engine_of(
        found.engine, options.get("engine") or given["engine"], asked=options.get("engine")
    )
    engine = choose_engine(
        engine_name,
        given["engine_option"] or {},
        None if given["block_size"] is None else str(given["block_size"]),
    )
    found = found._replace(model=engine.parts_loaded(found.model))
    of_cards = _of_cards(gpu, engine, limited=given["gpus"] is not None)
    model_notes: tuple[Note, ...] = ()
    if given["dtype"] is None and (loaded := engine.as_loaded(found.model)) is not found.model:
        model_notes = (_computed_in(engine, found.model, loaded),)
        found = found._replace(model=loaded)
    drafting, adapters = None, None
    beside: tuple[Note, ...] = ()
    if any(given[name] is not None for name in BESIDE) or dict(engine.given).get(engine.drafting_option or ""):
        from kvcalc.scenario.asked_beside import adapters_of, drafting_of

        adapters = adapters_of(engine, found.model, given)
        drafting, engine, beside = drafting_of(found.model, engine, given)
    asked = asked_workload(found.model, engine, given)
    return Scenario(
        model=found.model,
        workload=asked.workload,
        gpu=gpu,
        cache_format=cache_format(
            found.model, given["cache_dtype"], given["conv_dtype"], given["state_dtype"], engine.tensor_names
        ),
        deployment=_deployment(given, gpu) or of_cards,
        gpu_limit=_gpu_limit(given),
        engine=engine,
        cache_format_given=given["cache_dtype"] is not None,
        dtype_given=given["dtype"] is not None,
        weight_format=_weight_format(found.model, given["weight_dtype"]),
        utilization=_utilization(engine, gpu, given["utilization"]),
        replacements=Replacements(
            weights=given["weights"],
            temporary=given["temporary"],
            overhead=given["overhead"],
            reserve=given["reserve"] or (),
        ),
        allow_pp=given["allow_pp"],
        shared_prefix=asked.shared_prefix,
        prefix_groups=asked.prefix_groups,
        spill=given["spill"],
        beside=_beside_gpus(given),
        drafting=drafting,
        lora=adapters,
        origin=found.origin,
        notes=(
            *found.notes,
            *model_notes,
            *asked.notes,
            *engine_notes,
            *_engine_notes(engine),
            *beside,
            *_unused_formats(found.model, given),
        ),
    )


def _weight_format(model: Model, asked: str | None) -> ElementFormat | None:
    """What is asked for, also by a model's file that names one of llama.cpp's formats and lists no parts."""
    if asked is not None:
        return find_asked_format(asked, "--weight-dtype")
    if model.weight_dtype is None or model.weights:
        return None
    stored = find_asked_format(model.weight_dtype, "weight_dtype")
    return stored if is_of_llama_cpp(stored) else None


def _beside_gpus(given: Mapping[str, Any]) -> BesideGpus:
    if given["disk_bandwidth"] is not None and given["disk"] is None:
        raise KvcalcError("--disk-bandwidth: is of a disk; give its size too (--disk SIZE)")
    return BesideGpus(*(given[name] for name in ("host_memory", "disk", "disk_bandwidth", "handoff", "rps")))


def _computed_in(engine: Engine, published: Model, loaded: Model) -> Note:
    return note(
        "computed-in-another-format",
        f"{engine.name} computes {published.name} in {loaded.dtype}, where it is published in {published.dtype} "
        "(--dtype sets it)",
        published=published.dtype,
        computed=loaded.dtype,
    )


def scenario_of(model: Model | str | Path | Scenario | None, options: Mapping[str, Any]) -> Scenario:
    """A scenario as it is, or one that is made.

    Raises:
        TypeError: a scenario, and options.
        KvcalcError: anything that cannot be, with the option named.
    """
    if not isinstance(model, Scenario):
        return make_scenario(model, **options)
    if given_of(options):
        raise TypeError("a scenario has its options already: dataclasses.replace() changes them")
    return model


def exact_unless_asked(model: object) -> dict[str, str]:
    """The engine of what compares formulas or proves them: no file decides it."""
    return {"engine": "exact"} if isinstance(model, str | Path) else {}


def gpu_of(gpu: Gpu | str, memory: int | None = None, node_size: int | None = None) -> Gpu:
    """The accelerator, with what is given instead of its own figures.

    Raises:
        KvcalcError: there is none of that name, or it is given no memory.
    """
    found = gpu if isinstance(gpu, Gpu) else find_gpu(gpu)
    if node_size is not None:
        found.check_shared(node_size, "--node-size")
        found = replace(found, gpus_per_node=node_size)
    if memory is None:
        return found
    if memory < 1:
        raise KvcalcError("--gpu-memory: must be at least 1 byte")
    return found.with_memory(memory)


def _engine_of(of_file: str | None, default: str, *, asked: str | None) -> tuple[str, tuple[Note, ...]]:
    """The engine asked for; llama.cpp for a file of its own format."""
    if asked is not None or of_file is None:
        return default, ()
    taken = f"a GGUF file is for llama.cpp: engine {of_file} is used (--engine exact: the plain formulas)"
    return of_file, (note("engine-of-file", taken, engine=of_file),)


def _engine_notes(engine: Engine) -> Iterator[Note]:
    if engine.asked_version is not None:
        yield note(
            "older-engine-version",
            f"{engine.name} {engine.asked_version} is counted by the rules of {engine.version}, the nearest version "
            "before it whose rules are known",
            asked=engine.asked_version,
            followed=engine.version,
        )


def _utilization(engine: Engine, gpu: Gpu, given: Fraction | None) -> Fraction:
    if given is not None and engine.utilization is None:
        own = f"; its options are {', '.join(engine.options)}" if engine.options else ""
        raise KvcalcError(f"--utilization: engine {engine.name} takes no such share of the memory{own}")
    return given or engine.default_utilization(gpu) or DEFAULT_UTILIZATION


DRAFTING = ("draft", "draft_tp", "draft_tokens", "draft_weights", "mtp", "acceptance_length")
BESIDE = (*DRAFTING, "lora", "max_loras", "lora_modules")
"""Options of what lies beside a model."""
_SIZES = ("tp", "pp", "dp", "ep", "dcp")


def _deployment(given: Mapping[str, Any], gpu: Gpu) -> Deployment | None:
    """The one asked for; None leaves the choice open."""
    sizes = {name: given[name] for name in _SIZES if given[name] is not None}
    if given["gpus"] is not None or not (sizes or given["dp_attention"]):
        return None
    asked = Deployment(**sizes, dp_attention=given["dp_attention"])
    gpu.check_shared(asked.connected_ranks, "--gpu")
    return asked


def _of_cards(gpu: Gpu, engine: Engine, *, limited: bool) -> Deployment | None:
    """The only deployment over cards that need not be alike; None of one accelerator."""
    check_cards(gpu, engine)
    if gpu.number_together is not None and limited:
        raise KvcalcError(f"--gpus: --gpu {gpu.name} names all cards of the deployment; leave --gpus out")
    return None if gpu.number_together is None else Deployment(pp=gpu.number_together)


def check_cards(gpu: Gpu, engine: Engine) -> None:
    """Several cards together need an engine that splits a model over unlike ones.

    Raises:
        KvcalcError: it splits nothing over them.
    """
    if gpu.number_together is not None and not engine.unlike_cards:
        raise KvcalcError(
            f"--gpu: {gpu.name} is one deployment over unlike cards, which engine {engine.name} has none of; --engine "
            f"llama-cpp has, and --gpu {gpu.name.replace('+', ',')} are alternatives (kvcalc plan)"
        )


def _gpu_limit(given: Mapping[str, Any]) -> GpuLimit | None:
    """The request of --gpus, which leaves nothing but the number of replicas to the user."""
    if given["gpus"] is None:
        return None
    chosen = [f"--{name}" for name in _SIZES if name != "dp" and given[name] is not None]
    chosen += ["--dp-attention"] if given["dp_attention"] else []
    if chosen:
        raise KvcalcError(f"--gpus: chooses the deployment; give --gpus, or {' and '.join(chosen)}, not both")
    return GpuLimit(given["gpus"], given["dp"] or 1)


def _unused_formats(model: Model, given: Mapping[str, Any]) -> Iterator[Note]:
    """Of formats that were asked for, those that nothing is kept in."""
    roles = {tensor.role for tensor in model.cached_tensors}
    for name, role in (("conv", Role.CONV), ("state", Role.STATE)):
        if given[f"{name}_dtype"] is not None and role not in roles:
            option = f"--{name}-dtype"
            yield note("unused-option", f"{option}: no layer of this model keeps such a state", options=(option,))
    if given["cache_dtype"] is not None and roles and not roles & {Role.CACHE, Role.INDEX}:
        yield note(
            "unused-option",
            "--cache-dtype: no layer keeps keys or values; --state-dtype and --conv-dtype are for states",
            options=("--cache-dtype",),
        )
