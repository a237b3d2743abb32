"""A model from the keys of its file as llama.cpp prints them while it loads it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kvcalc.importers.gguf.header import Header
from kvcalc.importers.gguf.layers import PATTERN
from kvcalc.importers.gguf.read import model_of_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.importers.imported_model import ImportedModel

ARCHITECTURE = "general.architecture"
CUT = "..."
"""What llama.cpp ends a value of more than 40 characters with (src/llama-model-loader.cpp)."""


def import_printed(printed: Mapping[str, str], name: str, shown: str) -> ImportedModel | None:
    """The model of such keys; None where too few are printed.

    Args:
        printed: values by key, with the architecture's name before it as the file has it, or without.
        name: of the model.
        shown: what printed them, in messages.

    Raises:
        KvcalcError: the architecture is not known, or its keys are not understood.
    """
    architecture = printed.get(ARCHITECTURE)
    if architecture is None or not {"block_count", f"{architecture}.block_count"} & printed.keys():
        return None
    values: dict[str, Any] = {ARCHITECTURE: architecture}
    for key, text in sorted(printed.items(), key=lambda each: not each[0].startswith(f"{architecture}.")):
        whole = key if key.startswith(f"{architecture}.") else f"{architecture}.{key}"
        value = _value(whole, text)
        if value is not None and whole not in values and not key.startswith(("general.", "tokenizer.")):
            values[whole] = value
    return model_of_header(Header(values, ()), name, shown, {})


def _value(key: str, text: str) -> Any:
    """What it says; None of what is cut off, and of 0 where a file would leave the key out."""
    if text.endswith(CUT) and text.startswith("["):
        return _period(text) if key.endswith(PATTERN) else None
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        if isinstance(found, list):
            return [int(each) if isinstance(each, bool) else each for each in found]
        if isinstance(found, bool | int | float):
            return found or None
    return None


def _period(text: str) -> int | None:
    """Of a list of marks that is cut off: after how many layers one does not slide, where it begins so."""
    marks = [each.strip() for each in text.removesuffix(CUT).strip("[").split(",")]
    return marks.index("false") + 1 if "false" in marks[1:] and marks[0] == "true" else None
