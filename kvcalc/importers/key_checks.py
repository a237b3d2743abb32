"""What is wrong with a file's keys as a whole, or was assumed of them: contradictions, keys that nobody has read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.importers.config import MAX_SHOWN, shown_value
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.importers.config import Config


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
    for name in [name for name, value in config.assumed.items() if value is None and name not in config.read]:
        if name in config.values and cache_keys({name: config.values[name] or 1}):
            config.read.add(name)
    for name in sorted(cache_keys(config.values) - config.read):
        value, usual = config.values[name], (synonyms or {}).get(name)
        way = config.without(name)
        if usual in config.read and type(value) is int and config.place is None:
            way = f"--assume {usual}={value} reads it so, {way}"
        raise config.refusal(f"{name} is {shown_value(value)}, which this family's layers do not have", way)
    for part in config.parts_read:
        refuse_unread_keys(part, cache_keys)
    for name in config.assumed:
        if name not in config.read:
            raise KvcalcError(
                f"--assume {name}: nothing of {config.model_type} depends on it{did_you_mean(name, config.read)}"
            )


def assumption_notes(config: Config) -> tuple[Note, ...]:
    """A note on each key that the user decided."""
    shown = ((name, json.dumps(value)[:MAX_SHOWN]) for name, value in config.assumed.items())
    return tuple(note("assumed", f"assumed: {key} = {value}", key=key, value=value) for key, value in shown)
