"""Times of a trace as nanoseconds: numbers of a unit, or dates as ISO 8601 writes them, with up to nine decimals."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from kvcalc.errors import KvcalcError
from kvcalc.traces.columns import UNITS
from kvcalc.traces.trace import SECOND

_DATE = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d", re.ASCII)
_REST = re.compile(r"(?:[.,](\d{1,12}))?(?:Z|UTC|([+-])(\d\d):?(\d\d))?", re.ASCII)
_LONGEST_DATE = 40
_TO_THE_SECOND = 19
"""Characters of a date without its decimals."""
_NANO = 9
"""Decimals of a nanosecond."""

_EPOCH = 1970
LATEST = 4 * 10**18
"""Nanoseconds: some 126 years."""


class Clock:
    """Reads the times of one file.

    Attributes:
        unit: of numbers.
        dates: whether a date was read.
    """

    def __init__(self, unit: str) -> None:
        self.unit, self.dates, self._numbers = unit, False, False
        self._nanoseconds = UNITS[unit]
        self._second: tuple[str, int] = ("-", 0)

    @property
    def in_words(self) -> str:
        """What its times are written as."""
        return "dates" if self.dates else self.unit

    def read(self, text: str) -> int:
        """Nanoseconds.

        Raises:
            KvcalcError: it is no time, not finite, negative, or beyond a century.
        """
        if text[:_TO_THE_SECOND] == self._second[0]:
            part = text[_TO_THE_SECOND + 1 :]
            plain = part.isdecimal() and part.isascii() and len(part) <= _NANO
            if plain and text[_TO_THE_SECOND : _TO_THE_SECOND + 1] == ".":
                return self._second[1] * SECOND + int(part.ljust(_NANO, "0"))
        whole, _, part = text.partition(".")
        if whole.isdecimal() and whole.isascii() and (not part or (part.isdecimal() and part.isascii())):
            if len(whole) > len(str(LATEST)):
                raise self._too_late(text)
            self._numbers = True
            time = int(whole) * self._nanoseconds
            if part:
                time += int(part[:18]) * self._nanoseconds // 10 ** len(part[:18])
        elif len(text) <= _LONGEST_DATE and _DATE.match(text):
            time = self._date(text)
        else:
            time = self._number(text)
        if time > LATEST:
            raise self._too_late(text)
        if self.dates and self._numbers:
            raise KvcalcError(f"the time {text[:40]}: times of a trace are all dates or all numbers, and this has both")
        return time

    def _too_late(self, text: str) -> KvcalcError:
        others = ", ".join(each for each in UNITS if each != self.unit)
        hint = "" if self.dates else f" in {self.unit}; --time-unit says if it is in {others}"
        return KvcalcError(f"the time {text[:40]} is more than a century{hint}")

    def _date(self, text: str) -> int:
        if text[:_TO_THE_SECOND] != self._second[0]:
            try:
                moment = datetime.fromisoformat(text[:_TO_THE_SECOND]).replace(tzinfo=UTC)
            except ValueError as error:
                raise KvcalcError(f"not a time: '{text[:40]}'") from error
            if moment.year < _EPOCH:
                raise KvcalcError(f"the time {text[:40]} is before {_EPOCH}")
            self._second = text[:_TO_THE_SECOND], int(moment.timestamp())
        rest = _REST.fullmatch(text[_TO_THE_SECOND:])
        if rest is None:
            raise KvcalcError(f"not a time: '{text[:40]}'")
        self.dates = True
        seconds = self._second[1]
        if rest[2]:
            away = 3600 * int(rest[3]) + 60 * int(rest[4])
            seconds += -away if rest[2] == "+" else away
        if seconds < 0:
            raise KvcalcError(f"the time {text[:40]} is before {_EPOCH}")
        return seconds * SECOND + int((rest[1] or "0").ljust(12, "0")) // 1000

    def _number(self, text: str) -> int:
        try:
            plain = len(text) <= _LONGEST_DATE and text.isascii() and "_" not in text
            number = Decimal(text) if plain else None
        except InvalidOperation:
            number = None
        if number is None:
            raise KvcalcError(f"not a time: '{text[:40]}'")
        if not number.is_finite() or number < 0 or number > LATEST:
            raise KvcalcError(f"a time must be a number from 0 to {LATEST:,}, not {text[:40]}")
        self._numbers = True
        return int(number * self._nanoseconds)
