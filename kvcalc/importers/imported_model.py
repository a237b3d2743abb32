"""What an import gives: a model, and the reason for every value of it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.importers.model_yaml import yaml_text
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.imported_layer import ImportedLayer
    from kvcalc.model.model import Model
    from kvcalc.note import Note

_NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class ImportedModel(NamedTuple):
    """A model read from another format.

    Attributes:
        fields: of the model except its layers, in order, each with its reason.
        layers: one for each layer of the model, in order.
        notes: what else a user should know.
        origin: what it was read from.
    """

    model: Model
    fields: tuple[tuple[str, Sourced], ...]
    layers: tuple[ImportedLayer, ...]
    notes: tuple[Note, ...]
    origin: str

    @property
    def text(self) -> str:
        """The model as a kvcalc YAML file, with a comment beside every field."""
        comments = [f"# {line}" for line in (f"read from {self.origin}", *(each.text for each in self.notes))]
        return yaml_text(comments, self.fields, self.model.weights, self.layers)

    def at(self, origin: str, fields: tuple[tuple[str, Sourced], ...], notes: tuple[Note, ...]) -> ImportedModel:
        """The same with fields and notes about where it came from.

        Args:
            origin: what it was read from.
            fields: instead of its own.
            notes: before its own.
        """
        model = replace(self.model, **{name: given.value for name, given in fields})
        return self._replace(model=model, fields=fields, notes=(*notes, *self.notes), origin=origin)

    def entry(self, name: str | None, hub_ids: tuple[str, ...], source: str | None) -> ImportedModel:
        """The same as an entry of a catalogue, which says whose it is.

        Args:
            name: of the model; None leaves the one that it has.
            hub_ids: its names on the Hub; none leaves those that it has.
            source: where its figures come from; None leaves the one that it has.
        """
        told = {
            "name": Sourced(model_name(name), "the name of the file that is written") if name else None,
            "hub_ids": Sourced(hub_ids, "--hub-id") if hub_ids else None,
            "source": Sourced(source, "--source") if source else None,
        }
        fields = dict(self.fields)
        first = {key: given for key in told if (given := told[key] or fields.get(key)) is not None}
        return self.at(self.origin, (*first.items(), *((k, v) for k, v in self.fields if k not in first)), ())


def model_name(text: str) -> str:
    """A name for a model whose file has none, from that of the file, its folder or its repository."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return _NOT_OF_A_NAME.sub("-", plain).strip("-").lower()[:100] or "model"
