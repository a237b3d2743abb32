"""Multi-head, multi-query and grouped-query attention: one layer that keeps the keys and values of H, 1 or G heads."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from kvcalc.fields import Dim
from kvcalc.mechanisms.base import CachedTensor, Heads, Mechanism, Projection
from kvcalc.mechanisms.indexed import index_tensors
from kvcalc.noun import noun
from kvcalc.term import Factor


class KeysAndValues(Mechanism):
    """What the three have in common. A kind says how many KV heads it has.

    Attributes:
        v_head_dim: width of a value; None where it is that of a key.
        k_equals_v: whether one cached tensor is key and value at once.
    """

    num_heads: int
    head_dim: int
    v_head_dim: int | None
    k_equals_v: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k_equals_v and self.v_head_dim not in (None, self.head_dim):
            raise ValueError(
                f"v_head_dim: is head_dim where k_equals_v is true, and {self.v_head_dim} is not {self.head_dim}"
            )

    @property
    @abstractmethod
    def kv_heads(self) -> Factor | None:
        """The heads whose keys and values are kept; None for one that no rank divides."""

    @property
    def _count(self) -> int:
        return 1 if self.kv_heads is None else self.kv_heads.value

    def cached(self) -> tuple[CachedTensor, ...]:
        return keys_and_values(self.kv_heads, self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v)

    def projections(self, hidden_size: int) -> tuple[Projection, ...]:
        return key_and_value_projections(
            hidden_size, self._count, self.head_dim, self.v_head_dim, k_equals_v=self.k_equals_v
        )

    @property
    def query_heads(self) -> int:
        return self.num_heads

    @property
    def heads(self) -> Heads:
        return Heads(self.num_heads, self.head_dim, self.v_head_dim, self._count, self.k_equals_v)

    @property
    def multiply_adds(self) -> int:
        """Of every query head: a score over the key's width, and a weighted sum over the value's."""
        return self.num_heads * (self.head_dim + (self.head_dim if self.v_head_dim is None else self.v_head_dim))

    @property
    def label(self) -> str:
        return self.heads_label

    @property
    def heads_label(self) -> str:
        """'gqa 64/8 x 128', or 'gqa 64/4 x 192+128' where values are of another width."""
        shared = "" if self.kind == "mha" else f"/{self._count}"
        v_width = "" if self.v_head_dim in (None, self.head_dim) else f"+{self.v_head_dim}"
        same = ", k = v" if self.k_equals_v else ""
        return f"{self.kind} {self.num_heads}{shared} x {self.head_dim}{v_width}{same}"


@noun(kw_only=True)
class MHA(KeysAndValues):
    """Multi-head attention (arXiv 1706.03762, section 3.2.2): all heads' keys and values are kept."""

    title: ClassVar[str] = "Multi-head attention"
    keeps: ClassVar[str] = "a key and a value for every head"
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

    @property
    def kv_heads(self) -> Factor:
        return Factor("num_heads", self.num_heads, "head")

    def projections(self, hidden_size: int) -> tuple[Projection, ...]:  # noqa: ARG002  # as in every mechanism
        """None: legal ranks divide the query heads, and so these."""
        return ()


@noun(kw_only=True)
class MQA(KeysAndValues):
    """Multi-query attention (arXiv 1911.02150): one head's key and value are kept, on every tensor-parallel rank."""

    title: ClassVar[str] = "Multi-query attention"
    keeps: ClassVar[str] = "one key and one value, shared by all heads"
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

    @property
    def kv_heads(self) -> None:
        return None


