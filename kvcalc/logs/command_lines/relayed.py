"""Programs that load models by llama.cpp's library, as the line of llama-server that would reserve the same memory."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import KvcalcError, one_line
from kvcalc.logs.arguments import command_flags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN = 60
"""Letters of a word that a message repeats."""


class Taken(NamedTuple):
    """What a program takes where its line does not say.

    Attributes:
        text: that tells it.
        of_windows: whether it is of layers with windows alone.
    """

    text: str
    of_windows: bool = False


class Relayed(NamedTuple):
    """What a program tells llama.cpp.

    Attributes:
        words: behind `llama-server`.
        beside: settings that no flag of llama-server sets, by the engine's own names.
        taken: what the program takes itself.
    """

    words: tuple[str, ...]
    beside: Mapping[str, str] = MappingProxyType({})
    taken: tuple[Taken, ...] = ()


class Program(NamedTuple):
    """The options of one.

    Attributes:
        name: of the program, in messages.
        names: what each option stands for, by the ways it is written, without dashes and with underscores.
        short: the names of short flags.
        switches: options without a value.
        lists: options with several values.
        refused: what changes memory in a way that is not followed, by its own name.
        harmless: what changes no memory of a card.
        bare: what options mean that stand without their value.
    """

    name: str
    names: Mapping[str, str]
    short: Mapping[str, str]
    switches: frozenset[str]
    lists: frozenset[str]
    refused: frozenset[str]
    harmless: frozenset[str]
    bare: Mapping[str, str] = MappingProxyType({})

    def told(self, arguments: Sequence[str], option: str) -> tuple[dict[str, str], list[str], list[str]]:
        """Its options by what they stand for, words that are no option's, and options that are not known.

        Args:
            arguments: of its line.
            option: of kvcalc, in messages.

        Raises:
            KvcalcError: an option changes memory in a way that is not followed, or lacks its value.
        """
        known = {*self.names, *self.refused, *self.harmless}
        flags, others = command_flags(arguments, known, self.short, self.switches, self.lists)
        found: dict[str, str] = {}
        further = []
        for each in flags:
            shown = one_line(each.typed, _SHOWN)
            if each.name in self.refused and each.value.lower() not in {"false", "0", ""}:
                raise KvcalcError(
                    f"{option}: {shown} changes memory in a way that kvcalc does not follow for {self.name}; leave it "
                    "out of the line, and give what it takes as --reserve NAME=SIZE"
                )
            if each.name in self.names:
                value = self.bare.get(self.names[each.name], each.value) if each.value == "True" else each.value
                if value == "True" and each.name not in self.switches:
                    raise KvcalcError(f"{option}: {shown} lacks its value; put it behind it")
                found[self.names[each.name]] = value
            elif each.name not in self.refused | self.harmless:
                further.append(each.typed if each.value == "True" else f"{each.typed}={each.value}")
        return found, others, further


def as_table(text: str) -> Mapping[str, str]:
    """Rows of names that stand for the first of them."""
    rows = (row.split() for row in text.strip().splitlines())
    return MappingProxyType({name: row[0] for row in rows for name in row})


def count(text: str, what: str, option: str, least: int, most: int) -> int:
    """A number of a line.

    Raises:
        KvcalcError: it is none, or out of range.
    """
    digits = text.removeprefix("-")
    if not digits.isdecimal() or not least <= int(text[:12]) <= most:
        raise KvcalcError(f"{option}: {what} {one_line(text, _SHOWN)} is no number from {least:,} to {most:,}")
    return int(text)
