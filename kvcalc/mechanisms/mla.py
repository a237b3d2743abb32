"""Multi-head latent attention: one compressed vector and one rotary key a token, shared by all heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from kvcalc.fields import Dim
from kvcalc.mechanisms.base import CachedTensor, Mechanism


@dataclass(frozen=True, slots=True, kw_only=True)
class MLA(Mechanism):
    """Multi-head latent attention (arXiv 2405.04434, section 2.1): neither tensor has heads, so every rank keeps both.

    `qk_nope_head_dim`, `v_head_dim` and `q_lora_rank` shape the projections; they never enter the cache.
    """

    title: ClassVar[str] = "Multi-head latent attention"
    keeps: ClassVar[str] = "one latent vector (c_kv) and one decoupled rotary key (k_rope), shared by all heads"
    formula: ClassVar[str] = "kv_lora_rank + qk_rope_head_dim"
    source: ClassVar[str] = "DeepSeek-V2, https://arxiv.org/abs/2405.04434 section 2.1.3 and table 1"
    example: ClassVar[str] = (
        "DeepSeek-V3: (512 + 64) x 61 layers x 2 bytes = 70,272 bytes a token, on every tensor-parallel rank: the "
        "latent does not divide. Its config also carries num_key_value_heads 128, which is not what is cached. Leaving "
        "the rotary key out loses 64 of 576 elements."
    )

    kind: Literal["mla"] = "mla"
    num_heads: Dim
    kv_lora_rank: Dim
    qk_rope_head_dim: Dim
    qk_nope_head_dim: Dim
    v_head_dim: Dim
    q_lora_rank: Dim | None = None

    def cached(self) -> tuple[CachedTensor, ...]:
        return (
            CachedTensor("c_kv", self.kv_lora_rank, "kv_lora_rank"),
            CachedTensor("k_rope", self.qk_rope_head_dim, "qk_rope_head_dim"),
        )

    @property
    def query_heads(self) -> int:
        return self.num_heads

    @property
    def multiply_adds(self) -> int:
        """With the up-projections absorbed into queries and output: every head scores and sums the latent itself."""
        return self.num_heads * (2 * self.kv_lora_rank + self.qk_rope_head_dim)

    @property
    def label(self) -> str:
        return f"mla {self.num_heads} heads, {self.kv_lora_rank}+{self.qk_rope_head_dim}"
