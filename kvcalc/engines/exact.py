"""The engine `exact`: what layers hold, to the byte, with no rounding to blocks and no padding."""

from __future__ import annotations

from math import lcm
from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines.base import Engine
from kvcalc.engines.content import contents
from kvcalc.engines.content_counter import WORKLOADS_REMEMBERED, rows_bytes
from kvcalc.engines.growth import stretch_of
from kvcalc.engines.load import Load
from kvcalc.engines.parked import Parked
from kvcalc.engines.settled import Settled
from kvcalc.engines.setup import Setup
from kvcalc.engines.side_by_side import SideBySide
from kvcalc.errors import KvcalcError
from kvcalc.formats.turboquant import TURBOQUANT
from kvcalc.note import Note, note
from kvcalc.term import Factor, Sum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.content_counter import Rate, TensorRows
    from kvcalc.engines.growth import Stretch
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.stages import Stage


class Exact(Engine):
    """The documented formulas."""

    name: ClassVar[str] = "exact"
    about: ClassVar[str] = (
        "The documented formulas, to the byte: every layer keeps each token's row, one with a window or chunks "
        "min(context, window or chunk) of them, one with a state the same for any context. Serving engines round to "
        "blocks, keep more of a window than its length, and pad states to pages or keep them twice."
    )
    formula: ClassVar[str] = "sum over layers and tensors of layers x sequences x positions kept x bytes of the row"
    source: ClassVar[str] = "each mechanism's own (kvcalc explain mha, mqa, gqa, mla, mamba2, ...)"
    plain: ClassVar[bool] = True
    drafts: ClassVar[bool] = True

    def places_parts_of(self, mechanism: Mechanism) -> bool:  # noqa: ARG002  # every one's are counted
        return True

    def draft_tp(self, asked: int | None, tp: int) -> int:
        found = asked or 1
        if tp % found:
            raise KvcalcError(f"--draft-tp: {found} does not divide tp {tp}: each rank holds a share of the draft")
        return found

    def settle(self, setup: Setup) -> Settled:
        if setup.cache_format.name in TURBOQUANT:
            raise KvcalcError(
                f"--cache-dtype: {setup.cache_format.name} is vLLM's, which keeps the first and last layers in another "
                "format; give --engine vllm"
            )
        own = ExactLayout(setup)
        return own if setup.draft is None else SideBySide(own, ExactLayout(setup.draft))

    def not_modelled(self) -> Iterator[Note]:
        yield note(
            "blocks-and-fragmentation",
            "rounding to blocks, fragmentation, and prefix caching's blocks that can be evicted",
        )


class ExactLayout(Settled):
    """Each layer's rows on its own stage."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._of_a_sequence: dict[tuple[int, int, bool], int] = {}

    def content_bytes(self, stage: Stage, load: Load, *, read: bool = False) -> int:
        """As many times what one sequence has, where they share nothing; that is remembered of the last contexts."""
        if load.mixed or load.shared_prefix:
            return super().content_bytes(stage, load, read=read)
        asked = stage.number, load.context, read
        one = self._of_a_sequence.get(asked)
        if one is None:
            if len(self._of_a_sequence) >= WORKLOADS_REMEMBERED:
                self._of_a_sequence.clear()
            one = super().content_bytes(stage, load._replace(sequences=1), read=read)
            self._of_a_sequence[asked] = one
        return load.sequences * one

    def held_bytes(self, stage: Stage, load: Load) -> int:
        return self.content_bytes(stage, load)

    def stretch(self, stage: Stage, load: Load) -> Stretch:
        def rate(context: int) -> Rate:
            return self.rate(stage, load._replace(context=context))

        return stretch_of(self._content_rows(stage), self.rank_load(stage, load), rate)

    def beside_bytes(self, stage: Stage, whole: Load, tokens: int) -> int:
        """It finds the shared prefix kept by whole sequences, but not in windowed layers, which have moved on."""
        prefix = min(whole.shared_prefix, tokens) if whole.sequences else 0
        rows = self.setup.counter.rows(stage.kinds, self.setup.deployment.tp)
        moved_on = tuple(each for each in rows if each.limits(whole.context))
        others = tuple(each for each in rows if not each.limits(whole.context))

        def held(some: tuple[TensorRows, ...], sequences: int, shared: int) -> int:
            return rows_bytes(some, self.rank_load(stage, Load(sequences, tokens, shared)))

        return held(others, 2, prefix) - held(others, 1, prefix) + held(moved_on, 1, 0)

    def parked(self, tokens: int) -> Parked:
        """Its content, as each rank has it."""
        load = Load(1, tokens)
        parts = [(stage.times, self.content_bytes(stage, load)) for stage in self.stages]
        whole = self.setup.deployment.tp * sum(times * part for times, part in parts)
        return Parked(whole, 1, max(part for _, part in parts), "the documented formulas")

    @property
    def block_tokens(self) -> int:
        """Tokens that have a whole number of rows of each kind, on each of the ranks that share them."""
        stages = (self.setup.counter.rows(stage.kinds, self.setup.deployment.tp) for stage in self.stages)
        return lcm(*(each.tensor.tokens_per_row for rows in stages for each in rows))

    def replica(self, load: Load) -> Sum:
        """Of a model whose stages keep the same as one rank would: each kind of layer once, whatever its stage."""
        setup = self.setup
        whole = self.rank_load(self.stages[0], load)._replace(layers=setup.model.layout.kinds)
        terms = tuple(each.term for each in contents(whole))
        if setup.deployment.tp > 1:
            ranks = Factor("ranks", setup.deployment.tp, "rank")
            terms = tuple(term.times(ranks) for term in terms)
        return Sum("cache", terms)

    def lower_bound(self, load: Load) -> bool:
        return any(
            each.limits(load.context) or each.constant_rows is not None
            for stage in self.stages
            for each in self.setup.counter.rows(stage.kinds, self.setup.deployment.tp)
        )
