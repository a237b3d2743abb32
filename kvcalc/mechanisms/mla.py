"""Multi-head latent attention: one compressed vector and one rotary key a token, shared by all heads."""

from __future__ import annotations

from typing import ClassVar, Literal

from kvcalc.fields import Dim, DimOrNone
from kvcalc.mechanisms.base import CachedTensor, Heads, Mechanism, Projection
from kvcalc.mechanisms.indexed import index_tensors
from kvcalc.noun import noun
from kvcalc.term import Factor


@noun(kw_only=True)
class MLA(Mechanism):
    """Multi-head latent attention (arXiv 2405.04434, section 2.1): no tensor has heads, so every rank keeps them all.

    `qk_nope_head_dim`, `v_head_dim` and `q_lora_rank` shape the projections; they never enter the cache.

    Attributes:
        qk_rope_head_dim: 0 where keys are not rotated: then no rotary key is kept.
        index_head_dim: width of a sparse indexer's key, where the layer has one (DeepSeek-V3.2's report, section 2.1).
        index_n_heads: the indexer's query heads.
        index_topk: how many positions a token reads, chosen by this layer's indexer or by an earlier layer's.
        index_kpool: tokens that one of the indexer's keys is pooled over (GLM-5.3-Flash): whole groups are chosen, and
            the tokens of one that is not full are read too. None where each token has a key.
    """

    title: ClassVar[str] = "Multi-head latent attention"
    keeps: ClassVar[str] = (
        "one latent vector (c_kv) and one decoupled rotary key (k_rope), shared by all heads; with a sparse indexer "
        "its key too (index_k), in fp8 with an fp32 scale for each 128 elements, whatever the cache's format; pooled, "
        "one for every index_kpool tokens, and of the last index_kpool a key and its gates in bf16 (index_tail)"
    )
    source: ClassVar[str] = (
        "DeepSeek-V2, https://arxiv.org/abs/2405.04434 section 2.1.3 and table 1; the indexer: DeepSeek-V3.2-Exp, "
        "https://github.com/deepseek-ai/DeepSeek-V3.2-Exp inference/model.py, class Indexer; pooled: vLLM 0.33.0, "
        "vllm/models/glm5next/common/attention.py, Glm5NextIndexerCache and Glm5NextTailCache"
    )
    example: ClassVar[str] = (
        "DeepSeek-V3: (512 + 64) x 61 layers x 2 bytes = 70,272 bytes a token, on every tensor-parallel rank: the "
        "latent does not divide. Its config also carries num_key_value_heads 128, which is not what is cached. Leaving "
        "the rotary key out loses 64 of 576 elements. DeepSeek-V3.2 adds 132 bytes of index_k a token and layer: 656 + "
        "132 with fp8_ds_mla, 576 + 132 with fp8; transformers keeps index_k in bf16 (--cache-dtype index_k=bf16)."
    )

    varies: ClassVar[frozenset[str]] = frozenset({"index_kpool"})

    kind: Literal["mla"] = "mla"
    num_heads: Dim
    kv_lora_rank: Dim
    qk_rope_head_dim: DimOrNone
    qk_nope_head_dim: Dim
    v_head_dim: Dim
    q_lora_rank: Dim | None = None
    index_head_dim: Dim | None = None
    index_n_heads: Dim | None = None
    index_topk: Dim | None = None
    index_kpool: Dim | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("index_n_heads", "index_kpool"):
            if getattr(self, name) is not None and self.index_head_dim is None:
                raise ValueError(f"{name}: goes with index_head_dim, of a layer that has an indexer")

    @classmethod
    def least(cls, field: str) -> int:
        return 0 if field == "qk_rope_head_dim" else 1

    def cached(self) -> tuple[CachedTensor, ...]:
        tensors = [CachedTensor("c_kv", (Factor("kv_lora_rank", self.kv_lora_rank),))]
        if self.qk_rope_head_dim:
            tensors.append(CachedTensor("k_rope", (Factor("qk_rope_head_dim", self.qk_rope_head_dim),)))
        if self.index_head_dim is not None:
            waiting = Factor("key_and_gate", 2), Factor("index_head_dim", self.index_head_dim)
            tensors += index_tensors(self.index_head_dim, self.index_kpool, "fp8_block128", waiting)
        return tuple(tensors)

    def projections(self, hidden_size: int) -> tuple[Projection, ...]:
        """The latents' down-projections and all of an indexer: none has heads to divide."""
        found = latent_projections(hidden_size, self.kv_lora_rank + self.qk_rope_head_dim, self.q_lora_rank)
        if self.index_head_dim is None or self.index_n_heads is None:
            return found
        name, queries = "indexer's projections", self.index_n_heads * self.index_head_dim
        return (
            *found,
            *[Projection(name, self.index_head_dim, hidden_size)] * (1 if self.index_kpool is None else 2),
            Projection(name, queries, self.q_lora_rank or hidden_size),
            Projection(name, self.index_n_heads, hidden_size),
        )

    @property
    def query_heads(self) -> int:
        return self.num_heads

    @property
    def heads(self) -> Heads:
        """As wide as its values."""
        return Heads(self.num_heads, self.v_head_dim)

    @property
    def multiply_adds(self) -> int:
        """With the up-projections absorbed into queries and output: every head scores and sums the latent itself."""
        return self.num_heads * (2 * self.kv_lora_rank + self.qk_rope_head_dim)

    @property
    def positions_read(self) -> int | None:
        return self.index_topk

    @property
    def label(self) -> str:
        index = "" if self.index_head_dim is None else f", index {self.index_head_dim}"
        index += "" if self.index_kpool is None else f" of {self.index_kpool:,}"
        top = "" if self.index_topk is None else f", top {self.index_topk:,}"
        return f"mla {self.num_heads} heads, {self.kv_lora_rank}+{self.qk_rope_head_dim}{index}{top}"


def latent_projections(hidden_size: int, kv_width: int, q_lora_rank: int | None) -> tuple[Projection, ...]:
    """What makes the latents of keys and values, and of queries where they have one."""
    widths = (kv_width,) if q_lora_rank is None else (kv_width, q_lora_rank)
    return tuple(Projection("latent down-projections", width, hidden_size) for width in widths)
