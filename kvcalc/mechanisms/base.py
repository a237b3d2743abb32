"""What an attention mechanism is to a calculator: the list of tensors that a layer of it keeps."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import MISSING, fields
from enum import Enum
from functools import cache, cached_property
from typing import Any, ClassVar, get_args, get_type_hints

from kvcalc.fields import CHECKED
from kvcalc.mechanisms.formula import in_numbers, in_words
from kvcalc.named_tuple import NamedTuple
from kvcalc.noun import Noun
from kvcalc.term import Factor


class Role(Enum):
    """What a kept tensor is for. It decides the element format, and whether ranks may share its tokens."""

    CACHE = "cache"
    """What attention reads: in the cache's format; decode context parallelism shares its tokens."""
    INDEX = "index"
    """What a sparse indexer reads to choose positions: in a format of its own, and whole on every rank."""
    CONV = "conv"
    """The last inputs of a convolution: in the dtype of computing, unless `conv_dtype` says otherwise."""
    STATE = "state"
    """What a recurrence carries from token to token: in fp32, unless `state_dtype` says otherwise."""


class CachedTensor(NamedTuple):
    """A tensor that a layer keeps: rows of `heads` x the product of `dims` elements.

    Attributes:
        name: as `--cache-dtype NAME=FORMAT` calls it.
        dims: config keys and their values, whose product is the elements of a head (or of the row).
        heads: heads, groups or channels of a row. They divide over tensor-parallel ranks; None: each rank has it whole.
        rows: how many rows a sequence has, where it is a constant; None: one for each token.
        role: what it is for.
        format: the element format that is its own; None: the one that its role has.
        every: tokens that one row stands for, which is there once all of them are; None: a row stands for one.
        last: how many of the last tokens have a row, whatever the layer's window; None: those that the layer keeps.
    """

    name: str
    dims: tuple[Factor, ...]
    heads: Factor | None = None
    rows: Factor | None = None
    role: Role = Role.CACHE
    format: str | None = None
    every: Factor | None = None
    last: Factor | None = None

    @property
    def num_heads(self) -> int:
        """1 where there is no such axis."""
        return 1 if self.heads is None else self.heads.value

    @property
    def head_elements(self) -> int:
        """Elements of one head."""
        return math.prod(dim.value for dim in self.dims)

    @property
    def row_elements(self) -> int:
        """Elements of all heads."""
        return self.num_heads * self.head_elements

    @property
    def tokens_per_row(self) -> int:
        """How many tokens a row stands for."""
        return 1 if self.every is None else self.every.value

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The factors of its elements; a state is one row, and of a row of several tokens each has its share."""
        rows = () if self.rows is None or self.role is Role.STATE else (self.rows,)
        row = (*(() if self.heads is None else (self.heads,)), *self.dims)
        if self.every is None:
            return (*rows, *row)
        words = f"{in_words([row])} / {self.every.name}", f"{in_numbers([row])} / {self.every.value:,}"
        return (Factor(words[0], 0, derived=words),)


class Heads(NamedTuple):
    """A layer's heads, whatever it keeps of them: what multi-head attention with them would keep.

    Attributes:
        v_head_dim: None where values are as wide as keys.
        num_kv_heads: the heads whose keys and values it keeps; None where it keeps no head's.
        k_equals_v: whether key and value are one tensor.
    """

    num_heads: int
    head_dim: int
    v_head_dim: int | None = None
    num_kv_heads: int | None = None
    k_equals_v: bool = False


class Projection(NamedTuple):
    """A matrix that makes what a layer keeps, and whose outputs may be fewer than ranks.

    Attributes:
        name: of all of its kind, for people.
        rows: outputs.
        columns: inputs.
        heads: over how many ranks it divides at most; None where it never divides, and every rank holds it whole.
        makes: `v` of values, where they have a matrix of their own.
    """

    name: str
    rows: int
    columns: int
    heads: int | None = None
    makes: str = ""


_ANY = 3
"""A number that each dim may have, all of them together."""


class Mechanism(Noun, ABC):
    """One kind of attention layer. A subclass is one file: its fields, the tensors that it keeps, its source."""

    title: ClassVar[str]
    keeps: ClassVar[str]
    """What is kept, in words."""
    varies: ClassVar[frozenset[str]] = frozenset()
    """Fields that change what is kept in a way that `keeps` tells, and the formula of the kind leaves out."""
    kept_per: ClassVar[str] = "token"
    """What the formula counts the elements of: each token, or each sequence."""
    source: ClassVar[str]
    example: ClassVar[str] = ""
    """A worked example, or a trap worth telling."""

    __pydantic_config__: ClassVar = CHECKED

    kind: str

    @abstractmethod
    def cached(self) -> tuple[CachedTensor, ...]:
        """The tensors a layer of this mechanism keeps."""

    def __post_init__(self) -> None:
        for name in self.field_parts:
            value = getattr(self, name)
            if isinstance(value, int) and not isinstance(value, bool) and value < self.least(name):
                raise ValueError(f"{name}: must be at least {self.least(name)}, not {value}")

    @classmethod
    def least(cls, field: str) -> int:  # noqa: ARG003  # a mechanism may allow 0 somewhere
        """The least value of a number."""
        return 1

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
        """Heads that score the positions of a cache; None where a layer does not."""
        return None

    @property
    def heads(self) -> Heads | None:
        """Its heads, from which follows what another mechanism would keep; None where there are none, or not known."""
        return None

    @property
    def divided(self) -> tuple[Factor, ...]:
        """What tensor parallelism must divide without rest: query heads, or the heads or channels of a state."""
        return () if self.query_heads is None else (Factor("num_heads", self.query_heads, "query head"),)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a new token with one cached position: of its scores and of its weighted sum of values.

        0 where nothing grows with the context.
        """
        return 0

    @property
    def constant_multiply_adds(self) -> int:
        """Multiply-adds of a new token with what a sequence keeps whatever its context is."""
        return 0

    @property
    def positions_read(self) -> int | None:
        """How many positions of its cache a step reads at most, however many are kept; None: all."""
        return None

    @cached_property
    def has_parts(self) -> bool:
        """Whether it keeps more than rows of tokens and constants, so that not every engine is known to place it."""
        return any(tensor.every or tensor.last for tensor in self.cached())

    def positions(self, kept: int) -> int:
        """How many rows of its cache a step scores, where the layer keeps so many tokens."""
        return kept if self.positions_read is None else min(kept, self.positions_read)

    def projections(self, hidden_size: int) -> tuple[Projection, ...]:  # noqa: ARG002  # most divide whatever they have
        """The matrices that not every legal number of tensor-parallel ranks divides."""
        return ()

    @property
    @abstractmethod
    def label(self) -> str:
        """A short name with the dims, for tables: 'gqa 64/8 x 128'. It differs where what is kept differs."""

    @property
    def formula(self) -> str:
        """The elements that this layer keeps, in the names of its fields: 'num_kv_heads x (head_dim + v_head_dim)'."""
        return in_words(tensor.factors for tensor in self.cached())

    @property
    def formula_in_numbers(self) -> str:
        """The same with their values: '8 x (128 + 64)'."""
        return in_numbers(tensor.factors for tensor in self.cached())

    @classmethod
    def formula_of_kind(cls) -> str:
        """The formula of a layer with every dim given; in brackets the tensors of dims that a layer may lack."""
        return _formula_of_kind(cls)

    @cached_property
    def elements_per_token(self) -> int:
        """Elements that one token adds to one layer's cache while no window is full, rounded up."""
        growing = [tensor for tensor in self.cached() if tensor.rows is None]
        together = math.lcm(*(tensor.tokens_per_row for tensor in growing))
        return -(-sum(together // tensor.tokens_per_row * tensor.row_elements for tensor in growing) // together)

    @property
    def elements_per_sequence(self) -> int:
        """Elements that a sequence keeps in one layer, whatever its context is."""
        constant = ((tensor.row_elements, tensor.rows) for tensor in self.cached())
        return sum(elements * rows.value for elements, rows in constant if rows is not None)

    @property
    def elements(self) -> int:
        """What the formula gives."""
        return self.elements_per_token if self.kept_per == "token" else self.elements_per_sequence


@cache
def _formula_of_kind(build: Any) -> str:
    """Of a mechanism: types are read as text for it, and an explanation looks at all of them."""
    required, hints = (each.name for each in fields(build) if each.default is MISSING), get_type_hints(build)
    least = {tensor.name for tensor in build(**dict.fromkeys(required, _ANY)).cached()}
    numbers = [each.name for each in fields(build) if int in (hints[each.name], *get_args(hints[each.name]))]
    numbers = [name for name in numbers if name not in build.varies]
    most = build(**dict.fromkeys(numbers, _ANY)).cached()
    always = in_words(tensor.factors for tensor in most if tensor.name in least)
    added = [tensor.factors for tensor in most if tensor.name not in least]
    return f"{always} (+ {in_words(added)})" if added else always
