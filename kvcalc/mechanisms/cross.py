"""Cross attention: queries of the text on keys and values of an encoder's tokens."""

from __future__ import annotations

from typing import ClassVar, Literal

from kvcalc.fields import Dim, Tokens
from kvcalc.mechanisms.base import CachedTensor, Heads, Mechanism, Projection
from kvcalc.mechanisms.mha_mqa_gqa import check_kv_heads, key_and_value_projections, keys_and_values
from kvcalc.noun import noun
from kvcalc.term import Factor


@noun(kw_only=True)
class Cross(Mechanism):
    """Cross attention (arXiv 1706.03762, section 3.2.3): the encoder's keys and values are computed once and kept."""

    title: ClassVar[str] = "Cross attention"
    keeps: ClassVar[str] = "a key and a value for every KV head and every token of the encoder, whatever the context"
    kept_per: ClassVar[str] = "sequence"
    source: ClassVar[str] = (
        "Vaswani et al. 2017, https://arxiv.org/abs/1706.03762 section 3.2.3; Llama 3, "
        "https://arxiv.org/abs/2407.21783 section 7.2, for images"
    )
    example: ClassVar[str] = (
        "Llama-3.2-11B-Vision, 8 such layers, one image of 4 tiles of 1,601 tokens, in bf16: 8 x 6,404 x 8 x 256 x 2 = "
        "209,846,272 bytes a sequence. Counting these layers as if they kept text would add 32,768 bytes a token."
    )

    kind: Literal["cross"] = "cross"
    num_heads: Dim
    num_kv_heads: Dim
    head_dim: Dim
    encoder_context: Tokens

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kv_heads(self.num_heads, self.num_kv_heads)

    def cached(self) -> tuple[CachedTensor, ...]:
        heads = Factor("num_kv_heads", self.num_kv_heads, "head")
        rows = Factor("encoder_context", self.encoder_context, "token of the encoder")
        return keys_and_values(heads, self.head_dim, rows=rows)

    def projections(self, hidden_size: int) -> tuple[Projection, ...]:
        return key_and_value_projections(hidden_size, self.num_kv_heads, self.head_dim)

    @property
    def query_heads(self) -> int:
        return self.num_heads

    @property
    def heads(self) -> Heads:
        return Heads(self.num_heads, self.head_dim, None, self.num_kv_heads)

    @property
    def constant_multiply_adds(self) -> int:
        return self.encoder_context * self.num_heads * 2 * self.head_dim

    @property
    def label(self) -> str:
        return f"cross {self.num_heads}/{self.num_kv_heads} x {self.head_dim}, {self.encoder_context:,} tokens"
