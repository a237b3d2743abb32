"""What a list says of a model. Of those that ship it is kept in a table: building each of them takes far longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.catalogue.building import built
from kvcalc.catalogue.compact import compact_values, line
from kvcalc.catalogue.shipped import read_model
from kvcalc.engines import ContentCounter, RankLoad
from kvcalc.engines.content_counter import rows_rate
from kvcalc.scenario import cache_format
from kvcalc.verbs.listing.catalogue import ModelRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kvcalc.model.model import Model

NAME = "listed.tsv"
"""The table, beside that of all values."""


def shipped_rows(paths: Iterable[Path]) -> Iterator[ModelRow]:
    """Of each model that has one of these files; that of a file which has changed is worked out."""
    for path in paths:
        values = compact_values(path, NAME)
        yield row_of(read_model(path)) if values is None else built(ModelRow, values)


def table(paths: Iterable[Path]) -> str:
    """The text of the table, made of the models themselves."""
    return "".join(line(path, _of_catalogue(row_of(read_model(path)))) for path in paths)


def _of_catalogue(row: ModelRow) -> dict[str, Any]:
    """Without what is of an accelerator."""
    return {key: value for key, value in row.to_dict().items() if key not in ModelRow.field_defaults}


def row_of(model: Model, **of_accelerator: Any) -> ModelRow:
    """Of a model, with what it is on an accelerator."""
    kinds = model.distinct()
    formats = cache_format(model, None)
    rate = rows_rate(ContentCounter(formats).rows(kinds, 1), RankLoad(kinds, 1, 1, 1, formats))
    return ModelRow(
        name=model.name,
        mechanisms=tuple(dict.fromkeys(layer.attention.kind for layer in kinds)),
        layers=model.num_layers,
        bytes_per_token=rate.bytes_per_token,
        state_bytes_per_sequence=rate.state_bytes_per_sequence,
        dtype=formats.name,
        parameters=model.parameters,
        max_context=model.max_context,
        hub_ids=model.hub_ids,
        **of_accelerator,
    )
