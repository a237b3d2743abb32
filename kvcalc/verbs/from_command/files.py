"""The model of a launch line whose GGUF file lies on another machine: by the file's name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvcalc.catalogue import find_model
from kvcalc.catalogue.model_files import holds_model
from kvcalc.errors import KvcalcError, one_line
from kvcalc.note import note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.catalogue import FoundModel
    from kvcalc.logs.command import Command

_SHOWN = 100
"""Letters of a name that a note repeats."""
_PART = re.compile(r"-\d{5}-of-\d{5}$")
"""Of a file in several parts (src/llama.cpp, llama_split_path)."""


def model_of_line(command: Command, assumed: Mapping[str, Any] | None) -> FoundModel:
    """The model that a line names, or whose file it names.

    Raises:
        KvcalcError: there is neither such a file nor a model of its name.
    """
    try:
        return find_model(command.model, assumed)
    except KvcalcError:
        file = re.split(r"[/\\]", command.model)[-1]
        if command.engine != "llama-cpp" or not file.lower().endswith(".gguf") or holds_model(Path(command.model)):
            raise
        try:
            found = find_model(_PART.sub("", file[: -len(".gguf")]), assumed)
        except KvcalcError:
            found = None
        if found is None:
            raise
    text = f"{one_line(file, _SHOWN)} is not on this machine, and its name is gone by: {found.model.name}"
    return found._replace(notes=(note("model-by-name", text, name=found.model.name, others=()), *found.notes))
