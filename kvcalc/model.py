"""A model as a calculator sees it: its layers in order, and what its weights take."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.fields import CHECKED, MAX_PARAMETERS, Dim, Limits, Name, Parameters, Tagged, Text, Tokens
from kvcalc.formats import find_format
from kvcalc.mechanisms import Attention, CachedTensor, Mechanism, Role
from kvcalc.span import Chunk, Span, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LAYERS = 10_000
MAX_REPEAT_DEPTH = 4
MAX_WEIGHT_PARTS = 64
MAX_KINDS = 256
"""Layers that differ in what they keep; real models have a few."""

MAX_ATTENTIONS = 8
"""Caches side by side in one layer; real models have two."""

LayerCount = Annotated[int, Limits(ge=1, le=MAX_LAYERS)]
LayersOrNone = Annotated[int, Limits(ge=0, le=MAX_LAYERS)]

Several = Annotated[tuple[Attention, ...], Limits(min_length=1, max_length=MAX_ATTENTIONS)]


def _one_or_several(value: object) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


Attentions = Annotated[Attention | Several, Tagged(_one_or_several, one=Attention, several=Several)]

Split = Literal["tp", "ep", "all"]
WeightPlace = Literal["embedding", "layers", "head"]


def _check_format(key: str, name: str | None) -> None:
    """The format that a key names must exist.

    Raises:
        ValueError: it does not.
    """
    if name is not None:
        try:
            find_format(name, key)
        except KvcalcError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGroup:
    """`count` equal layers that follow each other.

    Attributes:
        attention: what each of them keeps; several, side by side in one layer, as a list.
        window: sliding window in tokens; None for full attention.
        chunk: length of the chunks that attention stays within; None for full attention.
        cache_dtype: the element format of these layers, whatever the rest of the cache is kept in.
    """

    count: LayerCount
    attention: Attentions
    window: Tokens | None = None
    chunk: Tokens | None = None
    cache_dtype: str | None = None

    def __post_init__(self) -> None:
        _check_format("cache_dtype", self.cache_dtype)
        if min(self.count, self.window or 1, self.chunk or 1) < 1 or 0 in (self.window, self.chunk):
            raise ValueError("count, window and chunk must be at least 1")
        if self.window is not None and self.chunk is not None:
            raise ValueError("chunk: a layer has a window or chunks, not both")
        kinds = ", ".join(f"'{attention.kind}'" for attention in self.attentions)
        if self.span is not None and not any(attention.elements_per_token for attention in self.attentions):
            raise ValueError(f"{self.span.name} does not apply to attention of kind {kinds}")
        if self.cache_dtype is not None and not any(
            tensor.role is Role.CACHE for attention in self.attentions for tensor in attention.cached()
        ):
            raise ValueError(f"cache_dtype: attention of kind {kinds} has no cache that it would apply to")

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """What each of the layers keeps, one or several."""
        return self.attention if isinstance(self.attention, tuple) else (self.attention,)

    @property
    def span(self) -> Span | None:
        """The tokens that a token attends to; None for all before it."""
        if self.chunk is not None:
            return Chunk(self.chunk)
        return None if self.window is None else Window(self.window)

    def caches(self) -> tuple[Layer, ...]:
        """Each of the caches that one layer keeps. Windows, chunks and formats are of those that grow with tokens."""
        return tuple(
            Layer(attention, self.span if attention.elements_per_token else None, self._format(attention))
            for attention in self.attentions
        )

    def _format(self, attention: Attention) -> str | None:
        has_cache = any(tensor.role is Role.CACHE for tensor in attention.cached())
        return self.cache_dtype if has_cache else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A sequence of groups, `repeat` times over."""

    repeat: LayerCount
    of: Annotated[tuple[Layers, ...], Limits(min_length=1)]

    def __post_init__(self) -> None:
        if self.repeat < 1 or not self.of:
            raise ValueError("repeat must be at least 1, of at least one group")


def _group_or_repeat(value: object) -> str:
    return "a repeat" if isinstance(value, dict) and ("repeat" in value or "of" in value) else "a group"


Layers = Annotated[LayerGroup | Repeat, Tagged(_group_or_repeat, **{"a group": LayerGroup, "a repeat": Repeat})]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightPart:
    """A part of the checkpoint in one format.

    Attributes:
        split: over which ranks it divides: `tp` (tensor-parallel ranks), `ep` (experts; over tensor-parallel ranks
            where experts are not spread otherwise), or `all`: every rank holds it whole.
        place: where it sits in the model: `embedding` (before the layers: tables whose rows are looked up; the first
            pipeline stage), `head` (the output head; the last stage), or `layers`, which stages share.
        scales: the part holds the scales of the quantised parts; it is dropped when another format is asked for.
        weight_block_size: elements along a row that share a scale which stands in a part of its own; splitting a row
            elsewhere than between such blocks is not possible without padding.
    """

    part: Text
    parameters: Parameters
    format: str
    split: Split = "tp"
    place: WeightPlace = "layers"
    scales: bool = False
    weight_block_size: Dim | None = None

    def __post_init__(self) -> None:
        _check_format("format", self.format)
        if self.split != "tp" and self.place != "layers":
            raise ValueError(f"place: {self.place} goes with split tp, not {self.split}")


