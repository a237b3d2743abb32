"""What is wrong with a file's keys as a whole, or was assumed of them: contradictions, keys that nobody has read."""

from __future__ import annotations

import json
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.importers.config import MAX_SHOWN, shown_value
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kvcalc.importers.config import Config

_SHORTEST = 6
"""Characters of a key below which one that is a letter from it may well be another."""


def refuse_differing(config: Config, *names: str) -> None:
    """Refuse a file in which keys of one meaning differ.

    Raises:
        KvcalcError: they do, and no assumption decides between them.
    """
    given = {name: config.values[name] for name in names if config.values.get(name) is not None}
    if len({json.dumps(value) for value in given.values()}) > 1 and not any(name in config.assumed for name in names):
        what = " and ".join(f"{name} is {shown_value(value)}" for name, value in given.items())
        raise config.refusal(what, config.deciding(next(iter(given))))


def refuse_unread_keys(
    config: Config, cache_keys: Callable[[Mapping[str, Any]], set[str]], synonyms: Mapping[str, str] | None = None
) -> None:
    """Refuse a file with keys that seem to decide the cache and were not read, and assumptions that were not read.

    Args:
        config: after its family has read it.
        cache_keys: gives the keys of a mapping that seem to decide the cache.
        synonyms: spellings of a key, and the one that families read.

    Raises:
        KvcalcError: there are such keys or assumptions.
    """
    misspelt, stated = dict(_misspelt(config)), config.values
    for name in [name for name, value in config.assumed.items() if value is None and name not in config.read]:
        if name in misspelt or (name in stated and name in cache_keys({**stated, name: stated[name] or 1})):
            config.read.add(name)
    for name in sorted(cache_keys(config.values) - config.read):
        value, usual = config.values[name], (synonyms or {}).get(name)
        way = config.without(name)
        if usual in config.read and type(value) is int and config.place is None:
            way = f"--assume {usual}={value} reads it so, {way}"
        raise config.refusal(f"{name} is {shown_value(value)}, which this family's layers do not have", way)
    for name in sorted(misspelt.keys() - config.read):
        meant = misspelt[name]
        what = f"{name} is {shown_value(config.values[name])}, which nothing reads, and {meant} is missing"
        raise config.refusal(what, config.without(name))
    for part in config.parts_read:
        refuse_unread_keys(part, cache_keys)
    for name in config.assumed:
        if name not in config.read:
            raise KvcalcError(
                f"--assume {name}: nothing of {config.model_type} depends on it{did_you_mean(name, config.read)}"
            )


def _misspelt(config: Config) -> Iterator[tuple[str, str]]:
    """Keys that nobody reads, each with one that was asked for and is missing, and is a letter from it."""
    missing = sorted(config.read - config.values.keys() - config.assumed.keys())
    for name in sorted(name for name, value in config.values.items() if value is not None and name not in config.read):
        near = [each for each in missing if len(each) >= _SHORTEST and _a_letter_apart(name, each)]
        if near:
            yield name, near[0]


def _a_letter_apart(one: str, other: str) -> bool:
    """Whether a letter is put in, left out, put for another, or two stand the other way round."""
    if abs(len(one) - len(other)) > 1:
        return False
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    start = sum(1 for _ in alike)
    rests = one[start:], other[start:]
    swapped = rests[0][:2] == rests[1][:2][::-1] and rests[0][2:] == rests[1][2:]
    return swapped or rests[0][1:] in {rests[1], rests[1][1:]} or rests[0] == rests[1][1:]


def assumption_notes(config: Config) -> tuple[Note, ...]:
    """A note on each key that the user decided."""
    shown = ((name, json.dumps(value)[:MAX_SHOWN]) for name, value in config.assumed.items())
    return tuple(note("assumed", f"assumed: {key} = {value}", key=key, value=value) for key, value in shown)
