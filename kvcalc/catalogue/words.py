"""The words of kvcalc's screens, options and results: configs/words.yaml as values."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from kvcalc.catalogue.shipped import CONFIGS, read_shipped
from kvcalc.noun import Noun, noun

WORDS = CONFIGS / "words.yaml"


@noun
class Flag(Noun):
    """What an engine calls it on its own command line."""

    engine: str
    flag: str


@noun
class Word(Noun):
    """One word and its meaning.

    Attributes:
        name: as the screens have it.
        group: workload, deployment, memory, decoding or model.
        title: what it is, in a line.
        means: what it counts, or when it applies.
        also: other spellings that are understood.
        formula: empty where there is none, as `option`, `example` and `source`.
        option: kvcalc's own that sets it.
        flags: what engines call it.
        see: words that belong to it.
    """

    name: str
    group: str
    title: str
    means: str
    also: tuple[str, ...]
    formula: str
    option: str
    flags: tuple[Flag, ...]
    example: str
    source: str
    see: tuple[str, ...]


@lru_cache(maxsize=1)
def words() -> tuple[Word, ...]:
    """All of them, in the order of the file, read once."""
    root: Any = read_shipped(WORDS).root
    return tuple(_word(group, each) for group, entries in root.items() for each in entries)


def _word(group: str, given: dict[str, Any]) -> Word:
    return Word(
        name=given["name"],
        group=group,
        title=given["title"],
        means=given["means"],
        also=tuple(given.get("also", ())),
        formula=given.get("formula", ""),
        option=given.get("option", ""),
        flags=tuple(Flag(engine, flag) for engine, flag in given.get("flags", {}).items()),
        example=given.get("example", ""),
        source=given.get("source", ""),
        see=tuple(given.get("see", ())),
    )