class Layer(NamedTuple):
    """One cache of a layer: what an attention block of it keeps, over which span, in which format of its own.

    Most layers have one. Where blocks stand side by side, each counts as a layer of its own.
    """

    attention: Mechanism
    span: Span | None
    cache_dtype: str | None

    @property
    def label(self) -> str:
        """A name for tables and paths. Layers with the same label keep the same bytes."""
        span = "" if self.span is None else f", {self.span}"
        own_format = "" if self.cache_dtype is None else f", {self.cache_dtype}"
        return f"{self.attention.label}{span}{own_format}"

    def limits(self, context: int) -> bool:
        """Whether it keeps fewer tokens than so many."""
        return self.span is not None and self.span.tokens < context


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model, named as Hugging Face's config.json names things.

    Attributes:
        layers: in the model's order; the order decides what a pipeline stage holds.
        dtype: of computing; the cache defaults to it. None where the source does not say.
        parameters: all of them, as counted from the model's class, not the Hub's padded total.
        tower_parameters: of those, what belongs to towers for images or sound, which text does not use.
        weights: the checkpoint's parts where formats differ; its bytes win over parameters x weight_dtype.
        mtp_layers: multi-token-prediction layers that the checkpoint carries beyond `layers`.
    """

    __pydantic_config__: ClassVar = CHECKED

    name: Name
    hub_ids: tuple[Text, ...] = ()
    source: Text | None = None
    hidden_size: Dim | None = None
    intermediate_size: Dim | None = None
    vocab_size: Annotated[int, Limits(ge=1, le=10**8)] | None = None
    max_context: Tokens | None = None
    tie_word_embeddings: bool | None = None
    num_experts: Dim | None = None
    num_experts_per_tok: Dim | None = None
    num_shared_experts: Annotated[int, Limits(ge=0, le=10**6)] | None = None
    moe_intermediate_size: Dim | None = None
    first_k_dense: LayersOrNone | None = None
    mtp_layers: LayersOrNone | None = None
    modalities: tuple[Text, ...] = ()
    dtype: str | None = None
    parameters: Parameters | None = None
    tower_parameters: Annotated[int, Limits(ge=0, le=MAX_PARAMETERS)] | None = None
    active_parameters: Parameters | None = None
    weight_dtype: str | None = None
    weights: Annotated[tuple[WeightPart, ...], Limits(max_length=MAX_WEIGHT_PARTS)] = ()
    layers: Annotated[tuple[Layers, ...], Limits(min_length=1)]

    def __post_init__(self) -> None:
        _check_format("dtype", self.dtype)
        _check_format("weight_dtype", self.weight_dtype)
        if not self.layers:
            raise ValueError("layers: must not be empty")
        if self.num_layers > MAX_LAYERS:
            raise ValueError(f"layers: {self.num_layers:,} layers are beyond the limit of {MAX_LAYERS:,}")
        if len(self.distinct()) > MAX_KINDS:
            raise ValueError(f"layers: more than {MAX_KINDS} kinds of layers")

    @property
    def num_layers(self) -> int:
        return sum(_layer_count(part, 1) for part in self.layers)

    def sequence(self) -> list[tuple[Layer, ...]]:
        """Every layer, first to last: the caches that it keeps, of most one."""
        return [layer for part in self.layers for layer in _expanded(part)]

    def distinct(self) -> dict[Layer, int]:
        """Each kind of layer and how many there are, in order of first appearance."""
        return count_layers(self.sequence())

    @property
    def cached_tensors(self) -> list[CachedTensor]:
        """The tensors that its layers keep, each kind of layer's."""
        return [tensor for layer in self.distinct() for tensor in layer.attention.cached()]

    @property
    def is_mixture_of_experts(self) -> bool:
        return self.num_experts is not None and self.num_experts > 1

    @property
    def has_towers(self) -> bool:
        """Whether it takes more than text."""
        return any(modality != "text" for modality in self.modalities)

    @property
    def first_with_experts(self) -> int:
        """The first layer that has experts, where there are any."""
        return min(self.first_k_dense, self.num_layers - 1) if self.first_k_dense else 0


def count_layers(layers: Iterable[tuple[Layer, ...]]) -> dict[Layer, int]:
    """Each kind of cache and how many there are, in order of first appearance.

    Layers with one label are one kind: what differs between them (an MLA's projections, say) is not cached.
    """
    counts: dict[Layer, int] = {}
    by_label: dict[str, Layer] = {}
    for caches, run in groupby(layers):
        times = len(list(run))
        for layer in caches:
            kind = by_label.setdefault(layer.label, layer)
            counts[kind] = counts.get(kind, 0) + times
    return counts


def _layer_count(part: LayerGroup | Repeat, depth: int) -> int:
    match part:
        case LayerGroup(count=count):
            return count
        case Repeat(repeat=repeat, of=of):
            if depth > MAX_REPEAT_DEPTH:
                raise ValueError(f"layers: 'repeat' is nested more than {MAX_REPEAT_DEPTH} deep")
            return repeat * sum(_layer_count(inner, depth + 1) for inner in of)


def _expanded(part: LayerGroup | Repeat) -> Iterator[tuple[Layer, ...]]:
    match part:
        case LayerGroup(count=count):
            yield from [part.caches()] * count
        case Repeat(repeat=repeat, of=of):
            yield from [layer for inner in of for layer in _expanded(inner)] * repeat
