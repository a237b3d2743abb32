"""Multi-head latent attention with a naive cache: every head's key and value, expanded from the latent."""

from __future__ import annotations

from typing import ClassVar, Literal

from kvcalc.fields import Dim, DimOrNone
from kvcalc.mechanisms.base import CachedTensor, Heads, Mechanism, Projection
from kvcalc.mechanisms.mla import MLA, latent_projections
from kvcalc.noun import noun
from kvcalc.term import Factor


@noun(kw_only=True)
class MLAExpanded(Mechanism):
    """The layer of MLA, but what is kept is what multi-head attention would keep: heads divide over ranks."""

    title: ClassVar[str] = "Multi-head latent attention, cache expanded"
    keeps: ClassVar[str] = "a key and a value for every head, expanded from the latent; the rotary key is in each key"
    source: ClassVar[str] = (
        'DeepSeek-V3, https://github.com/deepseek-ai/DeepSeek-V3 inference/model.py, class MLA, attn_impl "naive"'
    )
    example: ClassVar[str] = (
        "DeepSeek-V3 with kind mla_expanded: 128 x (128 + 64 + 128) = 40,960 elements a token and layer, where mla "
        "keeps 576: 71.1 times as much. Runtimes that do not know the latent cache keep this one."
    )

    kind: Literal["mla_expanded"] = "mla_expanded"
    num_heads: Dim
    kv_lora_rank: Dim
    qk_rope_head_dim: DimOrNone
    qk_nope_head_dim: Dim
    v_head_dim: Dim
    q_lora_rank: Dim | None = None

    @classmethod
    def least(cls, field: str) -> int:
        return 0 if field == "qk_rope_head_dim" else 1

    def cached(self) -> tuple[CachedTensor, ...]:
        nope, rope = self.qk_nope_head_dim, self.qk_rope_head_dim
        derived = "qk_nope_head_dim + qk_rope_head_dim", f"{nope} + {rope}"
        heads = Factor("num_heads", self.num_heads, "head")
        key = Factor("qk_nope_and_rope_head_dim", nope + rope, derived=derived)
        return (
            CachedTensor(
                "k",
                (key,),
                heads,
            ),
            CachedTensor("v", (Factor("v_head_dim", self.v_head_dim),), heads),
        )

    def projections(self, hidden_size: int) -> tuple[Projection, ...]:
        return latent_projections(hidden_size, self.kv_lora_rank + self.qk_rope_head_dim, self.q_lora_rank)

    @property
    def query_heads(self) -> int:
        return self.num_heads

    @property
    def heads(self) -> Heads:
        """As wide as its values."""
        return Heads(self.num_heads, self.v_head_dim)

    @property
    def multiply_adds(self) -> int:
        return self.num_heads * (self.qk_nope_head_dim + self.qk_rope_head_dim + self.v_head_dim)

    @property
    def label(self) -> str:
        key_width = self.qk_nope_head_dim + self.qk_rope_head_dim
        return f"mla expanded {self.num_heads} x {key_width}+{self.v_head_dim}"


def expanded(latent: MLA) -> MLAExpanded:
    """The same layer with a key and a value of every head in its cache."""
    return MLAExpanded(
        num_heads=latent.num_heads,
        kv_lora_rank=latent.kv_lora_rank,
        qk_rope_head_dim=latent.qk_rope_head_dim,
        qk_nope_head_dim=latent.qk_nope_head_dim,
        v_head_dim=latent.v_head_dim,
        q_lora_rank=latent.q_lora_rank,
    )
