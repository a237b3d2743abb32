"""Which results each command prints, and their schemas.

They are the keys of the renderer's table: a result that can be shown has a schema.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError, nearest_or_all
from kvcalc.render.faces import REPORTS
from kvcalc.schema.sweep_row import SWEEP, row_schema
from kvcalc.schema.types import Definitions, Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.record import Result

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@cache
def commands() -> Mapping[str, tuple[type[Result], ...]]:
    """A command, its words joined by dashes -> what it may answer."""
    found: dict[str, tuple[type[Result], ...]] = {}
    for kind in REPORTS:
        name = kind.command.replace(" ", "-")
        found[name] = (*found.get(name, ()), kind)
    return found


@cache
def output_schema(command: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what a command prints with --json.

    Args:
        command: 'estimate', 'models list' or 'models-list'; of 'sweep' it is that of a line of JSON.

    Raises:
        KvcalcError: no command of that name prints JSON.
    """
    name = "-".join(command.split())
    if name == SWEEP:
        return {"$schema": DIALECT, **row_schema()}
    if name not in commands():
        raise KvcalcError(f"--of: no output '{command[:40]}'{nearest_or_all(name, (*commands(), SWEEP))}")
    definitions = Definitions()
    kinds = commands()[name]
    body = definitions.result(kinds[0]) if len(kinds) == 1 else _either(kinds, definitions)
    title = f"kvcalc {' '.join(name.split('-'))} --json"
    return {"$schema": DIALECT, "title": title, **body, "$defs": dict(sorted(definitions.found.items()))}


def _either(kinds: tuple[type[Result], ...], definitions: Definitions) -> Schema:
    """Of a command that answers in several ways: what all agree on of the first, and each of them."""
    each = [{"title": kind.__name__, **definitions.result(kind)} for kind in kinds]
    first, *others = (schema["properties"] for schema in each)
    agreed = {name: told for name, told in first.items() if all(other.get(name, told) == told for other in others)}
    return {"type": "object", "properties": agreed, "anyOf": each}
