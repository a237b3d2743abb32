"""What becomes a line or a bar: a combination of the axes' values, and what it is asked for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.catalogue import find_gpu, find_model
from kvcalc.errors import KvcalcError
from kvcalc.model.model import Model
from kvcalc.scenario.axes import AXES, axis_values
from kvcalc.scenario.make import make_scenario
from kvcalc.scenario.option import read_options
from kvcalc.scenario.options import Assumptions
from kvcalc.units import MAX_CONTEXT
from kvcalc.verbs.comparing.row import why_not_kept
from kvcalc.verbs.comparing.what_if import variants
from kvcalc.verbs.sweeping.columns import ERROR, error_columns
from kvcalc.verbs.sweeping.one_by_one import row_of
from kvcalc.verbs.sweeping.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kvcalc.scenario import Scenario
    from kvcalc.verbs.comparing.what_if import Variant
    from kvcalc.verbs.sweeping.columns import Columns

MAX_LINES = 24
"""Of a picture that can be read."""

MAX_POINTS = 512
"""Of a line."""


class Line(NamedTuple):
    """One line, before its points are known.

    Attributes:
        shown: the words of the values that make it, by the name of their axis.
        options: of its scenarios, without batch and context.
        batch: sequences, where that is no axis of the picture.
        context: tokens, where that is no axis of the picture; None: the default.
        max_context: the model's.
        at: the same line with further options.
        scenario: makes the scenario of a batch and a context.
        columns: makes the rows of a sweep, of some fields, at batches and contexts of which one is a single value.
    """

    shown: dict[str, str]
    options: dict[str, Any]
    batch: int
    context: Any
    max_context: int | None
    at: Callable[[Mapping[str, Any]], Line]
    scenario: Callable[[int, Any], Scenario]
    columns: Callable[[Sequence[str], Sequence[int], Sequence[Any]], Columns]


def lines_of(models: Sequence[Any], given: Mapping[str, Any], x: str | None, *, mechanisms: bool) -> list[Line]:
    """A line of every combination of the axes' values but those of x.

    Raises:
        KvcalcError: an axis or a fixed option cannot be read, a model cannot be found, or there are too many lines.
    """
    axes = {name: axis_values(name, given[name]) for name in AXES if name in given and name != x}
    fixed = {name: value for name, value in given.items() if name not in AXES}
    if not models and fixed.get("layers") is None:
        raise KvcalcError("MODEL: missing; name models (kvcalc models list), or describe one with --layers ...")
    number = max(1, len(models)) * prod(map(len, axes.values()))
    if number > MAX_LINES:
        raise KvcalcError(f"plot: {number:,} lines are more than {MAX_LINES}; kvcalc sweep writes as many to a file")
    found = [_found(model, fixed) for model in models or (None,)]
    lines: list[Line] = []
    for name, model in found:
        for values in product(*axes.values()):
            options = {**fixed, **{key: value for key, value in zip(axes, values, strict=True) if value is not None}}
            lines += _mechanisms(name, model, options) if mechanisms else [_line(name, model, options)]
    if len(lines) > MAX_LINES:
        raise KvcalcError(f"plot: {len(lines):,} lines are more than {MAX_LINES}; name fewer models")
    return lines


def _found(model: Any, fixed: Mapping[str, Any]) -> tuple[str, Any]:
    """A model's name, and the model: read once, since it may be a pipe or a repository."""
    if isinstance(model, Model) or model is None:
        return (model.name if model else "model"), model
    if not isinstance(model, str | Path):
        return str(getattr(model, "name", "model")), model
    found = find_model(str(model), read_options(Assumptions, {"assume": fixed.get("assume")})["assume"])
    return found.model.name, found


def _line(name: str, model: Any, options: dict[str, Any]) -> Line:
    shown = {"model": name} | {key: _words(key, options[key]) for key in AXES if key in options}
    batch, context, others = _apart(options)
    of = partial(_scenario, model, others)

    def at(more: Mapping[str, Any]) -> Line:
        return _line(name, model, {**options, **more})._replace(shown=shown)

    return Line(shown, others, batch, context, _max_context(model, of), at, of, _Swept(model, others))


def _mechanisms(name: str, model: Any, options: dict[str, Any]) -> Iterator[Line]:
    """The model under each mechanism."""
    plain = _line(name, model, options)
    own = plain.scenario(1, 1)
    for variant in variants(own.model):
        if why_not_kept(replace(own, model=variant.model, weights_as=own.model)) is None:
            words = f"{variant.name} (as it is)" if variant.own else f"as {variant.name}"
            yield _under(plain._replace(shown=plain.shown | {"mechanism": words}), variant)


