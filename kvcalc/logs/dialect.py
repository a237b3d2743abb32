"""What an engine prints while it starts, as data: its figures, its lines, and the names of its settings."""

from __future__ import annotations

import re
from dataclasses import field
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.logs.server_log import Minor, Printed
from kvcalc.noun import Noun, noun
from kvcalc.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_NUMBER = r"(?:(\d+(?:\.\d+){1,2})|b(\d{3,6}))"
_VERSIONS = re.compile(rf"(?P<up>up to )?{_NUMBER}(?: to {_NUMBER})?")
"""'0.10', '0.10 to 0.26', 'b5300 to b11549', 'up to b5300'."""


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

    def printed(self, text: str, process: str) -> Printed:
        """A number as an engine prints it: '56.21', '460,496'."""
        number = text.replace(",", "")
        decimals = max(self.decimals, len(number.partition(".")[2]))
        off = Fraction(1, 2 * 10**decimals) if decimals else Fraction(0)
        size = self.unit.bytes
        return Printed(Fraction(number) * size, off * size, f"{text}{self.unit.shown}", process)


@noun
class LogLine(Noun):
    """A line that an engine is known to print, and what it tells.

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
        numbers = [tuple(map(int, each.split("."))) for each in found.groups()[1:] if each is not None]
        return (0,) if found["up"] else numbers[0], numbers[-1]


def log_line(
    anchor: str,
    pattern: str,
    versions: str,
    source: str,
    *,
    starts: bool = False,
    generation: str = "",
    anew: tuple[str, ...] = (),
) -> LogLine:
    """A `LogLine` whose pattern is given as text."""
    return LogLine(anchor, re.compile(pattern), versions, source, starts, generation, anew)


NVIDIA_CARD = (
    r"(?P<device>NVIDIA (?:(?:GeForce|RTX|Tesla|Quadro|TITAN|PRO) ){0,3}[A-Z]*\d{1,4}[\w-]*"
    r"(?: (?:PRO|\d{2,4}(?:GB)?|HBM\w+|PCIe|NVL|Ti|Blackwell|Workstation|Server|Edition|Ada|Generation))*)"
)
"""The pattern of a card's name as nvidia-smi and torch print it."""


@noun
class Dialect(Noun):
    """How an engine tells of its start.

    Attributes:
        engine: by kvcalc's name.
        figures: by the names of the groups that hold them.
        lines: those that are looked for.
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
    lines: tuple[LogLine, ...]
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
