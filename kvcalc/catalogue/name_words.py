"""The words of a model's name, and what each of them tells: a size, a generation, a date, a way of training."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(Enum):
    """What a word tells."""

    NAME = "the family or a line of it"
    GENERATION = "a generation"
    SIZE = "parameters"
    ACTIVE = "parameters that a token passes"
    RELEASE = "a release of that size"
    DATE = "a date"
    CONTEXT = "a context"
    TRAINING = "what it was trained for, which changes no layer"
    MAKER = "who made it"
    DTYPE = "that its weights are as they were computed"


class Word(NamedTuple):
    """A word of a name."""

    text: str
    kind: Kind


UNSAID = frozenset({Kind.ACTIVE, Kind.RELEASE, Kind.DATE, Kind.CONTEXT, Kind.TRAINING, Kind.MAKER, Kind.DTYPE})
"""What people leave out."""

ADDED = frozenset({Kind.TRAINING, Kind.MAKER})
"""What people add though the model's name does not have it."""

_TRAINING = frozenset({"instruct", "chat", "it", "hf", "base", "pt", "text", "latest", "qat", "inst", "cloud"})
_TRAINING |= {"abliterated", "uncensored", "heretic"}
_TRAINING |= {"free", "nitro", "floor", "exacto", "online"}  # variants of OpenRouter, by how a request is routed
_TRAINING |= {"versatile", "instant"}  # Groq's names of Llama 3
_MAKERS = frozenset({"meta", "nvidia", "ibm", "google", "mistralai", "microsoft", "openai", "huihui"})

SIZE_CLASSES = frozenset({"nano", "micro", "tiny", "mini", "small", "medium", "large"})
"""Words of families for their sizes, which a number of parameters says as well: phi3:14b is Phi-3-medium."""

_WORD = re.compile(
    r"""(?P<version>v\d+(?:\.\d+)*(?![a-z0-9]))
      | (?P<maker>c4ai|ai21)
      | (?P<dtype>bf16)(?![a-z0-9])
      | (?P<size>\d+x\d+(?:\.\d+)?b | e\d+(?:\.\d+)?b | \d+(?:\.\d+)?[bmt] | \d+e)(?![a-z0-9])
      | (?P<active>a\d+(?:\.\d+)?b)(?![a-z0-9])
      | (?P<context>\d+k)(?![a-z0-9])
      | (?P<number>\d+(?:\.\d+)*)
      | (?P<letters>[a-z]+)""",
    re.VERBOSE,
)
_POINT = re.compile(r"(?<=\d)_(?=\d+(?![\d.]*[bmtkx]))")
"""An underscore that stands for a point: phi-1_5, but not qwen3_8b."""

_PLUS = re.compile(r"(?<=[a-z0-9])\s?\+")
"""command-r+ is Command R Plus."""

_BETWEEN_DIGITS = re.compile(r"(?<=\d)[^a-z0-9.]+(?=\d)")
_SEPARATORS = re.compile(r"(?<!\d)[^a-z0-9]+|[^a-z0-9]+(?!\d)")
_MAX_NAME = 200
_YEAR = re.compile(r"20[2-3]\d")
_DIGITS_OF_DATE = 4


def spelled(name: str) -> str:
    """A name without what people write otherwise: case, and all that stands between letters and digits."""
    lowered = _lowered(name)
    return _BETWEEN_DIGITS.sub("-", _SEPARATORS.sub("", lowered))


def words_of(name: str) -> tuple[Word, ...]:
    """The words of a name, in its order."""
    return tuple(_words(_lowered(name)))


def _lowered(name: str) -> str:
    return _PLUS.sub("-plus", _POINT.sub(".", name.lower()[:_MAX_NAME]))


def _words(name: str) -> Iterator[Word]:
    found = list(_WORD.finditer(name))
    sized = False
    for place, match in enumerate(found):
        text = match[0]
        match match.lastgroup:
            case "version":
                yield Word(text, Kind.RELEASE if sized or text.startswith("v0") else Kind.GENERATION)
            case "size":
                sized = True
                yield Word(text, Kind.SIZE)
            case "active":
                yield Word(text, Kind.ACTIVE)
            case "context":
                yield Word(text, Kind.CONTEXT)
            case "maker":
                yield Word(text, Kind.MAKER)
            case "dtype":
                yield Word(text, Kind.DTYPE)
            case "number":
                year_follows = place + 1 < len(found) and _YEAR.fullmatch(found[place + 1][0]) is not None
                is_date = text.isdigit() and (len(text) == _DIGITS_OF_DATE or year_follows)
                yield Word(text, Kind.DATE) if is_date else Word(text.removesuffix(".0"), Kind.GENERATION)
            case _:
                yield Word(text, _kind_of_letters(text))


def _kind_of_letters(text: str) -> Kind:
    if text in _TRAINING:
        return Kind.TRAINING
    return Kind.MAKER if text in _MAKERS else Kind.NAME
