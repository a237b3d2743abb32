"""What a server says of itself while it starts, whatever the engine: settings, and figures as it printed them."""

from __future__ import annotations

import re
from dataclasses import field
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.noun import Noun, noun
from kvcalc.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


Minor = tuple[int, ...]
"""A version, perhaps without its last number: (0, 10) is any of 0.10."""

_NUMBER = r"(\d+(?:\.\d+){1,2})"
_VERSIONS = re.compile(rf"{_NUMBER}(?: to {_NUMBER})?")


class Unit(Enum):
    """What a figure counts, and how much one of it is."""

    GIB = GIB
    MIB = MIB
    MB = 10**6
    BYTES = 1
    TOKENS = "tokens"
    BLOCKS = "blocks"
    SEQUENCES = "sequences"
    SHARE = "share"

    @property
    def bytes(self) -> int:
        """Of one; 1 of what is no memory."""
        return self.value if isinstance(self.value, int) else 1

    @property
    def shown(self) -> str:
        """Behind a number."""
        if isinstance(self.value, int):
            return {Unit.GIB: " GiB", Unit.MIB: " MiB", Unit.MB: " MB"}.get(self, " bytes")
        return "x" if self is Unit.SEQUENCES else ""


@noun
class Figure(Noun):
    """A kind of figure that engines print.

    Attributes:
        name: in results.
        unit: that it is printed in.
        decimals: that are printed at least, where trailing zeros are left out.
    """

    name: str
    unit: Unit
    decimals: int = 0


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

    @classmethod
    def of(cls, figure: Figure, text: str, process: str) -> Printed:
        """A number as an engine prints it: '56.21', '460,496'."""
        number = text.replace(",", "")
        decimals = max(figure.decimals, len(number.partition(".")[2]))
        off = Fraction(1, 2 * 10**decimals) if decimals else Fraction(0)
        size = figure.unit.bytes
        return cls(Fraction(number) * size, off * size, f"{text}{figure.unit.shown}", process)


@noun
class Wording(Noun):
    """A line that an engine prints, with what it tells.

    Attributes:
        anchor: characters that such a line always has; lines without them are not looked at.
        pattern: whose groups are named after figures, or are `version`, `model`, `device`, `settings`, `command`,
            `refused`, `draft`, or `key` with `value`: a setting or a key of the model's file.
        versions: that print it, as '0.10 to 0.26', and when.
        source: the function that does, in the engine's tree.
        starts: whether a server prints it once, at its start.
        generation: of the engine, where only one prints it; V0 and V1 stand side by side in some versions of vLLM.
        anew: figures that are printed once more from such a line on: what was printed of them before is void.
    """

    anchor: str
    pattern: re.Pattern[str]
    versions: str
    source: str
    starts: bool = False
    generation: str = ""
    anew: tuple[str, ...] = ()

    @property
    def between(self) -> tuple[Minor, Minor] | None:
        """The first and the last version that print it; None where any does."""
        found = _VERSIONS.match(self.versions)
        if found is None:
            return None
        first, last = (tuple(map(int, each.split("."))) for each in (found[1], found[2] or found[1]))
        return first, last


@noun
class Dialect(Noun):
    """How an engine tells of its start.

    Attributes:
        engine: by kvcalc's name.
        figures: by the names of the groups that hold them.
        wordings: all that is looked for.
        settings: option of kvcalc (with its dashes) or of the engine (without) by the name that the engine prints.
        nested: of those names, the ones that stand within another setting.
        flags: the name that each short flag of its command line stands for.
        process: of a line: who printed it.
        typical: lines of most starts that hold figures, for a message.
        suffixes: of numbers on its command line, and what each multiplies them by.
        first_rank_alone: the version since which only a node's first rank prints its figures; None where all do.
        metadata: key of the model's file by the name that the engine prints of it.
        wraps: whether a line without a level may continue the one before it.
        before: figures that are printed before the first line of a start.
        derive: the figures with those that follow from several of them.
    """

    engine: str
    figures: Mapping[str, Figure]
    wordings: tuple[Wording, ...]
    settings: Mapping[str, str]
    nested: frozenset[str]
    flags: Mapping[str, str]
    process: re.Pattern[str]
    typical: tuple[str, ...]
    suffixes: Mapping[str, int] = field(default_factory=dict)
    first_rank_alone: Minor | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    wraps: bool = True
    before: frozenset[str] = frozenset()
    derive: Callable[[Mapping[str, tuple[Printed, ...]]], Mapping[str, tuple[Printed, ...]]] | None = None

    @property
    def looked_for(self) -> str:
        """What is compared, for a message."""
        return f"{self.engine}: such lines as {' or '.join(map(repr, self.typical))}"


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
