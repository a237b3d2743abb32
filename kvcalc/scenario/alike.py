"""Scenarios that are compared: several models, formats of a cache or engines, at one context."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvcalc.engines import engine_asked
from kvcalc.errors import KvcalcError
from kvcalc.model.model import Model
from kvcalc.note import note
from kvcalc.scenario.asked_workload import MEDIA
from kvcalc.scenario.format_list import split_formats
from kvcalc.scenario.make import exact_unless_asked, scenario_of
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import CompareOptions
from kvcalc.scenario.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    AnyModel = Model | str | Path | Scenario

_OF_ONE_MODEL = ("weights", "parameters", "assume")


def scenarios_alike(
    models: AnyModel | Sequence[AnyModel] | None,
    cache_dtype: str | Sequence[str] | None,
    engine: str | Sequence[str] | None,
    options: Mapping[str, Any],
) -> list[Scenario]:
    """A scenario of each model in each format under each engine.

    Without a context, the least of their own defaults is taken for all.

    Args:
        models: one or several; None where numbers of the options describe one.
        cache_dtype: 'bf16,fp8', or a list of them; None is each model's own.
        engine: 'exact,vllm', or a list of them; None is the default. An option of an engine is for those that have it.
        options: those that all have.

    Raises:
        TypeError: a scenario, and options.
        KvcalcError: anything that cannot be, with the option named.
    """
    several = models if models is not None and not isinstance(models, (Model, str, Path, Scenario)) else [models]
    formats: Sequence[str | None] = [None]
    if cache_dtype:
        formats = split_formats(cache_dtype) if isinstance(cache_dtype, str) else cache_dtype
    engines = list(_engines(engine, options))
    for name in _OF_ONE_MODEL:
        if len(several) > 1 and options.get(name):
            raise KvcalcError(f"--{name}: is of one model, and {len(several)} are given")
    asked = _asked(several, formats, engines, options)
    told = any(options.get(name) is not None for name in ("context", "input_tokens", "mix"))
    contexts = {each.workload.context for each in asked}
    if len(contexts) <= 1 or told or any(isinstance(each, Scenario) for each in several):
        return asked
    if any(options.get(name) is not None for name in MEDIA):
        of_text = _asked(several, formats, engines, {**options, **dict.fromkeys(MEDIA)})
        contexts = {each.workload.context for each in of_text}
    least = min(contexts)
    taken = note(
        "default-context",
        f"context is not given: {least:,} is used, the least of what each model would have (-c sets it)",
        context=least,
    )
    again = _asked(several, formats, engines, {**options, "context": least})
    return [replace(each, notes=(taken, *each.notes)) for each in again]


def _asked(
    models: Sequence[AnyModel | None],
    formats: Sequence[str | None],
    engines: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
) -> list[Scenario]:
    each_way = product(models, formats, engines)
    return [
        scenario_of(model, {**exact_unless_asked(model), **options, "cache_dtype": cache_dtype, **own})
        for model, cache_dtype, own in each_way
    ]


def _engines(engine: str | Sequence[str] | None, options: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The options of each engine.

    Raises:
        KvcalcError: no such engine, or an option that none of several has.
    """
    names = [] if engine is None else engine.split(",") if isinstance(engine, str) else list(engine)
    if len(names) <= 1:
        yield {"engine": names[0]} if names else {}
        return
    kinds = {name.strip(): engine_asked(name.strip())[0] for name in names}
    known = options_of(CompareOptions)["engine_option"]
    given = known.read(options["engine_option"], known.label) if options.get("engine_option") else {}
    for key in given:
        if not any(key in kind.options for kind in kinds.values()):
            raise KvcalcError(f"{known.label}: none of {', '.join(kinds)} has an option '{key[:60]}'")
    block_size = options.get("block_size")
    if block_size is not None and not any(kind.block_option for kind in kinds.values()):
        raise KvcalcError(f"--block-size: none of {', '.join(kinds)} counts in blocks")
    for name in names:
        kind = kinds[name.strip()]
        yield {
            "engine": name.strip(),
            "engine_option": {key: value for key, value in given.items() if key in kind.options} or None,
            "block_size": block_size if kind.block_option else None,
        }
