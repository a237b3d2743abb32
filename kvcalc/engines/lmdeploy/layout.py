"""A model as LMDeploy lays it out: one pool of blocks of all layers on every rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.budget import Pool
from kvcalc.engines.content_counter import Rate, rows_bytes
from kvcalc.engines.lmdeploy.budget import budget_of
from kvcalc.engines.lmdeploy.rules import TURBOMIND
from kvcalc.engines.load import Load
from kvcalc.engines.settled import Settled
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.engines.budget import Budget
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.lmdeploy.options import Settings
    from kvcalc.engines.setup import Setup
    from kvcalc.model.stages import Stage


class LmdeployLayout(Settled):
    """Every layer keeps every token, in blocks.

    Args:
        kept_in: the formats of its tensors.
    """

    def __init__(self, setup: Setup, settings: Settings, kept_in: CacheFormat) -> None:
        super().__init__(setup)
        self._settings, self._format = settings, kept_in

    @property
    def block_tokens(self) -> int:
        return self._settings.block

    @property
    def cache_format(self) -> CacheFormat:
        return self._format

    def _row(self, stage: Stage) -> int:
        """Bytes of a token in all layers."""
        return sum(each.row_bytes for each in self._content_rows(stage))

    def _blocks(self, context: int, prefix: int) -> tuple[int, int]:
        """Blocks that each sequence takes, and those that all share."""
        shared = prefix // self.block_tokens
        return -(-context // self.block_tokens) - shared, shared

    def _tokens(self, load: Load) -> int:
        """Of all blocks that are taken."""
        own = sum(n * self._blocks(context, load.shared_prefix)[0] for n, context in load.alike)
        return (own + self._blocks(0, load.shared_prefix)[1] * load.prefixes_kept) * self.block_tokens

    def held_bytes(self, stage: Stage, load: Load) -> int:
        return self._tokens(load) * self._row(stage)

    def beside_bytes(self, stage: Stage, whole: Load, tokens: int) -> int:
        if not whole.sequences:
            return self.held_bytes(stage, Load(1, tokens))
        own, _ = self._blocks(tokens, min(whole.shared_prefix, tokens))
        return own * self.block_tokens * self._row(stage)

    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:
        tokens = self._tokens(load)
        for each in self._content_rows(stage):
            unused = tokens - rows_bytes((each,), self.rank_load(stage, load)) // each.row_bytes
            if unused > 0:
                name = "rounding to blocks" if each.layer.span is None else "tokens outside the window"
                factors = (Factor("unused_tokens", unused, "token unused"), Factor("row", each.row_bytes, "byte"))
                yield Product(f"{each.layer.label}: {each.tensor.name}, {name}", factors, TURBOMIND)

    def rate(self, stage: Stage, load: Load) -> Rate:
        own, shared = self._blocks(load.context, load.shared_prefix)
        row = self._row(stage)
        block = self.block_tokens * row
        return Rate(row, row, 0, own * block, shared * block)

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:
        return budget_of(self.setup, self._settings, self.block_tokens * self._row(stage), weights_bytes)

    def pool(self, memory: Sequence[int], load: Load) -> Pool | None:
        row = self._row(self.stages[0])
        if not row:
            return None
        blocks = max(0, min(memory)) // (row * self.block_tokens)
        tokens = blocks * self.block_tokens
        return Pool(blocks, self.block_tokens, tokens, float(f"{tokens / load.context if load.context else 0.0:.2f}"))
