"""What an attention mechanism is to a calculator: the list of tensors that a layer of it keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import MISSING, fields
from typing import Any, ClassVar, NamedTuple


class CachedTensor(NamedTuple):
    """A tensor that a layer keeps for every token: one row of `heads` x `width` elements.

    Attributes:
        name: as `--cache-dtype NAME=FORMAT` calls it.
        width: elements of a head (or of the row, where there are no heads).
        width_name: the config key that gives the width.
        heads: how many heads the row holds. They divide over tensor-parallel ranks; one alone stays whole on each.
        heads_name: the config key that gives the heads; None for a tensor without a head axis.
    """

    name: str
    width: int
    width_name: str
    heads: int = 1
    heads_name: str | None = None


class Mechanism(ABC):
    """One kind of attention layer. A subclass is one file: its fields, its formula, its source."""

    __slots__ = ()

    title: ClassVar[str]
    keeps: ClassVar[str]
    """What is kept per token and layer, in words."""
    formula: ClassVar[str]
    """Elements per token and layer, in the words of the fields."""
    source: ClassVar[str]
    example: ClassVar[str] = ""
    """A worked example, or a trap worth telling."""

    kind: str

    @abstractmethod
    def cached(self) -> tuple[CachedTensor, ...]:
        """The tensors a layer of this mechanism keeps for each token."""

    def __post_init__(self) -> None:
        described: Any = self
        for each in fields(described):
            value = getattr(self, each.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{each.name}: must be at least 1, not {value}")

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """The keys that a model file may give it beside `kind`; those that it need not end in '?'."""
        described: Any = cls
        return tuple(
            each.name if each.default is MISSING else f"{each.name}?"
            for each in fields(described)
            if each.name != "kind"
        )

    @property
    def query_heads(self) -> int | None:
        """Query heads, which tensor parallelism must divide; None where the layer has no attention of its own."""
        return None

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a new token with one cached position: of its scores and of its weighted sum of values.

        0 where the layer has no cache of its own.
        """
        return 0

    @property
    @abstractmethod
    def label(self) -> str:
        """A short name with the dims, for tables: 'gqa 64/8 x 128'."""

    @property
    def elements_per_token(self) -> int:
        """Elements that one token adds to one layer's cache."""
        return sum(tensor.heads * tensor.width for tensor in self.cached())


def keys_and_values(
    heads: int, heads_name: str | None, head_dim: int, v_head_dim: int | None
) -> tuple[CachedTensor, ...]:
    """A key and a value for each of `heads` heads: what every head-based mechanism keeps."""
    value_width = ("head_dim", head_dim) if v_head_dim is None else ("v_head_dim", v_head_dim)
    return (
        CachedTensor("k", head_dim, "head_dim", heads, heads_name),
        CachedTensor("v", value_width[1], value_width[0], heads, heads_name),
    )


def multiply_adds_of_heads(num_heads: int, head_dim: int, v_head_dim: int | None) -> int:
    """Of every query head: a score over the key's width, and a weighted sum over the value's."""
    return num_heads * (head_dim + (head_dim if v_head_dim is None else v_head_dim))


def head_label(heads: str, head_dim: int, v_head_dim: int | None) -> str:
    """'64/8 x 128', or '64/4 x 192+128' where values are of another width."""
    widths = f"{head_dim}" if v_head_dim in (None, head_dim) else f"{head_dim}+{v_head_dim}"
    return f"{heads} x {widths}"
