"""The layers of a model: groups as its file has them, written out, and the caches that they keep."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, ClassVar

from kvcalc.fields import CHECKED, Limits, Tagged, Tokens
from kvcalc.formats.by_name import check_format
from kvcalc.mechanisms import Attention, Mechanism, Role
from kvcalc.model.span import Chunk, Span, Window
from kvcalc.named_tuple import NamedTuple
from kvcalc.noun import Noun, noun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_LAYERS = 10_000
MAX_REPEAT_DEPTH = 4
MAX_ATTENTIONS = 8
"""Caches side by side in one layer; real models have two."""

LayerCount = Annotated[int, Limits(ge=1, le=MAX_LAYERS)]

Several = Annotated[tuple[Attention, ...], Limits(min_length=1, max_length=MAX_ATTENTIONS)]


def _one_or_several(value: object) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


Attentions = Annotated[Attention | Several, Tagged(_one_or_several, one=Attention, several=Several)]


class Layer(NamedTuple):
    """One cache of a layer: what an attention block of it keeps, over which span, in which format of its own.

    Most layers have one. Where a layer has several blocks side by side, each counts as a layer of its own.
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
        """Whether it keeps fewer than `context` tokens."""
        return self.span is not None and self.span.tokens < context


@noun(kw_only=True)
class LayerGroup(Noun):
    """`count` equal layers that follow each other.

    Attributes:
        attention: what each of them keeps; several side by side in one layer as a list.
        window: sliding window in tokens; None for full attention.
        chunk: length of the chunks that attention stays within; None for full attention.
        cache_dtype: the element format of these layers, whatever the rest of the cache is kept in.
    """

    __pydantic_config__: ClassVar = CHECKED

    count: LayerCount
    attention: Attentions
    window: Tokens | None = None
    chunk: Tokens | None = None
    cache_dtype: str | None = None

    def __post_init__(self) -> None:
        check_format("cache_dtype", self.cache_dtype)
        if min(self.count, self.window or 1, self.chunk or 1) < 1 or 0 in (self.window, self.chunk):
            raise ValueError("count, window and chunk must be at least 1")
        if self.window is not None and self.chunk is not None:
            raise ValueError("chunk: a layer has a window or chunks, not both")
        kinds = ", ".join(f"'{attention.kind}'" for attention in self.attentions)
        if self.span is not None and not any(attention.elements_per_token for attention in self.attentions):
            raise ValueError(f"{self.span.name} does not apply to attention of kind {kinds}")
        if self.span is not None and any(
            tensor.every or tensor.last for attention in self.attentions for tensor in attention.cached()
        ):
            raise ValueError(f"{self.span.name}: attention of kind {kinds} says itself which tokens it keeps")
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

    def with_attentions(self, change: Callable[[Attention], Attention]) -> LayerGroup:
        """The group with each of its attentions changed, one or several as before."""
        changed = tuple(change(each) for each in self.attentions)
        return replace(self, attention=changed if isinstance(self.attention, tuple) else changed[0])

    def _format(self, attention: Attention) -> str | None:
        has_cache = any(tensor.role is Role.CACHE for tensor in attention.cached())
        return self.cache_dtype if has_cache else None


@noun(kw_only=True)
class Repeat(Noun):
    """A sequence of groups, `repeat` times over."""

    __pydantic_config__: ClassVar = CHECKED

    repeat: LayerCount
    of: Annotated[tuple[Layers, ...], Limits(min_length=1)]

    def __post_init__(self) -> None:
        if self.repeat < 1 or not self.of:
            raise ValueError("repeat must be at least 1, of at least one group")


def _group_or_repeat(value: object) -> str:
    return "a repeat" if isinstance(value, dict) and ("repeat" in value or "of" in value) else "a group"


Layers = Annotated[LayerGroup | Repeat, Tagged(_group_or_repeat, **{"a group": LayerGroup, "a repeat": Repeat})]


def with_groups(parts: Iterable[Layers], change: Callable[[LayerGroup], LayerGroup]) -> tuple[Layers, ...]:
    """Parts of a file with each of their groups changed, within repeats too."""
    return tuple(
        replace(part, of=with_groups(part.of, change)) if isinstance(part, Repeat) else change(part) for part in parts
    )


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


@lru_cache(maxsize=256)
def _caches(group: LayerGroup) -> tuple[Layer, ...]:
    """As the group has them; equal groups, of which a file may have thousands, share them."""
    return group.caches()


def number_of_layers(part: LayerGroup | Repeat, depth: int = 1) -> int:
    """How many layers a part of a file describes.

    Raises:
        ValueError: repeats are nested too deep.
    """
    match part:
        case LayerGroup(count=count):
            return count
        case Repeat(repeat=repeat, of=of):
            if depth > MAX_REPEAT_DEPTH:
                raise ValueError(f"layers: 'repeat' is nested more than {MAX_REPEAT_DEPTH} deep")
            return repeat * sum(number_of_layers(inner, depth + 1) for inner in of)


def kinds_written(parts: Iterable[LayerGroup | Repeat]) -> dict[Layer, int]:
    """Each kind of cache of the layers that parts of a file describe, as `count_layers` has it of them written out."""
    counts: dict[Layer, int] = {}
    by_label: dict[str, Layer] = {}

    def count(parts: Iterable[LayerGroup | Repeat], times: int) -> None:
        for part in parts:
            if isinstance(part, Repeat):
                count(part.of, times * part.repeat)
                continue
            for layer in _caches(part):
                kind = by_label.setdefault(layer.label, layer)
                counts[kind] = counts.get(kind, 0) + times * part.count

    count(parts, 1)
    return counts


def caches_written(part: LayerGroup | Repeat) -> int:
    """How many caches a part of a file writes down, each once however many layers have it."""
    match part:
        case LayerGroup():
            return len(part.attentions)
        case Repeat(of=of):
            return sum(map(caches_written, of))


def written_out(part: LayerGroup | Repeat) -> Iterator[tuple[Layer, ...]]:
    """Each of its layers: the caches that it keeps."""
    match part:
        case LayerGroup(count=count):
            yield from [_caches(part)] * count
        case Repeat(repeat=repeat, of=of):
            yield from [layer for inner in of for layer in written_out(inner)] * repeat
