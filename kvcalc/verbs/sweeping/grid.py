"""A grid of scenarios: every combination of the values of its axes, as chunks of rows in one order.

The last axis changes fastest. A chunk is a box of batches, contexts and settings, which is filled along its longer
side; rows that other axes part are put between each other again.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

from kvcalc.scenario.axes import AXES
from kvcalc.verbs.sweeping.columns import Chunk
from kvcalc.verbs.sweeping.setting import Family, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvcalc.verbs.sweeping.columns import Columns

_ROWS = 8192
"""Of a chunk, at most."""

_ENOUGH = 16
"""Batches along which to fill a chunk, however many contexts there are: all of a batch is a line, of a context not."""

_SETTINGS = 512
"""Those that are remembered, and as many families."""

_INNER = ("cache_dtype", "weight_dtype", "gpu", "tp", "pp", "engine")
"""Axes within each model, batch and context."""

_DEPLOYED = {"tp", "pp"}
"""Axes that leave the smallest deployment as it is."""

ALWAYS = ("model", "batch", "context")
"""Axes whose columns are there whether they are given or not."""


class Grid:
    """The scenarios of some axes, all else being the same.

    Attributes:
        number: of scenarios.
        columns: their names, the axes first.
    """

    def __init__(self, axes: Mapping[str, Sequence[Any]], fixed: Mapping[str, Any], fields: Sequence[str]) -> None:
        """A grid.

        Args:
            axes: the values of each of `AXES` that is given.
            fixed: other options of all scenarios.
            fields: the columns behind those of the axes.
        """
        self._axes: dict[str, Sequence[Any]] = {name: axes.get(name, (None,)) for name in AXES}
        self._axes["batch"] = axes.get("batch", (1,))
        self._fixed, self._fields = fixed, tuple(fields)
        self._shown = [name for name in AXES if name in ALWAYS or name in axes]
        self._sizes = [len(self._axes[name]) for name in _INNER]
        self._inner = prod(self._sizes)
        self._settings: OrderedDict[tuple[int, int], Setting] = OrderedDict()
        self._families: OrderedDict[tuple[int, ...], Family] = OrderedDict()
        self.columns = (*self._shown, *self._fields)
        self.number = prod(len(values) for values in self._axes.values())

    def chunks(self, start: int, stop: int) -> Iterator[Chunk]:
        """The rows from one number to another, counted from 0."""
        models, batches, contexts = (self._axes[name] for name in ALWAYS)
        while start < stop:
            at, inner = divmod(start, self._inner)
            at, context = divmod(at, len(contexts))
            model, batch = divmod(at, len(batches))
            number, row = stop - start, len(contexts) * self._inner
            if not inner and not context and number >= row and row <= _ROWS:
                many = min(len(batches) - batch, min(number, _ROWS) // row)
                box = batches[batch : batch + many], contexts, range(self._inner)
            elif not inner and number >= self._inner and self._inner <= _ROWS:
                many = min(len(contexts) - context, min(number, _ROWS) // self._inner)
                box = batches[batch : batch + 1], contexts[context : context + many], range(self._inner)
            else:
                many = min(self._inner - inner, number, _ROWS)
                box = batches[batch : batch + 1], contexts[context : context + 1], range(inner, inner + many)
            chunk = self._filled(model, models[model], *box)
            yield chunk
            start += chunk.rows

    def _filled(
        self, place: int, model: Any, batches: Sequence[Any], contexts: Sequence[Any], settings: range
    ) -> Chunk:
        each = [self._setting(place, model, inner) for inner in settings]
        if len(batches) >= min(_ENOUGH, len(contexts)):
            parts = [setting.over_batch(context, batches) for context in contexts for setting in each]
            columns = {name: _between([part[name] for part in parts]) for name in self._fields_and_context()}
        else:
            by_batch = [[setting.over_context(batch, contexts) for setting in each] for batch in batches]
            columns = {
                name: list(chain.from_iterable(_between([part[name] for part in parts]) for parts in by_batch))
                for name in self._fields_and_context()
            }
        rows = len(batches) * len(contexts) * len(settings)
        for family in self._families.values():
            family.forget()
        return Chunk(rows, self._with_axes(columns, rows, model, batches, settings))

    def _fields_and_context(self) -> tuple[str, ...]:
        return ("context", *self._fields)

    def _with_axes(self, columns: Columns, rows: int, model: Any, batches: Sequence[Any], settings: range) -> Columns:
        found: Columns = {}
        for name in self._shown:
            if name == "context":
                found[name] = columns["context"]
            elif name == "model":
                found[name] = [_text(model)] * rows
            elif name == "batch":
                each = rows // len(batches)
                found[name] = list(chain.from_iterable([batch] * each for batch in batches))
            else:
                values = [_text(self._value(name, inner)) for inner in settings]
                found[name] = values * (rows // len(settings))
        return found | {name: columns[name] for name in self._fields}

    def _value(self, name: str, inner: int) -> Any:
        """The value of an inner axis in one of its combinations."""
        place = _INNER.index(name)
        return self._axes[name][inner // prod(self._sizes[place + 1 :]) % self._sizes[place]]

    def _setting(self, place: int, model: Any, inner: int) -> Setting:
        key = place, inner
        if key not in self._settings:
            values = {name: self._value(name, inner) for name in _INNER}
            options = {**self._fixed, **{name: value for name, value in values.items() if value is not None}}
            alike = (
                place,
                *(
                    inner // prod(self._sizes[at + 1 :]) % self._sizes[at]
                    for at, name in enumerate(_INNER)
                    if name not in _DEPLOYED
                ),
            )
            family = self._families.setdefault(alike, Family())
            self._settings[key] = Setting(model, options, self._fields, family)
            if len(self._settings) > _SETTINGS:
                self._settings.popitem(last=False)
            if len(self._families) > _SETTINGS:
                self._families.popitem(last=False)
        return self._settings[key]


def _between(parts: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """The first of each part, then the second of each, and so on."""
    return parts[0] if len(parts) == 1 else list(chain.from_iterable(zip(*parts, strict=True)))


def _text(value: Any) -> Any:
    """A value of an axis as its column has it: the name of what is given as an object."""
    return value if value is None or isinstance(value, int) else str(getattr(value, "name", value))
