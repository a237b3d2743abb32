"""What is said of a first word that is no command: the nearest command, or the one that takes such a model."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError, nearest_or_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def unknown_command(path: str, words: Sequence[str], known: Iterable[str]) -> KvcalcError:
    """The error, which names a command that works.

    Args:
        path: the words before it, such as 'kvcalc models'.
        words: those that were typed, the first of which is no command.
        known: the commands there are.
    """
    word = words[0]
    if path == "kvcalc" and _is_model(word):
        return KvcalcError(
            f"no command '{word[:100]}': it names a model, and a command comes first",
            f"next: {shlex.join(['kvcalc', 'estimate', *words])}",
        )
    return KvcalcError(f"no command '{word[:100]}'{nearest_or_all(word, known)}", f"next: {path} --help")


def _is_model(word: str) -> bool:
    from kvcalc.catalogue import named_model  # only where it is asked

    with suppress(KvcalcError):
        if word.startswith("hf:") or word.endswith((".gguf", ".yaml", ".yml", ".json")) or named_model(word):
            return True
    return "/" in word and Path(word).exists()
