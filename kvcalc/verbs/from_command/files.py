"""The model of a launch line whose files lie on another machine: by their names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvcalc.catalogue import find_model
from kvcalc.catalogue.elsewhere import name_in_path
from kvcalc.errors import KvcalcError, one_line
from kvcalc.files import is_there
from kvcalc.note import note
from kvcalc.verbs.from_command.ollama import with_tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.catalogue import FoundModel
    from kvcalc.logs.command import Command

_SHOWN = 100
"""Letters of a name that a note repeats."""


def model_of_line(command: Command, assumed: Mapping[str, Any] | None) -> FoundModel:
    """The model that a line names, or whose files it names.

    Raises:
        KvcalcError: there is neither such a file nor a model of its name.
    """
    try:
        return find_model(with_tag(command.model) if command.by_ollama else command.model, assumed)
    except KvcalcError:
        name = name_in_path(command.model)
        if name is None or is_there(Path(command.model)):
            raise
        try:
            found = find_model(name, assumed)
        except KvcalcError:
            found = None
        if found is None:
            raise
    last = command.model.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    shown = one_line(last if last.lower().endswith(".gguf") else name, _SHOWN)
    text = f"{shown} is not on this machine, and its name is gone by: {found.model.name}"
    return found._replace(notes=(note("model-by-name", text, name=found.model.name, others=()), *found.notes))
