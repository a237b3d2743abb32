"""Scenarios that are compared: several models or several formats of a cache, at one context."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.model.model import Model
from kvcalc.note import note
from kvcalc.scenario.format_list import split_formats
from kvcalc.scenario.make import scenario_of
from kvcalc.scenario.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    AnyModel = Model | str | Path | Scenario

_OF_ONE_MODEL = ("weights", "parameters", "assume")


def scenarios_alike(
    models: AnyModel | Sequence[AnyModel] | None,
    cache_dtype: str | Sequence[str] | None,
    options: Mapping[str, Any],
) -> list[Scenario]:
    """A scenario of each model in each format; without a context, the least of their own defaults is taken for all.

    Args:
        models: one or several; None where numbers of the options describe one.
        cache_dtype: 'bf16,fp8', or a list of them; None is each model's own.
        options: those that all have.

    Raises:
        TypeError: a scenario, and options.
        KvcalcError: anything that cannot be, with the option named.
    """
    several = models if models is not None and not isinstance(models, (Model, str, Path, Scenario)) else [models]
    formats: Sequence[str | None] = [None]
    if cache_dtype:
        formats = split_formats(cache_dtype) if isinstance(cache_dtype, str) else cache_dtype
    for name in _OF_ONE_MODEL:
        if len(several) > 1 and options.get(name):
            raise KvcalcError(f"--{name}: is of one model, and {len(several)} are given")
    asked = _asked(several, formats, options)
    contexts = {each.workload.context for each in asked}
    told = any(options.get(name) is not None for name in ("context", "input_tokens"))
    if len(contexts) <= 1 or told or any(isinstance(each, Scenario) for each in several):
        return asked
    least = min(contexts)
    taken = note(
        "default-context",
        f"context is not given: {least:,} is taken, the least of what each model would have (-c sets it)",
        context=least,
    )
    return [
        replace(each, notes=(taken, *each.notes)) for each in _asked(several, formats, {**options, "context": least})
    ]


def _asked(
    models: Sequence[AnyModel | None], formats: Sequence[str | None], options: Mapping[str, Any]
) -> list[Scenario]:
    return [scenario_of(model, {**options, "cache_dtype": each}) for model in models for each in formats]
