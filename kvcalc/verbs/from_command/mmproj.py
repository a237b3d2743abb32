"""Towers for images or sound that llama-server loads beside the model: where its line names them, with -hf, by Ollama.

common/arg.cpp: -hf takes a repository's mmproj too unless --no-mmproj is given; --no-mmproj-offload leaves it on the
host. Ollama passes what a model of its library has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.llama_cpp.mmproj import mmproj_of
from kvcalc.note import Note, note
from kvcalc.units import format_size

if TYPE_CHECKING:
    from kvcalc.logs.command import Command
    from kvcalc.model.model import Model

_LOADED = frozenset({"-mm", "--mmproj", "-mmu", "--mmproj-url", "LLAMA_ARG_MMPROJ", "LLAMA_ARG_MMPROJ_URL"})
_NOT_LOADED = frozenset({"--no-mmproj", "--no-mmproj-auto"})
_ON_HOST = frozenset({"--no-mmproj-offload"})


def towers_loaded(command: Command, model: Model) -> tuple[dict[str, int], tuple[Note, ...]]:
    """What to set aside for them, as `--reserve` takes it, and a note; nothing where none are loaded on a card."""
    said, parameters = {each.partition("=")[0] for each in command.noted}, model.tower_parameters
    of_hub = "/" in command.model[1:] and not command.model.lower().endswith(".gguf")
    unasked = (command.by_ollama or of_hub) and not said & _NOT_LOADED
    if command.engine != "llama-cpp" or not parameters or said & _ON_HOST or not (unasked or said & _LOADED):
        return {}, ()
    found = mmproj_of(parameters)
    size = found.on_card
    text = (
        f"the tower for images or sound (mmproj) is set aside with {format_size(size, 'GiB')} GiB: {found.told} "
        "(--reserve mmproj=SIZE sets another size)"
    )
    return {"mmproj": size}, (note("mmproj-set-aside", text, bytes=size),)
