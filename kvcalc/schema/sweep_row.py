"""The schema of a line of `kvcalc sweep --format jsonl`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.scenario.axes import AXES, COUNTS
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import SweepOptions
from kvcalc.verbs.sweeping.columns import ERROR, FIGURES, kinds_of
from kvcalc.verbs.sweeping.grid import ALWAYS

if TYPE_CHECKING:
    from kvcalc.schema.types import Schema

SWEEP = "sweep"

_NAMES = {int: "integer", bool: "boolean", float: "number", str: "string"}


def row_schema() -> dict[str, Any]:
    """A row has its axes, then the fields that were asked for; a wrong scenario's has an error and no figures.

    `--fields` names figures beside these, and `--from` options beside the axes: they have any single value.
    """
    kinds = kinds_of((*AXES, *FIGURES))
    properties: dict[str, Schema] = {}
    for name in AXES:
        # what is no number is told in the row as it was given
        types = ["integer", "string", "null"] if name in COUNTS else ["string", "null"]
        properties[name] = {"type": types, "description": options_of(SweepOptions)[name].help}
    for name in FIGURES:
        properties[name] = {"type": [_NAMES[kinds[name]], "null"]}
    properties[ERROR] = {"type": ["string", "null"], "description": "Why there are no figures; null where there are."}
    return {
        "title": "a line of kvcalc sweep --format jsonl",
        "type": "object",
        "properties": properties,
        "required": list(ALWAYS),
        "additionalProperties": {"type": [*_NAMES.values(), "null"]},
    }