@noun(kw_only=True)
class GQA(KeysAndValues):
    """Grouped-query attention (arXiv 2305.13245): `num_kv_heads` keys and values are kept.

    Attributes:
        index_head_dim: width of a sparse indexer's key, where the layer has one (MiniMax-M3).
        index_n_heads: the indexer's query heads.
        index_block_size: tokens of a block, of which the indexer chooses whole ones.
        index_topk_blocks: how many blocks a token reads.
        index_kpool: tokens whose vectors are averaged into one of the indexer's keys (Qwen3.8-Flash-Next). None where
            each token has a key.
        index_topk: how many positions a token reads of the groups that share a key.
    """

    title: ClassVar[str] = "Grouped-query attention"
    keeps: ClassVar[str] = (
        "a key and a value for every KV head; with a sparse indexer one key of its own for all of them (index_k), in "
        "bf16 whatever the cache's format (MiniMax-M3; vLLM 0.33.0, vllm/models/minimax_m3/common/indexer.py); pooled, "
        "one for every index_kpool tokens, and a vector of each of the last index_kpool (index_tail; transformers "
        "5.24, models/qwen4_exp, Qwen4ExpTextQSAIndexer)"
    )
    source: ClassVar[str] = "Ainslie et al. 2023, https://arxiv.org/abs/2305.13245 section 2.2"
    example: ClassVar[str] = (
        "Llama-3-70B, 64 query heads on 8 KV heads of 128, 80 layers, 32 sequences of 8,192 tokens in bf16: "
        "2 x 80 x 32 x 8,192 x 8 x 128 x 2 = 85,899,345,920 bytes, 1/8 of what multi-head attention would keep."
    )

    varies: ClassVar[frozenset[str]] = frozenset({"index_kpool", "index_topk"})

    kind: Literal["gqa"] = "gqa"
    num_heads: Dim
    num_kv_heads: Dim
    head_dim: Dim
    v_head_dim: Dim | None = None
    k_equals_v: bool = False
    index_head_dim: Dim | None = None
    index_n_heads: Dim | None = None
    index_block_size: Dim | None = None
    index_topk_blocks: Dim | None = None
    index_kpool: Dim | None = None
    index_topk: Dim | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kv_heads(self.num_heads, self.num_kv_heads)
        for name in ("index_n_heads", "index_block_size", "index_topk_blocks", "index_kpool", "index_topk"):
            if getattr(self, name) is not None and self.index_head_dim is None:
                raise ValueError(f"{name}: goes with index_head_dim, of a layer that has an indexer")
        if (self.index_block_size is None) != (self.index_topk_blocks is None):
            raise ValueError("index_topk_blocks: goes with index_block_size, the tokens of a block")
        if (self.index_kpool is None) != (self.index_topk is None):
            raise ValueError("index_topk: goes with index_kpool, the tokens of a group")
        if self.index_kpool is not None and self.index_block_size is not None:
            raise ValueError("index_kpool: goes without index_block_size, whose keys are of single tokens")

    def cached(self) -> tuple[CachedTensor, ...]:
        kept = KeysAndValues.cached(self)
        if self.index_head_dim is None:
            return kept
        width = Factor("index_head_dim", self.index_head_dim)
        return (*kept, *index_tensors(self.index_head_dim, self.index_kpool, "bf16", (width,)))

    def projections(self, hidden_size: int) -> tuple[Projection, ...]:
        found = KeysAndValues.projections(self, hidden_size)
        if self.index_head_dim is None:
            return found
        keys = 1
        if self.index_kpool is not None:  # its queries are on every rank too (vLLM 0.33, Qwen4ExpQSAQKVIndexerLinear)
            keys += self.index_n_heads or 0
        return (*found, Projection("indexer's projections", keys * self.index_head_dim, hidden_size))

    @property
    def has_parts(self) -> bool:
        return self.index_head_dim is not None

    @property
    def positions_read(self) -> int | None:
        if self.index_topk_blocks is None or self.index_block_size is None:
            return self.index_topk
        return self.index_topk_blocks * self.index_block_size

    @property
    def label(self) -> str:
        found = self.heads_label
        if self.index_head_dim is None:
            return found
        pooled = "" if self.index_kpool is None else f" of {self.index_kpool:,}, top {self.index_topk:,}"
        top = "" if self.index_topk_blocks is None else f", top {self.index_topk_blocks} x {self.index_block_size}"
        return f"{found}, index {self.index_head_dim}{pooled}{top}"

    @property
    def kv_heads(self) -> Factor:
        return Factor("num_kv_heads", self.num_kv_heads, "head")


def check_kv_heads(num_heads: int, num_kv_heads: int) -> None:
    """Query heads share KV heads evenly.

    Raises:
        ValueError: they cannot.
    """
    if num_heads % num_kv_heads:
        raise ValueError(f"num_kv_heads must divide num_heads, and {num_kv_heads} does not divide {num_heads}")


def keys_and_values(
    heads: Factor | None,
    head_dim: int,
    v_head_dim: int | None = None,
    *,
    k_equals_v: bool = False,
    rows: Factor | None = None,
) -> tuple[CachedTensor, ...]:
    """A key and a value for each of `heads` heads; one tensor where they are the same."""
    key = CachedTensor("k", (Factor("head_dim", head_dim),), heads, rows)
    if k_equals_v:
        return (key,)
    width = Factor("head_dim", head_dim) if v_head_dim is None else Factor("v_head_dim", v_head_dim)
    return key, CachedTensor("v", (width,), heads, rows)


def key_and_value_projections(
    hidden_size: int, kv_heads: int, head_dim: int, v_head_dim: int | None = None, *, k_equals_v: bool = False
) -> tuple[Projection, ...]:
    """The matrices that make the keys and the values of `kv_heads` heads."""
    name, v_width = "key and value projections", head_dim if v_head_dim is None else v_head_dim
    keys = Projection(name, kv_heads * head_dim, hidden_size, kv_heads)
    return (keys,) if k_equals_v else (keys, Projection(name, kv_heads * v_width, hidden_size, kv_heads, "v"))
