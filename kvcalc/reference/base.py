"""What the reference modules share: the two ways through a layer, and how a layer is split over ranks.

Letters of shape suffixes, in every file of this folder:

    B  sequences            H  query heads        K  head_dim           R  kv_lora_rank
    T  tokens given         G  KV heads, groups   V  v_head_dim         P  qk_rope_head_dim
    S  rows of the cache    M  query heads of     D  hidden_size        N  qk_nope_head_dim
    E  encoder's tokens        one KV head (H/G)  C  channels           I  index_head_dim
    L  conv_kernel                                Z  state_size         J  index_n_heads
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.model.span import Span
    from kvcalc.reference.stored_as import StoredAs


Layer = TypeVar("Layer", bound=nn.Module)


class Weighted(Protocol):
    """A projection or a convolution: its weight's first axis is its outputs'."""

    weight: Tensor


class Rows(NamedTuple):
    """Rows of one layer's cache that a query may read.

    Attributes:
        tensors: name -> (B, S, ...), as `keep` gave them.
        positions_S: the token that each row belongs to; -1 where a row holds none.
    """

    tensors: Mapping[str, Tensor]
    positions_S: Tensor


class ReferenceLayer(nn.Module, ABC):
    """One layer, as its paper describes it, in two ways that share projections and what has no memory.

    `forward` is the textbook: the whole sequence at once, without a cache. The other way is what serving does: later
    tokens are computed from what earlier ones have left, and from nothing else of them.

    Attributes:
        mechanism: the dims, as kvcalc's formulas read them too.
        span: which earlier tokens a query may read, its own included; None for all.
    """

    small: ClassVar[Mapping[str, int]] = {}
    """Widths for a proof in float64: field of the mechanism -> at most so many elements."""

    means: ClassVar[Mapping[str, float]] = {}
    """Of weights with one axis, by name, what they are drawn around; 1 where they are not here."""

    stored_as: ClassVar[Mapping[str, StoredAs]] = {}
    """How published code stores each tensor that is kept, by its name, where nobody asks for another format."""

    layouts: ClassVar[Mapping[str, Mapping[str, StoredAs]]] = {}
    """Layouts that give tensors formats of their own: the layout's name -> name of the tensor -> how it is stored."""

    def __init__(self, mechanism: Any, hidden_size: int, span: Span | None = None) -> None:
        super().__init__()
        self.mechanism, self.hidden_size, self.span = mechanism, hidden_size, span

    @abstractmethod
    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        """The output (B, T, D) without a cache; of the last `last` tokens only, where that is given."""

    @abstractmethod
    def shard(self, rank: int, tp: int) -> Self:
        """The part of this layer that one of tp tensor-parallel ranks computes: the ranks' outputs add up to it all."""

    def empty_part(self, mechanism: Any) -> Self:
        """A layer of other dims, of this one's dtype and on its device, with weights yet to be set."""
        weight = next(self.parameters())
        with torch.device("meta"):
            part = type(self)(mechanism, self.hidden_size, self.span)
        part = part.to(weight.dtype)
        part = part if weight.is_meta else allocated(part, weight.device)
        return part.requires_grad_(requires_grad=False)


