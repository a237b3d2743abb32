"""Grouped-query attention: several query heads share one key head and one value head."""

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
from kvcalc.term import Factor


@dataclass(frozen=True, slots=True, kw_only=True)
class GQA(Mechanism):
    """Grouped-query attention (arXiv 2305.13245): `num_kv_heads` keys and values are kept."""

    title: ClassVar[str] = "Grouped-query attention"
    keeps: ClassVar[str] = "a key and a value for every KV head"
    formula: ClassVar[str] = "num_kv_heads x (head_dim + v_head_dim)"
    source: ClassVar[str] = "Ainslie et al. 2023, https://arxiv.org/abs/2305.13245 section 2.2"
    example: ClassVar[str] = (
        "Llama-3-70B, 64 query heads on 8 KV heads of 128, 80 layers, 32 sequences of 8,192 tokens in bf16: "
        "2 x 80 x 32 x 8,192 x 8 x 128 x 2 = 85,899,345,920 bytes, 1/8 of what multi-head attention would keep."
    )

    kind: Literal["gqa"] = "gqa"
    num_heads: Dim
    num_kv_heads: Dim
    head_dim: Dim
    v_head_dim: Dim | None = None
    k_equals_v: bool = False

    def __post_init__(self) -> None:
        Mechanism.__post_init__(self)  # super() does not know a class with slots
        check_widths(self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v)
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_kv_heads must divide num_heads, and {self.num_kv_heads} does not divide {self.num_heads}"
            )

    def cached(self) -> tuple[CachedTensor, ...]:
        heads = Factor("num_kv_heads", self.num_kv_heads, "head")
        return keys_and_values(heads, self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v)

    def projections(self, hidden_size: int) -> tuple[Projection, ...]:
        return key_and_value_projections(
            hidden_size, self.num_kv_heads, self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v
        )

    @property
    def query_heads(self) -> int:
        return self.num_heads

    @property
    def heads(self) -> Heads:
        return Heads(self.num_heads, self.head_dim, self.v_head_dim, self.num_kv_heads, self.k_equals_v)

    @property
    def multiply_adds(self) -> int:
        return multiply_adds(self.num_heads, self.head_dim, self.v_head_dim)

    @property
    def label(self) -> str:
        heads = f"{self.num_heads}/{self.num_kv_heads}"
        return f"gqa {head_label(heads, self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v)}"

    @property
    def formula_here(self) -> str:
        return without_values(self.formula, k_equals_v=self.k_equals_v)
