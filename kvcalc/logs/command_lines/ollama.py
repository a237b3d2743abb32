"""`ollama run MODEL` as the line of llama-server that Ollama starts for it since 0.30.

llm/llama_server.go, startLlamaServer. Settings are variables of Ollama's server; options of `ollama run` itself change
no memory.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "ollama"
BUILD = "b10488"
"""Of llama.cpp in Ollama 0.32.15 and 0.33.0 (LLAMA_CPP_VERSION)."""
_ASSIGNED = re.compile(r"(?:--env=)?(OLLAMA_[A-Z_]{2,40})=(.*)")
_WITH_VALUES = frozenset({"--keepalive", "--format", "--think", "--dimensions", "--width", "--height", "--steps"})
"""Options of `ollama run` that take the next word (cmd/cmd.go, runCmd)."""
_COUNTS = {"OLLAMA_CONTEXT_LENGTH": 10**9, "OLLAMA_NUM_PARALLEL": 10**4}
_ON, _OFF = {"1", "t", "true"}, {"0", "f", "false"}


def llama_server_words(arguments: Sequence[str], before: Sequence[str], option: str) -> list[str]:
    """The words behind `llama-server`.

    Args:
        arguments: behind `ollama run`.
        before: what stands before them, with variables.
        option: of kvcalc, in messages.

    Raises:
        KvcalcError: no model is named, or a number is none.
    """
    told = {found[1]: found[2] for word in before if (found := _ASSIGNED.fullmatch(word)) and found[2]}
    numbers = {name: _count(name, told[name], most, option) for name, most in _COUNTS.items() if name in told}
    slots = max(1, numbers.get("OLLAMA_NUM_PARALLEL", 1))
    words = ["-m", _model(arguments, option), "-np", str(slots)]
    if context := numbers.get("OLLAMA_CONTEXT_LENGTH"):
        words += ["-c", str(context * slots)]
    if kept_in := told.get("OLLAMA_KV_CACHE_TYPE"):
        words += ["-ctk", kept_in, "-ctv", kept_in]
    flash = told.get("OLLAMA_FLASH_ATTENTION", "").lower()
    return [*words, "-fa", "on" if flash in _ON else "off" if flash in _OFF else "auto"]


def _model(arguments: Sequence[str], option: str) -> str:
    skipped = False
    for word in arguments:
        if skipped or word.startswith("-"):
            skipped = not skipped and word in _WITH_VALUES
        else:
            return word
    raise KvcalcError(f"{option}: the line names no model; put one behind 'ollama run'")


def _count(name: str, text: str, most: int, option: str) -> int:
    if not text.isdecimal() or not int(text[:12]) <= most:
        raise KvcalcError(f"{option}: {name}={one_line(text, 40)} is no number of at most {most:,}")
    return int(text)
