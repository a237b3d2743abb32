"""Multi-head attention: every query head has a key head and a value head of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from kvcalc.fields import Dim
from kvcalc.mechanisms.base import CachedTensor, Heads, Mechanism
from kvcalc.mechanisms.heads import check_widths, head_label, keys_and_values, multiply_adds, without_values
from kvcalc.term import Factor


@dataclass(frozen=True, slots=True, kw_only=True)
class MHA(Mechanism):
    """Multi-head attention (arXiv 1706.03762, section 3.2.2): all heads' keys and values are kept."""

    title: ClassVar[str] = "Multi-head attention"
    keeps: ClassVar[str] = "a key and a value for every head"
    formula: ClassVar[str] = "num_heads x (head_dim + v_head_dim)"
    source: ClassVar[str] = "Vaswani et al. 2017, https://arxiv.org/abs/1706.03762 section 3.2.2"
    example: ClassVar[str] = (
        "32 layers x 32 heads of 64 at 80,000 tokens in 2 bytes: 2 x 32 x 32 x 64 x 80,000 x 2 = 20,971,520,000 bytes "
        "(19.53 GiB). A widely read article works this example and prints 640 GB, 30.5 times too much; its 80 GB for "
        "8 query heads to a KV head should be 2,621,440,000 bytes, its 20 GB for one KV head 655,360,000."
    )

    kind: Literal["mha"] = "mha"
    num_heads: Dim
    head_dim: Dim
    v_head_dim: Dim | None = None
    k_equals_v: bool = False

    def __post_init__(self) -> None:
        Mechanism.__post_init__(self)  # super() does not know a class with slots
        check_widths(self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v)

    def cached(self) -> tuple[CachedTensor, ...]:
        heads = Factor("num_heads", self.num_heads, "head")
        return keys_and_values(heads, self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v)

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
        return f"mha {head_label(str(self.num_heads), self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v)}"

    @property
    def formula_here(self) -> str:
        return without_values(self.formula, k_equals_v=self.k_equals_v)
