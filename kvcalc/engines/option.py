"""An engine's options and rules, as data: what `explain` prints of them, and what reads a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Option(NamedTuple):
    """An option of an engine, named as the engine names it.

    Attributes:
        read: from the text of its value and the words that messages call it by, to the value; refuses with KvcalcError.
        default: as text, as the engine's own documentation has it; None where it depends on more than the option.
        help: what it does, in a sentence.
        otherwise: what is taken where nobody gives it and there is no one default, in words.
        source: where the engine has it.
    """

    read: Callable[[str, str], Any]
    default: str | None
    help: str
    otherwise: str = ""
    source: str = ""

    @property
    def default_in_words(self) -> str:
        """What is taken where nobody gives it."""
        return self.otherwise if self.default is None else self.default


class Rule(NamedTuple):
    """A rule of an engine, for people.

    Attributes:
        about: what it decides.
        formula: how, in the engine's own names.
        source: where in the engine.
    """

    about: str
    formula: str
    source: str
