"""kvcalc from Python: the same calculations as on the command line, by name or by value.

Numbers may be integers or the spellings of the command line ('128Ki', '1.5GiB').
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from kvcalc.catalogue import find_gpu, find_model
from kvcalc.gpu import Gpu
from kvcalc.model.model import Model
from kvcalc.scenario import Scenario
from kvcalc.scenario.cache_memory import beside_cache_memory
from kvcalc.scenario.format_list import split_formats
from kvcalc.scenario.make import DEFAULT_GPU, asked_alike, make_scenario
from kvcalc.scenario.numbers import size_of
from kvcalc.scenario.options import Asked, Options, Varied, takes
from kvcalc.verbs.estimate import estimate as _estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from fractions import Fraction

    from kvcalc.verbs.capacity import Capacity
    from kvcalc.verbs.comparing.result import Comparison
    from kvcalc.verbs.estimate_result import Estimate
    from kvcalc.verbs.plan import Plan
    from kvcalc.verification.result import Verification

DEFAULT_MAX_GPUS = 1024
"""GPUs that a plan may use."""


def load_model(model: str | Path, *, assume: Mapping[str, Any] | None = None) -> Model:
    """A model from a YAML file or a config.json, or of the catalogue by name or hub id.

    Args:
        model: a path or a name.
        assume: keys and values that decide what an imported file does not.

    Raises:
        KvcalcError: there is none, or its file has mistakes.
    """
    return find_model(str(model), assume).model


def load_gpu(gpu: str) -> Gpu:
    """An accelerator of the catalogue, by name or alias.

    Raises:
        KvcalcError: there is none.
    """
    return find_gpu(gpu)


@takes(make_scenario, Options)
def estimate(model: Model | str | Path | Scenario, /, **options: Unpack[Options]) -> Estimate:
    """The cache, the memory and the GPU count: `estimate("llama-3-70b", batch=32, context="8Ki", tp=4)`.

    Args:
        model: a scenario, or what `make_scenario` takes.
        options: those of `make_scenario`.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    return _estimate(_asked(model, options))


@takes(make_scenario, Options)
def capacity(
    model: Model | str | Path | Scenario, /, *, cache_memory: int | str | None = None, **options: Unpack[Options]
) -> Capacity:
    """The most tokens, sequences and context that fit: `capacity("llama-3-70b", tp=8, context="8Ki").sequences`.

    Args:
        model: a scenario, or what `make_scenario` takes.
        cache_memory: bytes that one rank has for the cache, instead of what the accelerator leaves.
        options: those of `make_scenario`.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    from kvcalc.verbs.capacity import capacity as _capacity  # noqa: PLC0415  # for start-up time

    asked = _asked(model, options)
    if cache_memory is None:
        return _capacity(asked)
    given = (name for name, value in options.items() if value not in (None, False))
    asked = replace(asked, notes=(*asked.notes, *beside_cache_memory(given)))
    return _capacity(asked, size_of(cache_memory, "--cache-memory"))


def _asked(model: Model | str | Path | Scenario, options: Options) -> Scenario:
    if not isinstance(model, Scenario):
        return make_scenario(model, **options)
    if options:
        raise TypeError("a scenario has its options already: dataclasses.replace() changes them")
    return model


@takes(make_scenario, Asked)
def compare(
    models: Model | str | Path | Scenario | Sequence[Model | str | Path | Scenario],
    /,
    *,
    cache_dtype: str | Sequence[str] | None = None,
    **options: Unpack[Asked],
) -> Comparison:
    """One model under each mechanism, or several side by side: `compare("llama-3-70b").rows[0].cache_bytes`.

    Args:
        models: a scenario, or what `make_scenario` takes; or a list of them.
        cache_dtype: of the cache; several formats, 'bf16,fp8' or a list of them, are compared side by side.
        options: the others of `make_scenario`.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    from kvcalc.verbs.comparing import compare as _compare  # noqa: PLC0415  # for start-up time

    several = [models] if isinstance(models, (Model, str, Path, Scenario)) else models
    formats = split_formats(cache_dtype) if isinstance(cache_dtype, str) else cache_dtype or []

    def ask(model: Model | str | Path | Scenario, **more: Any) -> Scenario:
        given: Any = {**options, **more}
        return _asked(model, given)

    return _compare(asked_alike(ask, several, options, formats))


