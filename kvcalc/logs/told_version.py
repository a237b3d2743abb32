"""The version of a server that its command line tells: words of its own, a pinned package, an image's tag."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NUMBER = r"v?(?P<version>b\d{3,6}|\d{1,4}\.\d{1,4}(?:\.\d{1,4})?(?:\.post\d{1,3})?(?:(?:rc|a)\d{1,3})?)"
_NAMES = {"vllm": "vllm", "sglang": "sglang", "llama.cpp": "llama-cpp", "tensorrt-llm": "tensorrt-llm"}
_NAME = r"(?P<name>vllm|sglang|llama[.-]cpp|tensorrt[-_]llm)"
_TOLD = re.compile(
    rf"(?:^|\s)(?:#[ \t]*|:[ \t]+){_NAME}[ \t](?P<version>v?[\w.+]{{1,40}})[ \t]*(?:;|&&|$)",
    re.MULTILINE | re.IGNORECASE,
)
"""`# vllm 0.19.0` at the end of a line, or `: vllm 0.19.0;` before it."""
_PIN = re.compile(rf"(?:--(?:with|from)=)?{_NAME}(?:\[[\w,.-]{{0,60}}\])?(?:==|@){_NUMBER}", re.IGNORECASE)
"""`pip install vllm==0.19.0`, `uv run --with vllm==0.19.0`, `uvx vllm@0.19.0`."""


def words_of(engine: str, version: str) -> str:
    """What a line begins with that another version than the newest is to run; `told_version` reads it.

    The command `:` does nothing in sh, bash, zsh and fish. A comment is none where zsh is typed into, unless its option
    interactivecomments is set: its words would be passed to the server.

    Args:
        engine: by kvcalc's name.
        version: of the engine.
    """
    return f": {engine} {version};"


def told_version(engine: str, text: str, words: Sequence[str], image: str | None, option: str) -> str | None:
    """The version that is told; None where none is.

    Args:
        engine: that the line starts, by kvcalc's name.
        text: of all of it, with its comments.
        words: of all its commands.
        image: the version by the tag of the container's image.
        option: that the line was given as, for errors.

    Raises:
        KvcalcError: two versions are told.
    """
    told = {*_told(engine, text), *_pins(engine, words), *([image] if image else [])}
    if len(told) > 1:
        raise KvcalcError(f"{option}: the line tells two versions of {engine}: {', '.join(sorted(told))}; leave one")
    return told.pop() if told else None


def pinned_program(word: str) -> str:
    """A program's name, where its version stands behind it (`uvx vllm@0.19.0 serve`)."""
    found = _PIN.fullmatch(word)
    return found["name"] if found else word


def _told(engine: str, text: str) -> Iterator[str]:
    for found in _TOLD.finditer(text):
        if _own(found["name"]) == engine:
            yield found["version"]


def _pins(engine: str, words: Sequence[str]) -> Iterator[str]:
    for word in words:
        found = _PIN.fullmatch(word)
        if found is not None and _own(found["name"]) == engine:
            yield found["version"]


def _own(name: str) -> str:
    written = name.lower().replace("_", "-")
    return _NAMES.get(written, written)
