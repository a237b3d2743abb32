"""Settings as programs print them: a dict, a Namespace, `key=value, key=value`, or the words of a command line."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

MAX_VALUE = 300
"""Characters of a value that are read."""

_PAIR = re.compile(
    r"""(?<![\w.-])(?P<quote>['"]?)(?P<key>[A-Za-z]\w{1,60})(?P=quote)\s{0,2}[=:]\s{0,2}"""
    r"""(?P<value>'[^']{0,300}'|"[^"]{0,300}"|[^\s,'"{}()\[\]]{1,300})"""
)
_WORD = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']{0,2000}'|"(?:[^"\\]|\\.){0,2000}"){1,2000}""")
_SUFFIXED = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)([A-Za-z])")
_TRUTHS = {"true", "false"}
"""Values that switches take in some versions of vLLM (StoreBoolean of utils.py)."""
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


class Flag(NamedTuple):
    """An option as a command line gives it.

    Attributes:
        typed: as it stands there.
        name: without dashes, in lower case and with underscores: programs take either.
        value: 'True' of a switch, 'False' of its opposite.
    """

    typed: str
    name: str
    value: str


def command_pairs(text: str, wanted: Mapping[str, str], flags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Of a command line in a log, the options that are wanted."""
    words = [_bare(found[0]) for found in _WORD.finditer(text)]
    for each in command_flags(words, wanted, flags)[0]:
        if each.name in wanted:
            yield each.name, each.value


def command_flags(
    words: Sequence[str],
    wanted: Container[str],
    flags: Mapping[str, str],
    switches: Container[str] = frozenset(),
    lists: Container[str] = frozenset(),
    opposites: Sequence[str] = (),
) -> tuple[list[Flag], list[str]]:
    """The options of a command line, and the words that are none and no option's value.

    Args:
        words: of the command line, without the program.
        wanted: names of options; `--no-NAME` is the opposite of one of them.
        flags: the names that short flags stand for.
        switches: names of options without a value, unless it is true or false.
        lists: names of options with several values, which are joined with commas.
        opposites: beginnings of names, of which either is the other's opposite.
    """
    found, others, index = [], [], 0
    while index < len(words):
        word, index = words[index], index + 1
        if not word.startswith("-") or word == "-" or _is_number(word):
            others.append(word)
            continue
        typed, equals, value = word.partition("=")
        name = _long_name(typed, flags)
        positive = "" if name in wanted else next((each for each in _turned_off(name, opposites) if each in wanted), "")
        off = bool(positive)
        after = words[index] if index < len(words) else "--"
        if not equals:
            has_value = not after.startswith("-") or _is_number(after)
            if off or name in switches:
                has_value = after.lower() in _TRUTHS
            value = after if has_value else "True"
            index += has_value
        while name in lists and index < len(words) and not words[index].startswith("-"):
            value, index = f"{value},{words[index]}", index + 1
        found.append(Flag(typed, positive, "False") if off else Flag(typed, name, value[:MAX_VALUE]))
    return found, others


def _long_name(typed: str, flags: Mapping[str, str]) -> str:
    """`-ac.backend` is a part of `-ac`."""
    if typed.startswith("--"):
        return flags.get(typed) or typed[2:].lower().replace("-", "_")
    short, point, part = typed.partition(".")
    name = flags.get(short, "")
    return f"{name}{point}{part}" if name else ""


def _turned_off(name: str, opposites: Sequence[str]) -> Iterator[str]:
    """What an option may be the opposite of."""
    if name.startswith("no_"):
        yield name.removeprefix("no_")
    for each in opposites:
        if name.startswith(each):
            yield from (other + name.removeprefix(each) for other in opposites if other != each)


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
