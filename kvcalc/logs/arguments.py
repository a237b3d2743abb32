"""Settings as programs print them: a dict, a Namespace, `key=value, key=value`, or the words of a command line."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

MAX_VALUE = 300
"""Characters of a value that are read."""

_PAIR = re.compile(
    r"""(?<![\w.-])(?P<quote>['"]?)(?P<key>[A-Za-z]\w{1,60})(?P=quote)\s{0,2}[=:]\s{0,2}"""
    r"""(?P<value>'[^']{0,300}'|"[^"]{0,300}"|[^\s,'"{}()\[\]]{1,300})"""
)
_WORD = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']{0,2000}'|"(?:[^"\\]|\\.){0,2000}"){1,2000}""")
_SUFFIXED = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)([A-Za-z])")
_NOTHING = {"None", "null", "auto", "default", "", "..."}


def printed_pairs(text: str, wanted: Container[str], nested: Container[str]) -> Iterator[tuple[str, str]]:
    """Of printed settings, those that are wanted and say something, the first of each name.

    Args:
        text: that a program printed.
        wanted: names that count where they stand outermost: a setting's own parts may be named as others are.
        nested: names that count anywhere.
    """
    seen, position = set(), 0
    depth = -1 if text.startswith("{") else 0
    for found in _PAIR.finditer(text):
        between = text[position : found.start()]
        depth += sum(map(between.count, "([{")) - sum(map(between.count, ")]}"))
        position = found.end()
        key, value = found["key"].lower(), found["value"].strip("'\"")
        if key not in seen and (key in nested or (depth <= 0 and key in wanted)):
            seen.add(key)
            if value not in _NOTHING:
                yield key, value


def command_pairs(text: str, wanted: Mapping[str, str], flags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Of a command line, the options that are wanted; a switch has the value 'True', its opposite 'False'."""
    words = [_bare(found[0]) for found in _WORD.finditer(text)]
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        name = flags.get(flag) or (flag[2:].lower().replace("-", "_") if flag.startswith("--") else "")
        off = name.startswith("no_") and name.removeprefix("no_") in wanted
        if name not in wanted and not off:
            continue
        after = words[index + 1] if index + 1 < len(words) else "--"
        said = value if equals else "True" if after.startswith("-") and not _is_number(after) else after
        yield (name.removeprefix("no_"), "False") if off else (name, said[:MAX_VALUE])


def plain_number(text: str, suffixes: Mapping[str, int]) -> str:
    """'10K' as '10240'; any other text as it is."""
    found = _SUFFIXED.fullmatch(text)
    if found is None or found[2] not in suffixes:
        return text
    value = Fraction(found[1]) * suffixes[found[2]]
    return str(value.numerator) if value.denominator == 1 else text


def first_word(text: str) -> str | None:
    """The first word of a command line, where it is no option."""
    found = _WORD.match(text.lstrip())
    return None if found is None or found[0].startswith("-") else _bare(found[0])[:MAX_VALUE]


def _is_number(word: str) -> bool:
    return word.removeprefix("-").replace(".", "", 1).isdigit()


def _bare(word: str) -> str:
    return word.replace("'", "").replace('"', "")
