"""Columns of many rows of CSV at once, where they are written as public traces are: others are read row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.traces.clock import Clock

_MOST_DIGITS = 12
"""Of a number that is within every limit."""
_TO_THE_SECOND = len("2024-05-10 00:00:00")
_NANO = 9
"""Decimals of a nanosecond."""


def counts(texts: Sequence[str]) -> list[int] | None:
    """Whole numbers; None where one is not of a few digits."""
    if not _are_digits(texts, _MOST_DIGITS):
        return None
    return [*map(int, texts)]


def times(texts: Sequence[str], clock: Clock) -> list[int] | None:
    """Nanoseconds; None where they are neither all whole numbers nor all dates with as many decimals."""
    if _are_digits(texts, _MOST_DIGITS):
        return [*map(clock.read, texts)]
    points = {text[_TO_THE_SECOND : _TO_THE_SECOND + 1] for text in texts}
    parts = [text[_TO_THE_SECOND + 1 :] for text in texts]
    if points != {"."} or not _are_digits(parts, _NANO) or len({*map(len, parts)}) > 1:
        return None
    seconds = [text[:_TO_THE_SECOND] for text in texts]
    known = {second: clock.read(second) for second in dict.fromkeys(seconds)}
    part = 10 ** (_NANO - len(parts[0]))
    return [known[second] + int(rest) * part for second, rest in zip(seconds, parts, strict=True)]


def _are_digits(texts: Sequence[str], most: int) -> bool:
    joined = "".join(texts)
    return joined.isdecimal() and joined.isascii() and "" not in texts and max(map(len, texts)) <= most
