"""A model and where it was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from kvcalc.importers.imported_model import ImportedModel
    from kvcalc.model.model import Model
    from kvcalc.note import Note

GGUF_ENGINE = "llama-cpp"
"""The engine that GGUF files are for."""


class FoundModel(NamedTuple):
    """A model and where it was found.

    Attributes:
        origin: its name in messages.
        path: of its file, where it has one.
        imported: what was read from another format; None where the file is YAML itself.
        notes: of an import, or of how its name was understood.
        engine: that its format is for; None where it is for any.
        written: YAML that differs from the file's; None where it does not.
    """

    model: Model
    origin: str
    path: Path | None
    imported: ImportedModel | None = None
    notes: tuple[Note, ...] = ()
    engine: str | None = None
    written: str | None = None

    @property
    def text(self) -> str:
        """The YAML: the file's own, or what an import writes."""
        if self.written is not None:
            return self.written
        if self.imported is not None:
            return self.imported.text
        return "" if self.path is None else self.path.read_text(encoding="utf-8-sig")
