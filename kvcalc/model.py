"""A model as a calculator sees it: its layers in order, and what its weights take."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.fields import CHECKED, MAX_PARAMETERS, Dim, Limits, Name, Parameters, Tagged, Text, Tokens
from kvcalc.formats import find_format
from kvcalc.mechanisms import Attention, Mechanism

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LAYERS = 10_000
MAX_REPEAT_DEPTH = 4
MAX_WEIGHT_PARTS = 64
MAX_KINDS = 256
"""Layers that differ in what they keep; real models have a few."""

LayerCount = Annotated[int, Limits(ge=1, le=MAX_LAYERS)]
LayersOrNone = Annotated[int, Limits(ge=0, le=MAX_LAYERS)]

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
        attention: what each of them keeps.
        window: sliding window in tokens; None for full attention.
        cache_dtype: the element format of these layers, whatever the rest of the cache is kept in.
    """

    count: LayerCount
    attention: Attention
    window: Tokens | None = None
    cache_dtype: str | None = None

    def __post_init__(self) -> None:
        _check_format("cache_dtype", self.cache_dtype)
        if self.count < 1 or (self.window is not None and self.window < 1):
            raise ValueError("count and window must be at least 1")
        if self.window is not None and not self.attention.cached():
            raise ValueError(f"window does not apply to attention of kind '{self.attention.kind}'")


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
    """One layer: what it keeps, over which window, in which format of its own."""

    attention: Mechanism
    window: int | None
    cache_dtype: str | None

    @property
    def label(self) -> str:
        """A name for tables and paths. Layers with the same label keep the same bytes."""
        window = "" if self.window is None else f", window {self.window:,}"
        own_format = "" if self.cache_dtype is None else f", {self.cache_dtype}"
        return f"{self.attention.label}{window}{own_format}"


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

    def sequence(self) -> list[Layer]:
        """Every layer, first to last."""
        return [layer for part in self.layers for layer in _expanded(part)]

    def distinct(self) -> dict[Layer, int]:
        """Each kind of layer and how many there are, in order of first appearance."""
        return count_layers(self.sequence())

    @property
    def cached_tensors(self) -> list[str]:
        """Names of the tensors that any layer keeps."""
        kept = (tensor.name for layer in self.distinct() for tensor in layer.attention.cached())
        return list(dict.fromkeys(kept))

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


def count_layers(layers: Iterable[Layer]) -> dict[Layer, int]:
    """Each kind of layer and how many there are, in order of first appearance.

    Layers with one label are one kind: what differs between them (an MLA's projections, say) is not cached.
    """
    counts: dict[Layer, int] = {}
    by_label: dict[str, Layer] = {}
    for layer, run in groupby(layers):
        kind = by_label.setdefault(layer.label, layer)
        counts[kind] = counts.get(kind, 0) + len(list(run))
    return counts


def _layer_count(part: LayerGroup | Repeat, depth: int) -> int:
    match part:
        case LayerGroup(count=count):
            return count
        case Repeat(repeat=repeat, of=of):
            if depth > MAX_REPEAT_DEPTH:
                raise ValueError(f"layers: 'repeat' is nested more than {MAX_REPEAT_DEPTH} deep")
            return repeat * sum(_layer_count(inner, depth + 1) for inner in of)


def _expanded(part: LayerGroup | Repeat) -> Iterator[Layer]:
    match part:
        case LayerGroup(count=count, attention=attention, window=window, cache_dtype=cache_dtype):
            yield from [Layer(attention, window, cache_dtype)] * count
        case Repeat(repeat=repeat, of=of):
            yield from [layer for inner in of for layer in _expanded(inner)] * repeat
