"""Attention beside an indexer that pools its keys: a row for each token, a key for each group, a ring of the last.

Letters of shapes are in base.py.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from kvcalc.reference.base import ReferenceAttention, ReferenceParts, Rows
from kvcalc.reference.mha_mqa_gqa import GroupedQueryAttention
from kvcalc.reference.mla import MultiHeadLatentAttention
from kvcalc.reference.pooled_indexer import TAIL
from kvcalc.reference.stored_as import INDEX_TAIL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from kvcalc.model.span import Span

_KEY = "index_k"


class PooledIndexAttention(ReferenceParts):
    """A layer whose own indexer is a `PooledIndexer`, with what that keeps as parts of their own."""

    base: ClassVar[type[ReferenceAttention]]
    """That layer."""

    chosen = frozenset({_KEY, TAIL})
    pooled = (TAIL,)

    def __init__(self, mechanism: Any, hidden_size: int, span: Span | None = None) -> None:
        super().__init__(mechanism, hidden_size, span)
        self.layer: Any = self.base(mechanism, hidden_size, span)

    @property
    @abstractmethod
    def read(self) -> tuple[str, ...]:
        """The tensors that attention reads, of which every token has a row."""

    @property
    def rings(self) -> Mapping[str, int | None]:
        return {**dict.fromkeys(self.read), TAIL: self.stride}

    @property
    def entries(self) -> tuple[str, ...]:
        return (_KEY,)

    @property
    def stride(self) -> int:
        return int(self.layer.indexer.group)

    @property
    def reach(self) -> int:
        return 0

    def keep(self, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        """What the layer keeps of tokens, index_tail (B, T, 2, I) or (B, T, I) among it."""
        kept: dict[str, Tensor] = self.layer.keep(x_BTD, start)
        return kept

    def pool(self, rows: Mapping[str, Tensor], first: int) -> dict[str, Tensor]:
        """index_k (B, T, I)."""
        return {_KEY: self.layer.indexer.made(rows[TAIL], first)}

    def attend(self, x_BTD: Tensor, start: int, rows: Mapping[str, Rows]) -> Tensor:
        """The layer reads rows of tokens; its indexer chooses them by the keys of groups."""
        tensors = {name: rows[name].tensors[name] for name in (*self.read, _KEY)}
        output: Tensor = self.layer.attend(x_BTD, start, Rows(tensors, rows[self.read[0]].positions_S))
        return output

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        output: Tensor = self.layer(x_BTD, last)
        return output

    def shard(self, rank: int, tp: int) -> Self:
        """The rank's heads; keys and what waits for them are whole on every rank."""
        layer = self.layer.shard(rank, tp)
        with torch.device("meta"):
            part = type(self)(layer.mechanism, self.hidden_size, self.span)
        part.layer = layer
        return part


class PooledLatentAttention(PooledIndexAttention):
    """Latents, chosen so."""

    base = MultiHeadLatentAttention
    small = {**MultiHeadLatentAttention.small, "index_kpool": 3, "index_topk": 9}  # noqa: RUF012  # as in the base
    stored_as = {**MultiHeadLatentAttention.stored_as, TAIL: INDEX_TAIL}  # noqa: RUF012  # likewise
    layouts = MultiHeadLatentAttention.layouts

    @property
    def read(self) -> tuple[str, ...]:
        return ("c_kv", "k_rope") if self.layer.rope else ("c_kv",)


class PooledGroupedAttention(PooledIndexAttention):
    """Keys and values of heads, chosen so."""

    base = GroupedQueryAttention
    small = {**GroupedQueryAttention.small, "index_kpool": 3, "index_topk": 9}  # noqa: RUF012  # as in the base
    stored_as = {**GroupedQueryAttention.stored_as, TAIL: INDEX_TAIL}  # noqa: RUF012  # likewise
    layouts = GroupedQueryAttention.layouts

    @property
    def read(self) -> tuple[str, ...]:
        return ("k",) if self.layer.k_equals_v else ("k", "v")
