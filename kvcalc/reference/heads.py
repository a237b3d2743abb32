"""What multi-head, multi-query and grouped-query attention have in common: their projections."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

from torch import Tensor, nn

from kvcalc.mechanisms import GQA, MHA, MQA
from kvcalc.reference.base import ReferenceAttention, Rows, copy_columns, copy_rows, heads_of, kv_heads_of
from kvcalc.reference.stored_as import KEYS_AND_VALUES

if TYPE_CHECKING:
    from kvcalc.model.span import Span


class HeadAttention(ReferenceAttention):
    """Projections to queries, keys and values, and back. How many heads keys and values have is the mechanism."""

    small = {"head_dim": 6, "v_head_dim": 4}  # noqa: RUF012  # declared as a class variable in the base
    stored_as = {"k": KEYS_AND_VALUES, "v": KEYS_AND_VALUES}  # noqa: RUF012  # likewise

    def __init__(self, mechanism: MHA | MQA | GQA, hidden_size: int, span: Span | None = None) -> None:
        super().__init__(mechanism, hidden_size, span)
        self.k_equals_v = mechanism.k_equals_v
        self.num_heads, self.num_kv_heads = mechanism.num_heads, _kv_heads(mechanism)
        self.head_dim = mechanism.head_dim
        self.v_head_dim = mechanism.v_head_dim or mechanism.head_dim
        self.q_proj = nn.Linear(hidden_size, self.num_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.num_kv_heads * self.head_dim, bias=False)
        if not self.k_equals_v:
            self.v_proj = nn.Linear(hidden_size, self.num_kv_heads * self.v_head_dim, bias=False)
        self.o_proj = nn.Linear(self.num_heads * self.v_head_dim, hidden_size, bias=False)

    def queries(self, x_BTD: Tensor) -> Tensor:
        """q (B, T, H, K), not yet rotated."""
        return self.q_proj(x_BTD).unflatten(-1, (self.num_heads, self.head_dim))  # type: ignore[no-any-return]

    def keys(self, x_BTD: Tensor) -> Tensor:
        """k (B, T, G, K), not yet rotated."""
        return self.k_proj(x_BTD).unflatten(-1, (self.num_kv_heads, self.head_dim))  # type: ignore[no-any-return]

    def values(self, x_BTD: Tensor) -> Tensor:
        """V (B, T, G, V)."""
        return self.v_proj(x_BTD).unflatten(-1, (self.num_kv_heads, self.v_head_dim))  # type: ignore[no-any-return]

    def value_rows(self, rows: Rows) -> Tensor:
        """The values that were kept: the keys themselves where those are the values."""
        return rows.tensors["k" if self.k_equals_v else "v"]

    def output(self, o_BTHV: Tensor) -> Tensor:
        """The heads' outputs joined and projected: (B, T, D)."""
        return self.o_proj(o_BTHV.flatten(-2))  # type: ignore[no-any-return]

    def shard(self, rank: int, tp: int) -> Self:
        heads = heads_of(rank, tp, self.num_heads)
        kv_heads = kv_heads_of(heads, self.num_heads, self.num_kv_heads)
        fewer = {"num_heads": len(heads)}
        if isinstance(self.mechanism, GQA):
            fewer["num_kv_heads"] = len(kv_heads)
        part = self.empty_part(replace(self.mechanism, **fewer))
        copy_rows(part.q_proj, self.q_proj, heads, self.head_dim)
        copy_rows(part.k_proj, self.k_proj, kv_heads, self.head_dim)
        if not self.k_equals_v:
            copy_rows(part.v_proj, self.v_proj, kv_heads, self.v_head_dim)
        copy_columns(part.o_proj, self.o_proj, heads, self.v_head_dim)
        return part


def _kv_heads(mechanism: MHA | MQA | GQA) -> int:
    match mechanism:
        case MHA():
            return mechanism.num_heads
        case MQA():
            return 1
        case GQA():
            return mechanism.num_kv_heads
