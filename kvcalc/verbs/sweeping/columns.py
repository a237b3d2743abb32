"""The columns of a sweep: the figures of `estimate` by their place in its JSON, joined by '_'."""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.scenario.axes import AXES, COUNTS
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import ScenarioOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvcalc.record import Plain

FIGURES = (
    "cache_bytes",
    "cache_bytes_per_rank",
    "cache_bytes_per_sequence",
    "cache_bytes_per_token",
    "memory_total_bytes",
    "memory_per_rank_total_bytes",
    "gpus_fits",
    "gpus_tight",
    "gpus_by_memory",
    "gpus_count",
    "gpus_tp",
    "gpus_pp",
    "gpus_dp",
    "most_sequences",
)
"""What a row has unless other fields are asked for; `most_sequences` is `answer.sequences`."""

ERROR = "error"
FIELDS = (*FIGURES, ERROR)

Columns = dict[str, "Sequence[Any]"]
"""By name, a value for each of some consecutive rows."""


class Chunk(NamedTuple):
    """Some consecutive rows, column by column.

    Attributes:
        rows: how many.
        columns: each with as many values.
    """

    rows: int
    columns: Columns


def error_columns(fields: Sequence[str], error: str, rows: int) -> Columns:
    """Rows of scenarios that are wrong in the same way."""
    return {name: [error if name == ERROR else None] * rows for name in fields}


def fields_of(asked: str | Sequence[str] | None) -> tuple[str, ...]:
    """The columns that are asked for, in that order; those of `FIELDS` where none are.

    Raises:
        KvcalcError: one that no estimate has, or one twice.
    """
    if asked is None:
        return FIELDS
    names = tuple(name.strip() for name in (asked.split(",") if isinstance(asked, str) else asked))
    known = FIELDS if set(names) <= set(FIELDS) else (*FIELDS, *_others())
    for name in names:
        if name not in known:
            hint = (
                did_you_mean(name, known) or f"; those of every row are {', '.join(FIELDS)}; estimate --json has more"
            )
            raise KvcalcError(f"--fields: no field '{name[:60]}'{hint}")
        if names.count(name) > 1:
            raise KvcalcError(f"--fields: '{name}' is given twice")
    return names


@cache
def _others() -> dict[str, type]:
    """Every single figure of an estimate, and its type: text of what an estimate may lack."""
    from kvcalc.scenario.make import make_scenario  # hardly ever asked for
    from kvcalc.verbs.estimate import estimate

    samples = (
        make_scenario("llama-3-8b", context=1, tp=1, spill=True),
        make_scenario("deepseek-v3", context=1, tp=8, gpu="h200", mtp=1, handoff="50GB"),
    )
    flats = [flat(estimate(sample).to_dict()) for sample in samples]
    found: dict[str, type] = {}
    for name in chain.from_iterable(flats):
        values = [each[name] for each in flats if each.get(name) is not None]
        if values or all(name in each for each in flats):  # else an object, which one of them has not
            found[name] = type(values[0]) if values else str
    return found


def figures_in(columns: Iterable[str]) -> tuple[str, ...]:
    """Of some columns, those that are figures of `estimate`."""
    return tuple(name for name in columns if name in FIGURES or name in _others())


def kinds_of(columns: Sequence[str]) -> dict[str, type]:
    """The type of each column's values: integers, numbers, truths or texts."""
    kinds: dict[str, type] = dict.fromkeys(FIGURES, int) | dict.fromkeys(("gpus_fits", "gpus_tight"), bool)
    kinds |= dict.fromkeys(COUNTS, int)
    kinds |= {name: bool for name, option in options_of(ScenarioOptions).items() if not option.metavar}
    others = {} if set(columns) <= {*FIELDS, *AXES} else _others()
    return {name: kinds.get(name) or others.get(name, str) for name in columns}


def flat(value: Mapping[str, Plain], prefix: str = "") -> dict[str, Plain]:
    """The single figures of an object, by their place in it; lists are left out."""
    found: dict[str, Plain] = {}
    for key, item in value.items():
        name = f"{prefix}_{key}" if prefix else key
        if isinstance(item, dict):
            found |= flat(item, name)
        elif not isinstance(item, list):
            found[name] = item
    return found
