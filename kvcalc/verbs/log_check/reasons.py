"""What explains that a figure is not the printed one."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from kvcalc.noun import Noun, noun
from kvcalc.verbs.log_check.result import GIVEN, TOKENS
from kvcalc.verbs.log_check.rows import ESTIMATED_GRAPHS, WITHOUT_STATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.logs import ServerLog
    from kvcalc.verbs.log_check.result import LogRow

MUCH = 0.01
"""A part of the memory whose difference is more than this share of the cache's is named."""

RANKS_DIFFER = 0.01
"""Of their memory for the cache: 0.9 % in a log of ranks on two machines, 0.06 % in one of two ranks."""

BLOCKS = "num-gpu-blocks-override"
"""Blocks of the cache, whatever its memory."""

_BESIDE = ("usable memory", "weights", "temporary", "non-torch memory", "weights and non-torch memory")
_BESIDE_IN_ONE = ("temporary and CUDA graphs", ESTIMATED_GRAPHS, "weights and temporary")


@noun
class Reasons(Noun):
    """What is known of a log that may explain a difference.

    Attributes:
        rows: by name.
        defaults: of the engine, that were taken where the log does not say what it was started with; in words.
        weights: in words, where they are as the log prints them or by its name.
        stages: of the pipeline.
        ranks: of all stages.
        ranges: what was seen of a part of the overhead, by its name; in words.
        unsaid: with which value of a setting that the log does not have its tokens follow from its memory; in words.
    """

    log: ServerLog
    rows: Mapping[str, LogRow]
    defaults: tuple[str, ...]
    weights: str | None
    stages: int = 1
    ranks: int = 1
    ranges: Mapping[str, str] = field(default_factory=dict)
    unsaid: str | None = None

    def why(self, name: str) -> str | None:
        """In words; None where there is nothing to explain."""
        row = self.rows[name]
        told = list(self._told(name, row))
        return "; ".join(told) or None

    def _told(self, name: str, row: LogRow) -> Iterator[str]:
        if name == ESTIMATED_GRAPHS and row.predicted is None:
            yield "this version takes nothing from the cache for them"
        if name == WITHOUT_STATES:
            yield "the log has no line of its states, whose memory lies beside"
        if row.printed is None or row.predicted is None or self._equal(name, row):
            return
        if name.endswith(GIVEN):
            yield from self._given(row)
        elif name in {TOKENS, "blocks", "concurrency"}:
            yield from self._stated()
            yield from self._pool(name)
        elif name == "cache memory":
            yield from self._parts()
        elif name == "weights":
            yield from [self.weights] if self.weights else []
        elif "temporary" in name:
            yield from self.defaults
        yield from (told for part, told in self.ranges.items() if any(word in name for word in part.split()[:1]))
        if not name.endswith(GIVEN) and name in self.log.printed:
            yield from self._ranks(name)

    def _equal(self, name: str, row: LogRow) -> bool:
        """Whether the prediction rounds to what is printed."""
        off = max(self.log.printed[name.removesuffix(GIVEN)]).off
        low, high = row.predicted_low, row.predicted_high
        if low is None or high is None:
            return False
        printed = row.printed or 0
        if GIVEN in name:
            return low == high and low - off <= printed <= high + off
        return abs((row.predicted or 0) - printed) <= off

    def _given(self, row: LogRow) -> Iterator[str]:
        low, high, printed = row.predicted_low, row.predicted_high, row.printed
        if low is not None and high is not None and printed is not None and low <= printed <= high:
            yield "within the rounding of the printed memory"
        elif self.unsaid is not None:
            yield self.unsaid
        elif self.stages > 1:
            yield "the stage with the least memory decides, and the log may print another's"
        elif self._of_another_rank(row):
            yield "the rank with the least memory decides, and the log may print another's"
        else:
            yield "the layout of the cache differs, not its memory"

    def _of_another_rank(self, row: LogRow) -> bool:
        """Whether the memory of a rank that does not print it may explain somewhat fewer tokens."""
        low, printed = row.predicted_low or 0, row.printed or 0
        told = {each.process for each in self.log.printed.get("cache memory", ())}
        return self.ranks > max(1, len(told)) and 0 < low - printed <= RANKS_DIFFER * low

    def _stated(self) -> Iterator[str]:
        if BLOCKS in self.log.settings:
            yield f"the server was told its blocks: {BLOCKS.replace('-', '_')} {self.log.settings[BLOCKS][:20]}"

    def _pool(self, name: str) -> Iterator[str]:
        given = self.rows.get(f"{name}{GIVEN}")
        low, high = (None, None) if given is None else (given.predicted_low, given.predicted_high)
        if given is None or given.printed is None or low is None or high is None:
            return
        if low <= given.printed <= high:
            yield "the memory differs, not the layout"
        elif self.stages == 1 and not self._of_another_rank(given):
            yield "the layout differs too"

    def _parts(self) -> Iterator[str]:
        """Which parts of the memory make the difference, the greatest first; whether their ranges explain it."""
        cache = self.rows["cache memory"]
        signs = {name: 1 if name == "usable memory" else -1 for name in (*_BESIDE, *_BESIDE_IN_ONE)}
        off = {
            name: sign * ((self.rows[name].predicted or 0) - (self.rows[name].printed or 0))
            for name, sign in signs.items()
            if name in self.rows and self.rows[name].printed is not None and self.rows[name].predicted is not None
        }
        if "weights and non-torch memory" in off and "weights" in off:
            off["non-torch memory"] = off.pop("weights and non-torch memory") - off["weights"]
        for name, much in sorted(off.items(), key=lambda item: -abs(item[1])):
            if abs(much) > MUCH * abs(cache.printed or 0):
                yield f"{name}: {abs(round(much)):,} bytes {'more' if much > 0 else 'less'} for the cache"
        if (cache.predicted_low or 0) <= (cache.printed or 0) <= (cache.predicted_high or 0):
            yield "within the range of what may stand beside it"

    def _ranks(self, name: str) -> Iterator[str]:
        values = self.log.printed[name]
        if len({each.process for each in values}) > 1 and min(values).value != max(values).value:
            yield f"ranks print {min(values).text} to {max(values).text}"