class ReferenceAttention(ReferenceLayer):
    """A layer whose memory grows: each token leaves rows in a cache, and later tokens are computed from those rows."""

    chosen: ClassVar[frozenset[str]] = frozenset()
    """Tensors that only choose which rows are read."""

    @abstractmethod
    def keep(self, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        """What the tokens at positions start, start + 1, ... leave in the cache: name -> (B, T, ...)."""

    @abstractmethod
    def attend(self, x_BTD: Tensor, start: int, rows: Rows) -> Tensor:
        """The output (B, T, D) for tokens at positions start, ..., from rows of the cache alone, theirs included."""


class ReferenceParts(ReferenceLayer):
    """A layer whose memory has parts: rows of tokens, some in rings, and entries that pool the rows of several tokens.

    An entry is made once all of its tokens are there, from their rows and those of the `reach` tokens before them.
    """

    chosen: ClassVar[frozenset[str]] = frozenset()
    """Parts that only choose which rows are read."""

    pooled: ClassVar[tuple[str, ...]] = ()
    """Parts with rows of tokens, from which entries are made."""

    @property
    @abstractmethod
    def rings(self) -> Mapping[str, int | None]:
        """Each part with rows of tokens, and of how many of the last tokens; None: of all."""

    @property
    @abstractmethod
    def entries(self) -> tuple[str, ...]:
        """Each part with entries."""

    @property
    @abstractmethod
    def stride(self) -> int:
        """Tokens of an entry."""

    @property
    @abstractmethod
    def reach(self) -> int:
        """Tokens before its own that an entry is made from too."""

    @abstractmethod
    def keep(self, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        """The rows of tokens at positions start, start + 1, ...: name -> (B, T, ...)."""

    @abstractmethod
    def pool(self, rows: Mapping[str, Tensor], first: int) -> dict[str, Tensor]:
        """Entries first, first + 1, ...: name -> (B, T, ...).

        Args:
            rows: of the parts `pooled`, of the entries' tokens and the `reach` before them, as far as there are any.
            first: the number of the first entry.
        """

    @abstractmethod
    def attend(self, x_BTD: Tensor, start: int, rows: Mapping[str, Rows]) -> Tensor:
        """The output (B, T, D) for tokens at positions start, ..., from rows of each part, theirs included.

        The position of an entry is that of its last token.
        """


class ReferenceState(ReferenceLayer):
    """A layer whose memory has one size for each sequence: a step replaces it.

    Attributes:
        steps: of how many next tokens each reads some of it, and all together all.
    """

    steps = 1

    @abstractmethod
    def begin(self, sequences: int) -> dict[str, Tensor]:
        """What is kept before the first token: name -> (B, rows, ...)."""

    @abstractmethod
    def advance(self, x_BTD: Tensor, kept: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The output (B, T, D) of the next tokens, from what is kept alone, and what is kept after them."""


def allocated(module: Layer, device: torch.device | str) -> Layer:
    """The same module, whose weights have no values yet, with memory for them on a device.

    `Module.to_empty` does it too, but first imports sympy, which takes half a second.
    """
    weights = module.named_parameters()
    module.load_state_dict(
        {name: torch.empty(*it.shape, dtype=it.dtype, device=device) for name, it in weights}, assign=True
    )
    return module


def initialise(module: nn.Module, seed: int) -> None:
    """Weights that keep the size of what they multiply: normal, 1/sqrt(inputs); norms near 1. One seed, one result."""
    weights = dict(module.named_parameters())
    device = next((weight.device for weight in weights.values()), "cpu")
    generator = torch.Generator(device=device).manual_seed(seed)
    for name, weight in weights.items():
        with torch.no_grad():
            if weight.dim() == 1:
                weight.normal_(getattr(module, "means", {}).get(name, 1.0), 0.1, generator=generator)
            else:
                weight.normal_(0.0, weight.shape[-1] ** -0.5, generator=generator)


def heads_of(rank: int, tp: int, num_heads: int) -> range:
    """The query heads that a rank computes."""
    each = num_heads // tp
    return range(rank * each, (rank + 1) * each)


def kv_heads_of(heads: range, num_heads: int, num_kv_heads: int) -> range:
    """The KV heads that these query heads read. Where several ranks read one, each of them keeps it."""
    readers = num_heads // num_kv_heads
    return range(heads.start // readers, (heads.stop - 1) // readers + 1)


def copy_rows(part: Weighted, whole: Weighted, heads: range, width: int) -> None:
    """Give a rank's projection the outputs of its heads."""
    part.weight.data.copy_(whole.weight.data[heads.start * width : heads.stop * width])


def copy_columns(part: nn.Linear, whole: nn.Linear, heads: range, width: int) -> None:
    """Give a rank's output projection the inputs of its heads."""
    part.weight.data.copy_(whole.weight.data[:, heads.start * width : heads.stop * width])


def copy_entries(part: Tensor, whole: Tensor, heads: range, width: int) -> None:
    """Give a rank the entries of its heads, of a weight that is not a projection."""
    part.data.copy_(whole.data[heads.start * width : heads.stop * width])