def _under(plain: Line, variant: Variant) -> Line:
    """A line of a model under one mechanism."""
    if variant.own:
        return plain

    def of(batch: int, context: Any) -> Scenario:
        scenario = plain.scenario(batch, context)
        return replace(scenario, model=variant.model, weights_as=scenario.model)

    def at(more: Mapping[str, Any]) -> Line:
        return _under(plain.at(more)._replace(shown=plain.shown), variant)

    return plain._replace(at=at, scenario=of, columns=partial(_each, of))


def _apart(options: dict[str, Any]) -> tuple[int, Any, dict[str, Any]]:
    others = {name: value for name, value in options.items() if name not in {"batch", "context"}}
    return options.get("batch", 1), options.get("context"), others


def _scenario(model: Any, options: Mapping[str, Any], batch: int, context: Any) -> Scenario:
    return make_scenario(model, **options, batch=batch, context=context)


def _max_context(model: Any, of: Callable[[int, Any], Scenario]) -> int | None:
    if model is None:
        return of(1, 1).model.max_context
    found: int | None = getattr(model, "model", model).max_context
    return found


class _Swept:
    """Makes rows as a sweep has them, from what is settled once."""

    def __init__(self, model: Any, options: Mapping[str, Any]) -> None:
        self._model, self._options = model, options
        self._settings: dict[tuple[str, ...], Setting] = {}

    def __call__(self, fields: Sequence[str], batches: Sequence[int], contexts: Sequence[Any]) -> Columns:
        names = tuple(dict.fromkeys((*fields, ERROR)))
        if names not in self._settings:
            self._settings[names] = Setting(self._model, self._options, names)
        if len(contexts) == 1:
            return self._settings[names].over_batch(contexts[0], batches)
        return self._settings[names].over_context(batches[0], contexts)


def _each(
    of: Callable[[int, Any], Scenario], fields: Sequence[str], batches: Sequence[int], contexts: Sequence[Any]
) -> Columns:
    """Rows of scenarios that no options make."""
    names = tuple(dict.fromkeys((*fields, ERROR)))
    rows = []
    for batch, context in product(batches, contexts):
        try:
            scenario = of(batch, context)
        except KvcalcError as error:
            rows.append({**error_columns(names, error.sentence, 1), "context": [context]})
        else:
            rows.append({**row_of(scenario, names), "context": [scenario.workload.context]})
    return {name: [row[name][0] for row in rows] for name in (*names, "context")}


def _words(axis: str, value: Any) -> str:
    """A value as a line is named by it."""
    text = f"{value:,}" if isinstance(value, int) else str(getattr(value, "name", value))
    if axis == "gpu" and isinstance(value, str):
        with suppress(KvcalcError):  # the points say what is wrong with it
            text = find_gpu(value).name
    before = {"batch": "batch ", "context": "context ", "tp": "tp ", "pp": "pp ", "weight_dtype": "weights "}
    return f"{before.get(axis, '')}{text}"


def without(line: Line, axis: str) -> Line:
    """The line as it is named without an axis."""
    return line._replace(shown={key: words for key, words in line.shown.items() if key != axis})


def names_of(lines: Sequence[Line]) -> list[str]:
    """What tells each line from the others, in words."""
    keys = dict.fromkeys(key for line in lines for key in line.shown)
    varies = [key for key in keys if len({line.shown.get(key) for line in lines}) > 1]
    return [", ".join(line.shown[key] for key in varies or ["model"] if key in line.shown) for line in lines]


def in_common(lines: Sequence[Line]) -> dict[str, str]:
    """The words that are those of all lines."""
    first = lines[0].shown
    return {key: words for key, words in first.items() if all(line.shown.get(key) == words for line in lines)}


def contexts_of(line: Line, given: Any) -> Sequence[Any]:
    """The contexts of a line: those given, else 1Ki, 2Ki and so on to the model's max_context.

    Raises:
        KvcalcError: too many for a line.
    """
    if given is not None:
        return at_most(axis_values("context", given), "--context")
    most = min(line.max_context or 128 * 1024, MAX_CONTEXT)
    found = [1024]
    while found[-1] * 2 <= most:
        found.append(found[-1] * 2)
    return [each for each in found if each < most] + [most]


def at_most(values: Sequence[Any], label: str) -> Sequence[Any]:
    """The values of an axis, unless they are too many.

    Raises:
        KvcalcError: they are.
    """
    if len(values) > MAX_POINTS:
        raise KvcalcError(
            f"{label}: {len(values):,} points are more than the {MAX_POINTS} of a line; kvcalc sweep writes as many"
        )
    return values
