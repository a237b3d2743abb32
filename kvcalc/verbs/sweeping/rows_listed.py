"""Rows of scenarios that a file lists: those alike share what is settled once."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.scenario.axes import AXES, COUNTS
from kvcalc.scenario.listed import in_parts
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import ScenarioOptions
from kvcalc.verbs.sweeping.columns import Chunk, error_columns
from kvcalc.verbs.sweeping.grid import ALWAYS
from kvcalc.verbs.sweeping.setting import Family, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvcalc.scenario.listed import Line, Listed
    from kvcalc.verbs.sweeping.columns import Columns

_ROWS = 512
_SETTINGS = 128
_DEPLOYED = {"tp", "pp", "dp", "ep", "dcp", "dp_attention"}


class RowsListed:
    """The scenarios of a file.

    Attributes:
        number: of scenarios: None, since nobody has counted the lines.
        columns: their names, those of options first.
    """

    def __init__(self, listed: Listed, fixed: Mapping[str, Any], fields: Sequence[str]) -> None:
        self._listed, self._fixed, self._fields = listed, fixed, tuple(fields)
        others = [name for name in listed.columns if name not in AXES]
        self._shown = [*(name for name in AXES if name in ALWAYS or name in listed.columns), *others]
        self._settings: OrderedDict[object, Setting] = OrderedDict()
        self._families: OrderedDict[object, Family] = OrderedDict()
        self.columns = (*self._shown, *self._fields)
        self.number: int | None = None

    def chunks(self, shard: tuple[int, int] = (1, 1)) -> Iterator[Chunk]:
        """The rows, or every so many-th of them."""
        first, every = shard
        lines = (line for number, line in enumerate(self._listed.lines) if number % every == first - 1)
        for part in in_parts(lines, _ROWS):
            rows = [self._row(line) for line in part]
            for family in self._families.values():
                family.forget()
            yield Chunk(len(rows), {name: [row[name][0] for row in rows] for name in self.columns})

    def _row(self, line: Line) -> Columns:
        given = {name: _read(name, value) for name, value in line.options.items() if value is not None}
        shown: Columns = {name: [_shown(given.get(name))] for name in self._shown}
        batch, context = given.pop("batch", 1), given.pop("context", None)
        if line.error is not None:
            return {**shown, **error_columns(self._fields, line.error, 1)}
        setting = self._setting({**self._fixed, **given})
        return {**shown, **setting.over_batch(context, [batch]), "batch": [batch]}

    def _setting(self, options: dict[str, Any]) -> Setting:
        key = repr(sorted(options.items()))
        if key not in self._settings:
            alike = repr(sorted((name, value) for name, value in options.items() if name not in _DEPLOYED))
            family = self._families.setdefault(alike, Family())
            model = options.pop("model", None)
            self._settings[key] = Setting(model, options, self._fields, family)
            for remembered in (self._settings, self._families):
                if len(remembered) > _SETTINGS:
                    remembered.popitem(last=False)
        return self._settings[key]


def _read(name: str, value: Any) -> Any:
    """A count as a number; what is none stays as it is, for who says what is wrong with it."""
    if name not in COUNTS or not isinstance(value, str):
        return value
    try:
        return options_of(ScenarioOptions)[name].read(value, name)
    except KvcalcError:
        return value


def _shown(value: Any) -> Any:
    """A value of a column: as it is given, and as one text where it is several."""
    if isinstance(value, list):
        return ";".join(map(str, value))
    return ";".join(f"{name}={each}" for name, each in value.items()) if isinstance(value, dict) else value
