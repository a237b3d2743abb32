"""A config.json as a family reads it: a value is checked when it is read, and comes with the key that gave it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError, one_line
from kvcalc.importers.sourced import Sourced
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SHOWN = 60
"""Characters of a value in messages."""

MAX_MESSAGE = 1000

MAX_COUNT = 10**6
"""The most heads or elements; contexts and vocabularies have limits of their own."""

_YAML = "write the model as YAML by hand (kvcalc models schema)"
BY_HAND = f"--assume KEY=VALUE decides it, or {_YAML}"
BY_TYPE = f"--assume model_type=NAME reads it as a family whose layers are the same, or {_YAML}"

_PLAIN = re.compile(r"[\w.-]{1,60}", re.ASCII)
"""A key that a shell takes as it is, and whose letters are what they look like."""


class Config:
    """The text model's part of a config.json.

    A key that is absent has its class's default; one that is null has no value; one that the user assumes has that.

    Attributes:
        values: as the file has them.
        assumed: what the user decides instead.
        outer: the whole file.
        read: keys that were asked for, so that a key or an assumption which nobody reads can be refused.
        parts_read: mappings inside that were asked for.
        defaults: of the class that reads such a file, where they matter.
        shown: the file's name in messages.
        model_type: of the text model.
        place: the key of the file whose value this is, where it is a part.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        defaults: Mapping[str, Any],
        shown: str,
        model_type: str,
        assumed: Mapping[str, Any] | None = None,
        outer: Mapping[str, Any] | None = None,
        place: str | None = None,
    ) -> None:
        self.values, self.defaults, self.shown, self.model_type = values, defaults, shown, model_type
        self.assumed, self.outer, self.read, self.place = assumed or {}, outer or {}, set[str](), place
        self.parts_read: list[Config] = []

    def get(self, *names: str) -> Sourced | None:
        """The value of the first of these keys that is assumed, else has one in the file, else the class's default.

        None where the file says null.
        """
        self.read.update(names)
        for name in names:
            if name in self.assumed:
                value = self.assumed[name]
                return None if value is None else Sourced(value, f"{name} (assumed by --assume)")
        for name in names:
            if self.values.get(name) is not None:
                return Sourced(self.values[name], name)
        if any(name in self.values for name in names):
            return None
        for name in names:
            if self.defaults.get(name) is not None:
                return Sourced(self.defaults[name], f"{name} is absent: {self.model_type}'s default")
        return None

    def need(self, *names: str) -> Sourced:
        """The value, which must be there.

        Raises:
            KvcalcError: it is not.
        """
        found = self.get(*names)
        if found is None:
            raise self.refusal(f"it has no {' or '.join(names)}", self.deciding(names[0]))
        return found

    def count(self, *names: str, least: int = 1, most: int = MAX_COUNT) -> Sourced:
        """A whole number, which must be there.

        Raises:
            KvcalcError: it is not, or is none, or beyond a limit.
        """
        return self._whole(self.need(*names), names[0], least, most)

    def optional_count(self, *names: str, least: int = 1, most: int = MAX_COUNT) -> Sourced | None:
        """A whole number, or None.

        Raises:
            KvcalcError: it is something else.
        """
        found = self.get(*names)
        return None if found is None else self._whole(found, names[0], least, most)

    def optional_uniform(self, *names: str, least: int = 1, most: int = MAX_COUNT) -> Sourced | None:
        """A whole number, or a list with one a layer; None where they differ, or there is none.

        Raises:
            KvcalcError: it is something else.
        """
        found = self.get(*names)
        if found is None or not isinstance(found.value, list):
            return None if found is None else self._whole(found, names[0], least, most)
        each = [self._whole(Sourced(value, found.reason), names[0], least, most).value for value in found.value]
        if not each:
            raise self.refusal(f"{found.reason} is an empty list", self.deciding(names[0]))
        return Sourced(each[0], f"{found.reason}, the same in every layer") if len(set(each)) == 1 else None

    def tokens(self, *names: str) -> Sourced:
        """A number of tokens, which must be there.

        Raises:
            KvcalcError: it is not, or is none.
        """
        return self.count(*names, most=MAX_CONTEXT)

    def optional_tokens(self, *names: str) -> Sourced | None:
        """A number of tokens, or None.

        Raises:
            KvcalcError: it is something else.
        """
        return self.optional_count(*names, most=MAX_CONTEXT)

    def flag(self, name: str) -> bool:
        """Whether a key is true; absent and null are false, unless the class's default is true.

        Raises:
            KvcalcError: it is neither.
        """
        found = self.get(name)
        if found is None:
            return False
        if not isinstance(found.value, bool):
            raise self.refusal(f"{name} is {shown_value(found.value)}, neither true nor false", self.deciding(name))
        return found.value

    def numbers(self, name: str) -> list[int]:
        """A list of whole numbers, none below zero, which must be there.

        Raises:
            KvcalcError: it is not.
        """
        found = self.need(name)
        if not isinstance(found.value, list) or not all(type(each) is int and each >= 0 for each in found.value):
            raise self.refusal(
                f"{name} is {shown_value(found.value)}, not a list of whole numbers", self.deciding(name)
            )
        return found.value

    def marks(self, name: str, length: int) -> list[int]:
        """A list of `length` zeros and ones, which must be there.

        Raises:
            KvcalcError: it is not.
        """
        found = self.numbers(name)
        if len(found) != length or any(each > 1 for each in found):
            raise self.refusal(f"{name} is not {length} times 0 or 1", self.deciding(name))
        return found

    def part(self, name: str, *, optional: bool = False) -> Config:
        """A mapping inside, which must be there unless it is optional.

        Raises:
            KvcalcError: it is not.
        """
        found = self.get(name) if optional else self.need(name)
        return self._part(name, {} if found is None else found.value)

    def parts(self, name: str, length: int) -> list[Config]:
        """A list of `length` mappings, which must be there.

        Raises:
            KvcalcError: it is not.
        """
        found = self.need(name).value
        if not isinstance(found, list) or len(found) != length:
            raise self.refusal(f"{name} is not a list of {length}", self.deciding(name))
        return [self._part(name, each) for each in found]

    def around(self, name: str) -> Config:
        """A mapping beside the text model's part, which must be there.

        Raises:
            KvcalcError: it is not.
        """
        return self._inner(name, self.outer.get(name))

    def _part(self, name: str, values: Any) -> Config:
        part = self._inner(name, values)
        self.parts_read.append(part)
        return part

    def _inner(self, name: str, values: Any) -> Config:
        if not isinstance(values, dict):
            raise self.refusal(f"{name} is {shown_value(values)}, no mapping")
        return Config(values, {}, self.shown, f"{self.model_type}: {name}", place=self.place or name)

    def words(self, name: str) -> list[str] | None:
        """A list of words, or None.

        Raises:
            KvcalcError: it is something else.
        """
        found = self.get(name)
        if found is None:
            return None
        if not isinstance(found.value, list) or not all(isinstance(each, str) for each in found.value):
            raise self.refusal(f"{name} is {shown_value(found.value)}, not a list of words", self.deciding(name))
        return found.value

    def ignore(self, *names: str) -> None:
        """Take these keys as read: they mean nothing for the cache in this family."""
        self.read.update(names)

    def without(self, name: str) -> str:
        """How a user takes a key as absent, or the whole mapping that has it."""
        key, taken = self.place or name, "it" if self.place is None else f"all of {self.place}"
        return f"--assume {key}=null takes {taken} as absent, or {_YAML}" if _PLAIN.fullmatch(key) else _YAML

    def deciding(self, name: str) -> str:
        """How a user gives a key a value, or the whole mapping that has it."""
        stated = f"{name}=VALUE" if self.place is None else f"{self.place}=JSON"
        return f"--assume {stated} decides it, or {_YAML}"

    def refusal(self, what: str, way_out: str = BY_HAND) -> KvcalcError:
        """An error: what was found, and what a user can do."""
        return KvcalcError(f"{self.shown}: {one_line(f'{self.model_type}: {what}; {way_out}', MAX_MESSAGE)}")

    def _whole(self, found: Sourced, name: str, least: int, most: int) -> Sourced:
        value = found.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            what = f"{name} is {shown_value(found.value)}, not a whole number from {least} to {most:,}"
            raise self.refusal(what, self.deciding(name))
        return Sourced(value, found.reason)


def shown_value(value: Any) -> str:
    """A value of a file as messages print it."""
    text = one_line(json.dumps(value, ensure_ascii=False), MAX_SHOWN + 1)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
