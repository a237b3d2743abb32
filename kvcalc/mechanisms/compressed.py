"""Compressed attention: the last tokens' entries as they are, and one more for every few tokens of all the context."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from kvcalc.fields import Dim
from kvcalc.mechanisms.base import CachedTensor, Mechanism, Projection, Role
from kvcalc.mechanisms.mla import latent_projections
from kvcalc.mechanisms.states import check_state_formats
from kvcalc.noun import noun
from kvcalc.term import Factor

if TYPE_CHECKING:
    from collections.abc import Iterator

_OF_ENTRIES = ("shared_entries", "overlap", "index_head_dim", "index_topk")


@noun(kw_only=True)
class Compressed(Mechanism):
    """Attention over a window and over compressed entries (DeepSeek-V4 and V4.1): a key is its own value.

    Attributes:
        head_dim: elements of an entry, of which all heads read the same.
        sliding_window: the last tokens whose entries are kept as they are.
        compress_ratio: tokens that a compressed entry stands for; None where the window is all. Of 1 nothing waits.
        shared_entries: whether an earlier layer keeps the entries, and the indexer's keys, that this one reads.
        overlap: whether an entry also reads the tokens of the entry before it: then tokens have two vectors, one for
            each of the entries that read it.
        index_head_dim: width of an indexer's compressed key, where there is one.
        index_of_entries: whether such a key is made of an entry, so that nothing of its own waits.
        index_n_heads: the indexer's query heads.
        index_topk: how many compressed entries a token reads, chosen by the indexer.
        qk_rope_head_dim: elements of an entry that are rotated.
        state_dtype: the format of what is not compressed yet; fp32 where it is None.
    """

    title: ClassVar[str] = "Compressed attention"
    keeps: ClassVar[str] = (
        "an entry of the last sliding_window tokens (kv), one for every compress_ratio tokens (compressed_kv), and in "
        "fp32 what the next of those will be made of: a vector and its scores for each of the last compress_ratio "
        "tokens, with overlap two of both for twice as many (compressor_state); with an indexer the same of its keys, "
        "or the keys alone where they are made of entries (index_of_entries); of entries that an earlier layer keeps "
        "(shared_entries) only the window"
    )
    source: ClassVar[str] = (
        "DeepSeek-V4, https://huggingface.co/deepseek-ai/DeepSeek-V4-Pro/blob/main/DeepSeek_V4.pdf section 2.3; "
        "transformers 5.24, models/deepseek_v4/modeling_deepseek_v4.py, DeepseekV4CSACache and DeepseekV4HCACache; "
        "what is not compressed yet: vLLM 0.33.0, vllm/models/deepseek_v4/compressor.py; "
        "shared entries: https://arxiv.org/abs/2609.19969 and DeepSeek-V4.1-Flash, inference/model.py, Attention, "
        "Compressor and Indexer"
    )
    example: ClassVar[str] = (
        "DeepSeek-V4-Flash at 131,072 tokens in bf16: a layer with compress_ratio 4 keeps 128 x 512 x 2 + 32,768 x "
        "(512 x 2 + 132) + 8 x (2,048 + 512) x 4 = 38,092,800 bytes, one with compress_ratio 128 keeps 1,703,936, and "
        "one with an entry for each token would keep 134,217,728. Of short contexts, most is what waits in fp32."
    )

    kind: Literal["compressed"] = "compressed"
    num_heads: Dim
    head_dim: Dim
    sliding_window: Dim
    compress_ratio: Dim | None = None
    shared_entries: bool = False
    overlap: bool = False
    index_head_dim: Dim | None = None
    index_of_entries: bool = False
    index_n_heads: Dim | None = None
    index_topk: Dim | None = None
    q_lora_rank: Dim | None = None
    qk_rope_head_dim: Dim | None = None
    state_dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_state_formats(None, self.state_dtype)
        if self.compress_ratio is None:
            self._check_without("compress_ratio, of a layer that has compressed entries", _OF_ENTRIES)
        if self.shared_entries or self.compress_ratio == 1:
            self._check_without("entries that this layer pools of several tokens", ("overlap", "state_dtype"))
        if self.index_head_dim is None:
            others = ("index_of_entries", "index_n_heads", *(() if self.shared_entries else ("index_topk",)))
            self._check_without("index_head_dim, of a layer that has an indexer", others)
        if self.qk_rope_head_dim is not None and self.qk_rope_head_dim > self.head_dim:
            raise ValueError("qk_rope_head_dim: must be at most head_dim")

    def _check_without(self, what: str, names: tuple[str, ...]) -> None:
        """Fields that only go with something which this layer lacks."""
        for name in names:
            if getattr(self, name):
                raise ValueError(f"{name}: goes with {what}")

    @property
    def has_entries(self) -> bool:
        """Whether it keeps compressed entries itself."""
        return self.compress_ratio is not None and not self.shared_entries

    def cached(self) -> tuple[CachedTensor, ...]:
        width = Factor("head_dim", self.head_dim)
        window = CachedTensor("kv", (width,), last=Factor("sliding_window", self.sliding_window))
        if self.compress_ratio is None or self.shared_entries:
            return (window,)
        pools = self.compress_ratio > 1
        every = Factor("compress_ratio", self.compress_ratio) if pools else None
        found = [window, CachedTensor("compressed_kv", (width,), every=every)]
        if pools:
            found.append(self._state("compressor_state", width))
        if self.index_head_dim is not None:
            width = Factor("index_head_dim", self.index_head_dim)
            found.append(CachedTensor("index_k", (width,), role=Role.INDEX, format="fp8_block128", every=every))
            if pools and not self.index_of_entries:
                found.append(self._state("index_state", width))
        return tuple(found)

    def _state(self, name: str, width: Factor) -> CachedTensor:
        """Of the tokens that the next entry reads, a vector and its scores, of each entry that reads them."""
        times, ratio = 1 + self.overlap, self.compress_ratio or 0
        vectors = Factor("vectors_and_scores", 2 * times, derived=(str(2 * times), str(2 * times)))
        words = ("2 x compress_ratio", f"2 x {ratio}") if self.overlap else None
        last = Factor("state_tokens" if self.overlap else "compress_ratio", times * ratio, derived=words)
        return CachedTensor(name, (vectors, width), role=Role.STATE, format=self.state_dtype or "fp32", last=last)

    def projections(self, hidden_size: int) -> tuple[Projection, ...]:
        """The latents' down-projections, and all of compressors and indexer: none has heads to divide."""
        return (*latent_projections(hidden_size, self.head_dim, self.q_lora_rank), *self._compressing(hidden_size))

    def _compressing(self, hidden_size: int) -> Iterator[Projection]:
        vectors = 1 if self.compress_ratio == 1 else 2 * (1 + self.overlap)
        if self.has_entries:
            yield Projection("compressor's projections", vectors * self.head_dim, hidden_size)
        if self.index_head_dim is not None:
            name = "indexer's projections"
            if self.index_of_entries and self.has_entries:
                yield Projection(name, self.index_head_dim, self.head_dim)
            elif self.has_entries:
                yield Projection(name, vectors * self.index_head_dim, hidden_size)
            if self.index_n_heads is not None:
                yield Projection(name, self.index_n_heads * self.index_head_dim, self.q_lora_rank or hidden_size)
                yield Projection(name, self.index_n_heads, hidden_size)

    @property
    def query_heads(self) -> int:
        return self.num_heads

    @property
    def multiply_adds(self) -> int:
        """Every head scores and sums the entry itself."""
        return 2 * self.num_heads * self.head_dim

    @property
    def positions_read(self) -> int | None:
        """Of the compressed entries."""
        return self.index_topk

    def positions(self, kept: int) -> int:
        window = min(kept, self.sliding_window)
        if self.compress_ratio is None:
            return window
        return window + min(kept // self.compress_ratio, self.index_topk or kept)

    @property
    def label(self) -> str:
        found = f"compressed {self.num_heads} heads, {self.head_dim}, window {self.sliding_window:,}"
        if self.compress_ratio is None:
            return found
        found += f", 1 per {self.compress_ratio:,}{' overlapping' if self.overlap else ''}"
        found += " of an earlier layer" if self.shared_entries else ""
        found += "" if self.index_head_dim is None else f", index {self.index_head_dim}"
        found += " of entries" if self.index_of_entries else ""
        found += "" if self.index_topk is None else f", top {self.index_topk:,}"
        return found if self.state_dtype is None else f"{found}, state {self.state_dtype}"
