"""Axes: an option of a scenario that is given several values at once, as people write them.

An axis is a comma list (`1,8,32`, `h100,h200`), a range of counts (`1Ki..1Mi*2` multiplies, `8..64+8` adds; the end is
one of them where a step meets it), or a list of both (`1,8..64+8`). In Python a list, a tuple or a range of values is
one too. A comma within one value is none of an axis: `k=q8_0,v=q4_0` is one format of a cache, and cards of one
deployment are joined by `+`.

    axis_values("context", "4Ki,16Ki")         (4096, 16384)
    axis_values("batch", "8..64+8")            range(8, 65, 8)
    axis_values("cache_dtype", "bf16,fp8")     ("bf16", "fp8")
    axis_values("tp", 4)                       (4,)

What is there is a value of its option, to be put into a scenario: counts are numbers already. One that cannot be is
left as it is written, so that what reads it says what is wrong with it: `sweep` in the row of that scenario.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

from kvcalc.errors import KvcalcError
from kvcalc.scenario.format_list import split_formats
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import ScenarioOptions
from kvcalc.units import AmbiguousCountError

COUNTS = ("batch", "context", "tp", "pp")
"""Axes of whole numbers, which ranges are for."""

AXES = ("model", "batch", "context", "cache_dtype", "weight_dtype", "gpu", "tp", "pp", "engine")
"""The options that may have several values, in the order of their columns; of rows, the last changes fastest."""

MAX_JOINED = 10**7
"""Values of a list, with those of its ranges."""

_RANGE = re.compile(r"(?P<start>.+?)\.\.(?P<end>.+?)(?:(?P<how>[*+])(?P<step>[^*+]+))?")
_WORDS = re.compile(r"(,|\.\.|[*+])")


def axis_values(name: str, given: Any) -> Sequence[Any]:
    """The values of an axis in the order given: numbers of counts, and of all else what its option takes.

    A range may be long: it is not made up before it is gone through.

    Args:
        name: of `AXES`.
        given: as a command line has it, or a value, or a list, tuple or range of values.

    Raises:
        KvcalcError: an empty value, a range that does not say how it goes on or that has no numbers, or a count that
            could mean two ('4k').
    """
    parts: Sequence[Any]
    if not isinstance(given, str):
        if not isinstance(given, list | tuple | range):
            return (given,)
        if not given:
            raise KvcalcError(f"{_label(name)}: no value is given")
        parts = given
    elif name == "cache_dtype":
        parts = split_formats(given)
    else:
        parts = [part.strip() for part in given.split(",")]
    if not isinstance(parts, range) and "" in parts:
        raise KvcalcError(f"{_label(name)}: a value is empty: '{given!s:.60}'")
    if name not in COUNTS or isinstance(parts, range):
        return parts
    try:
        found = [_counts(name, part) for part in parts]
    except AmbiguousCountError as error:
        raise _in_both_readings(name, given, error) from error
    if len(found) > 1 and sum(map(len, found)) > MAX_JOINED:
        raise KvcalcError(f"{_label(name)}: a list of more than {MAX_JOINED:,} values; a longer range stands alone")
    return found[0] if len(found) == 1 else tuple(chain.from_iterable(found))


def _label(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _counts(name: str, part: Any) -> Sequence[Any]:
    """One count, or the counts of a range."""
    if not isinstance(part, str):
        return (part,)
    if ".." in part:
        return _range(name, part)
    try:
        return (_read(name, part),)
    except AmbiguousCountError:
        raise
    except KvcalcError:
        return (part,)


def _read(name: str, text: str) -> Any:
    return options_of(ScenarioOptions)[name].read(text, _label(name))


def _range(name: str, text: str) -> Sequence[int]:
    label, found = _label(name), _RANGE.fullmatch(text)
    if found is None:
        raise KvcalcError(f"{label}: '{text[:60]}' is not a range (for example 8..64+8, or 1Ki..1Mi*2)")
    start, end = (_read(name, found[bound].strip()) for bound in ("start", "end"))
    if found["how"] is None:
        raise KvcalcError(
            f"{label}: the range '{text[:60]}' does not say how it goes on: {text[:60]}+1 adds, {text[:60]}*2 doubles"
        )
    step = _read(name, found["step"].strip())
    if not (isinstance(start, int) and isinstance(end, int) and isinstance(step, int)):
        raise KvcalcError(f"{label}: '{text[:60]}' is not a range of numbers")
    if start > end:
        raise KvcalcError(f"{label}: the range '{text[:60]}' begins above its end; the smaller number comes first")
    if found["how"] == "+":
        return range(start, end + 1, step)
    if step == 1:
        raise KvcalcError(f"{label}: the range '{text[:60]}' stays where it is; multiply by 2 or more")
    counts = [start]
    while counts[-1] * step <= end:
        counts.append(counts[-1] * step)
    return counts


def _in_both_readings(name: str, given: Any, error: AmbiguousCountError) -> AmbiguousCountError:
    """The same of the whole list, so that the command can be shown mended: '4k,16k' is 4000,16000 or 4Ki,16Ki."""
    if not isinstance(given, str):
        return error
    decimal = binary = value = ""
    for word in _WORDS.split(given):  # with what separates them
        readings = _readings(name, word)
        decimal, binary, value = decimal + readings[0], binary + readings[1], value + readings[2]
    return AmbiguousCountError(_label(name), given, decimal=decimal, binary=binary, binary_value=value)


def _readings(name: str, word: str) -> tuple[str, str, str]:
    """The word in decimal, in binary, and what the latter is; thrice the word itself where it has one meaning."""
    try:
        _read(name, word)
    except AmbiguousCountError as error:
        return error.decimal, error.binary, str(error.binary_value)
    except KvcalcError:
        pass
    return word, word, word
