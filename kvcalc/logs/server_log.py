"""What a server says of itself while it starts, whatever the engine: settings, and figures as it printed them."""

from __future__ import annotations

from dataclasses import field
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.noun import Noun, noun

if TYPE_CHECKING:
    from collections.abc import Mapping


Minor = tuple[int, ...]
"""A version, perhaps without its last number: (0, 10) is any of 0.10."""


class Printed(NamedTuple):
    """A figure as it stands in the log.

    Attributes:
        value: in bytes where it is memory.
        off: by how much rounding may have changed it, at most.
        text: as it was printed, with its unit.
        process: that printed it, as the log calls it; empty where it does not say.
    """

    value: Fraction
    off: Fraction
    text: str
    process: str = ""


@noun
class ServerLog(Noun):
    """The last start of a server in its log.

    Attributes:
        version: of the engine, as it writes it.
        model: as the engine was told it: a name on the Hub, or a path of its machine.
        device: what the driver calls the accelerator.
        settings: by option of kvcalc (with dashes) or of the engine; as text.
        printed: the figures, each as often as it was printed.
        between: versions that print such lines, the first and the last; None where any may.
        generation: of the engine, where its lines tell; in lower case.
        starts: how many there are in the log.
        refused: why the server did not start, as it says; None where it does not say so.
        metadata: what it prints of its model's file, by the file's keys; as text.
    """

    engine: str
    version: str | None = None
    model: str | None = None
    device: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    printed: Mapping[str, tuple[Printed, ...]] = field(default_factory=dict)
    between: tuple[Minor, Minor] | None = None
    generation: str = ""
    starts: int = 1
    refused: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def most(self, figure: str) -> Printed | None:
        """Of the rank that printed the most."""
        return max(self.printed.get(figure, ()), default=None)

    def total(self, figure: str) -> Printed | None:
        """Of all that print it, together."""
        values = self.printed.get(figure, ())
        if not values:
            return None
        text = " + ".join(each.text for each in values)
        return Printed(
            sum((each.value for each in values), Fraction(0)), sum((each.off for each in values), Fraction(0)), text
        )

    def least(self, figure: str) -> Printed | None:
        """Of the rank that printed the least: an engine gives every rank as many blocks as that one has."""
        return min(self.printed.get(figure, ()), default=None)
