"""Lines of a log that a collector keeps in objects of JSON: one on each line, many in an array, or spread over lines.

What an object says was written is looked for by the keys that collectors use, also within other objects of it.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from kvcalc.logs.one_line import messages_of

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = (
    "log",
    "message",
    "msg",
    "textpayload",
    "logmessage",
    "logentry",
    "@message",
    "text",
    "line",
    "event",
    "body",
    "stringvalue",
    "content",
    "logs",
    "output",
)
"""Keys, in lower case, that hold what was written: of Docker, of Kubernetes' collectors, of vLLM's own, of systemd; of
Google, Azure, AWS; of loguru and structlog; of Loki, OpenTelemetry and Datadog."""
MAX_DEPTH, MAX_DEPTH_OF_A_WHOLE = 4, 64
"""Objects within objects that are looked into."""
MAX_OBJECT = 64 * 1024
"""Characters of a line that is read as an object: a message has half as many at most, and escapes."""

_LINE = re.compile(r"[^\r\n]+")
_BREAK = re.compile(r"<br ?/?>")
_PAIR = re.compile(r'\s*"([\w@]{1,32})"\s*:\s*("(?:[^"\\]|\\.)*")\s*,?\s*')


def written(text: str) -> Iterator[str]:
    """The lines of a text, each as it was written before a collector took it."""
    for whole in _of_a_whole(text) or (text,):
        for found in _LINE.finditer(whole):
            line = found[0]
            if ("}" in line[-3:] and '{"' in line) or line.startswith("{"):
                said = _of_a_line(line[:MAX_OBJECT])
                yield from _LINE.findall(said) if said is not None else messages_of(line)
            elif line.lstrip(" \t").startswith('"') and (pair := _PAIR.fullmatch(line[:MAX_OBJECT])) is not None:
                yield from _LINE.findall(_of_a_pair(pair))
            elif "<br" in line:
                yield from filter(None, _BREAK.split(line))
            else:
                yield from messages_of(line)


def _of_a_whole(text: str) -> list[str]:
    """What is said by a text that is one value of JSON: a string, an array, or an object; empty of any other text."""
    if text.lstrip()[:1] in {"[", '"', "{"}:
        with suppress(ValueError, RecursionError):
            return list(_strings(json.loads(text), MAX_DEPTH_OF_A_WHOLE))
    return []


def _strings(held: object, depth: int) -> Iterator[str]:
    """Each that was written; of an answer of Loki's, without its time."""
    if isinstance(held, str):
        yield held
    elif isinstance(held, list):
        stamped = len(held) == 2 and all(isinstance(each, str) for each in held) and held[0].isdigit()  # noqa: PLR2004  # a pair
        for each in held[1:] if stamped else held:
            yield from _strings(each, depth)
    elif isinstance(held, dict):
        said = _said(held)
        if said is not None:
            yield said
        for value in held.values() if depth else ():
            if isinstance(value, dict | list):
                yield from _strings(value, depth - 1)


def _of_a_line(line: str) -> str | None:
    """What an object at a line's end says; None where it is none."""
    with suppress(ValueError, RecursionError):
        return _said(json.loads(line[line.index("{") :].rstrip().removesuffix(",")))
    return None


def _of_a_pair(pair: re.Match[str]) -> str:
    with suppress(ValueError):
        if pair[1].lower() in KEYS:
            return str(json.loads(pair[2]))
    return pair[0]


def _said(held: object, depth: int = MAX_DEPTH) -> str | None:
    """What an object says was written: by its own keys, else by those of objects in it."""
    if not isinstance(held, dict) or not depth:
        return None
    by_key = {key.lower(): value for key, value in held.items()}
    for key in KEYS:
        value = by_key.get(key)
        if isinstance(value, str):
            return _within(value, depth)
    return next((said for value in by_key.values() if (said := _said(value, depth - 1)) is not None), None)


def _within(said: str, depth: int) -> str:
    """What was written where it is an object again, as text."""
    if said.startswith("{"):
        with suppress(ValueError, RecursionError):
            return _said(json.loads(said), depth - 1) or said
    return said
