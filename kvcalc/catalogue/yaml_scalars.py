"""What an unquoted word of YAML means: YAML 1.2's core schema, in which 'no' is a word and '1e9' a number."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

MAX_NUMBER_CHARACTERS = 40
MAX_EXPONENT = 40

Scalar = bool | int | float | str | None

_NUMBER = re.compile(
    r"""(?P<integer>[-+]?[0-9]+(?:_[0-9]+)*)
      | (?P<radix>0o[0-7]+|0x[0-9a-fA-F]+)
      | (?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)
      | (?P<not_finite>[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))""",
    re.VERBOSE,
)
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}


@lru_cache(maxsize=1024)
def plain_scalar(text: str) -> Scalar:
    """The value of an unquoted word. '131_072' is an integer too, and so is a whole number in any spelling ('671e9').

    Raises:
        ValueError: a number out of all proportion, or one that is not finite.
    """
    if text in _WORDS:
        return _WORDS[text]
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    if match["not_finite"]:
        raise ValueError(f"'{text}' is not a finite number")
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise ValueError(f"a number of {len(text)} characters")
    if match["integer"]:
        return int(text)
    if match["radix"]:
        return int(text, 0)
    try:
        number = Decimal(text)
    except ArithmeticError as error:  # an exponent that no number has
        raise ValueError(f"'{text}' is out of all proportion") from error
    if number and abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError(f"'{text}' is out of all proportion")
    return int(number) if number == number.to_integral_value() and "e" in text.lower() else float(number)
