"""Multi-query attention: all query heads share one key head and one value head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from kvcalc.fields import Dim
from kvcalc.mechanisms.base import CachedTensor, Heads, Mechanism, Projection
from kvcalc.mechanisms.heads import (
    check_widths,
    head_label,
    key_and_value_projections,
    keys_and_values,
    multiply_adds,
    without_values,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MQA(Mechanism):
    """Multi-query attention (arXiv 1911.02150): one head's key and value are kept, on every tensor-parallel rank."""

    title: ClassVar[str] = "Multi-query attention"
    keeps: ClassVar[str] = "one key and one value, shared by all heads"
    formula: ClassVar[str] = "head_dim + v_head_dim"
    source: ClassVar[str] = "Shazeer 2019, https://arxiv.org/abs/1911.02150 section 3"
    example: ClassVar[str] = (
        "Falcon-7B (multi_query: true) keeps 2 x 64 elements per token and layer: 67,108,864 bytes at 8,192 tokens in "
        "bf16. Reading its 71 query heads as KV heads gives 71 times too much."
    )

    kind: Literal["mqa"] = "mqa"
    num_heads: Dim
    head_dim: Dim
    v_head_dim: Dim | None = None
    k_equals_v: bool = False

    def __post_init__(self) -> None:
        Mechanism.__post_init__(self)  # super() does not know a class with slots
        check_widths(self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v)

    def cached(self) -> tuple[CachedTensor, ...]:
        return keys_and_values(None, self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v)

    def projections(self, hidden_size: int) -> tuple[Projection, ...]:
        return key_and_value_projections(hidden_size, 1, self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v)

    @property
    def query_heads(self) -> int:
        return self.num_heads

    @property
    def heads(self) -> Heads:
        return Heads(self.num_heads, self.head_dim, self.v_head_dim, None, self.k_equals_v)

    @property
    def multiply_adds(self) -> int:
        return multiply_adds(self.num_heads, self.head_dim, self.v_head_dim)

    @property
    def label(self) -> str:
        return f"mqa {head_label(f'{self.num_heads}/1', self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v)}"

    @property
    def formula_here(self) -> str:
        return without_values(self.formula, k_equals_v=self.k_equals_v)