@takes(make_scenario, Varied)
def plan(
    model: Model | str | Path,
    /,
    *,
    gpu: Gpu | str | Sequence[Gpu | str] = DEFAULT_GPU,
    max_gpus: int | str = DEFAULT_MAX_GPUS,
    batch: int | str | None = None,
    tokens: int | str | None = None,
    rps: float | str | Fraction | None = None,
    latency: float | str | Fraction | None = None,
    spare: int | str = 0,
    prices: Mapping[str, float | str | Fraction] | None = None,
    limit: int | str = 10,
    tp: int | str | None = None,
    pp: int | str | None = None,
    gpu_memory: int | str | None = None,
    node_size: int | str | None = None,
    **options: Unpack[Varied],
) -> Plan:
    """The smallest legal deployments that hold a workload: `plan("llama-3-70b", batch=32).deployments[0].count`.

    Args:
        model: what `make_scenario` takes.
        gpu: accelerators to choose from; 'all' are those of the catalogue.
        max_gpus: at most so many.
        batch: sequences held at the same time; without any of the next three too, 1.
        tokens: tokens held at the same time, in sequences of `context`; instead of batch.
        rps: requests a second, with latency; instead of batch.
        latency: seconds that a request takes.
        spare: replicas beyond those that hold the workload.
        prices: accelerator -> USD of one for an hour; then the cheapest come first.
        limit: so many deployments.
        tp: this tensor-parallel size only.
        pp: this number of pipeline stages only.
        gpu_memory: of the only accelerator, instead of the catalogue's figure.
        node_size: GPUs that tensor parallelism may span, instead of the accelerators' own.
        options: of `make_scenario`, those that leave the deployment open.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    from kvcalc.scenario.plan_request import accelerators, limits, priced, sizing  # noqa: PLC0415  # for start-up time
    from kvcalc.verbs.plan import plan as _plan  # noqa: PLC0415  # likewise

    names = [gpu] if isinstance(gpu, (Gpu, str)) else gpu
    found = accelerators(names, gpu_memory, node_size)
    asked = make_scenario(model, gpu=found.gpus[0], **options)
    size = sizing(asked.workload.context, batch, tokens, rps, latency)
    notes = (each for each in (size.note, found.note) if each is not None)
    asked = replace(asked, workload=replace(asked.workload, batch=size.batch), notes=(*asked.notes, *notes))
    return _plan(asked, found.gpus, limits(max_gpus, spare, limit, tp, pp), priced(prices or {}, found.gpus))


def verify(
    model: Model | str | Path | Scenario,
    *,
    batch: int | str = 1,
    context: int | str | None = None,
    cache_dtype: str | None = None,
    state_dtype: str | None = None,
    conv_dtype: str | None = None,
    tp: int | str | None = None,
    pp: int | str | None = None,
    device: str = "auto",
    decode: bool = False,
    skip_unsupported: bool = False,
    boundary: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Verification:
    """Allocate a cache for real and check every byte: `verify("llama-3-8b", device="cpu").verified`.

    Args:
        model: a scenario, or what `make_scenario` takes; a scenario has the next seven already.
        batch: sequences.
        context: tokens of each.
        cache_dtype: an element format, or 'k=q8_0,v=q4_0'.
        state_dtype: the format of recurrent states.
        conv_dtype: the format of convolutions' inputs.
        tp: tensor-parallel ranks.
        pp: pipeline stages.
        device: where: meta (shapes without memory), cpu, cuda, or auto.
        decode: whether to fill the cache by prefill and decode from it on the CPU too.
        skip_unsupported: whether kinds of layers that cannot be verified leave the verdict alone.
        boundary: whether to find the most sequences that allocate beside the rest of a rank; they are then verified.
        progress: is told what is being done, how much of it, of how much.

    Raises:
        CannotRunError: no torch, no such device, or no room there.
        KvcalcError: anything that cannot be, with the option named.
    """
    from kvcalc.verification import verify_scenario  # noqa: PLC0415  # for start-up time

    asked: dict[str, Any] = {
        "context": context,
        "cache_dtype": cache_dtype,
        "state_dtype": state_dtype,
        "conv_dtype": conv_dtype,
        "tp": tp,
        "pp": pp,
    }
    if not isinstance(model, Scenario):
        model = make_scenario(model, batch=batch, **asked)
    elif batch != 1 or any(value is not None for value in asked.values()):
        raise TypeError("a scenario has its options already: dataclasses.replace() changes them")
    return verify_scenario(
        model, device=device, decode=decode, skip_unsupported=skip_unsupported, boundary=boundary, progress=progress
    )
