"""What a result says beside its figures: sentences for people, each with a code and its figures for scripts."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Datum = bool | int | float | str | None | tuple["Datum", ...]

_CODES = {
    # what was assumed while the question was put together
    "default-context": "no context is given, so a default is taken",
    "unused-option": "an option that is given has no effect here",
}

CODES: Mapping[str, str] = MappingProxyType(_CODES)
"""Every code, with what it means. Codes are stable: scripts test for them."""


def register(codes: Mapping[str, str]) -> None:
    """Adds codes of one engine, which stand in its own file.

    Raises:
        ValueError: a code has another meaning already.
    """
    for code, meaning in codes.items():
        if _CODES.setdefault(code, meaning) != meaning:
            raise ValueError(f"note code {code} means '{_CODES[code]}' already")


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence beside a result. `note` makes one.

    Attributes:
        code: one of CODES.
        text: the sentence.
        figures: the names and values of what the sentence tells.

    Raises:
        ValueError: the code is not registered.
    """

    code: str
    text: str
    figures: tuple[tuple[str, Datum], ...] = ()

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"note code {self.code} is not registered in kvcalc.note")

    @property
    def data(self) -> dict[str, Datum]:
        """The figures by name, as JSON has them."""
        return dict(self.figures)

    def __str__(self) -> str:
        return self.text


def note(code: str, text: str, **data: Datum) -> Note:
    """A note: `note("default-context", "context is not given: 8,192 is taken", context=8192)`."""
    return Note(code, text, tuple(data.items()))
