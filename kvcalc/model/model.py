"""A model as a calculator sees it: its layers in order, and what its weights take."""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from kvcalc.errors import MAX_NAME, one_line
from kvcalc.fields import CHECKED, MAX_PARAMETERS, Dim, Limits, Name, Parameters, Text, Tokens
from kvcalc.formats.by_name import check_format
from kvcalc.formats.weights import check_weight_format, find_weight_format
from kvcalc.mechanisms import NoAttention
from kvcalc.model.layers import MAX_LAYERS, Layer, Layers, caches_written, kinds_written, number_of_layers, written_out
from kvcalc.model.stages import Layout
from kvcalc.noun import Noun, noun

if TYPE_CHECKING:
    from kvcalc.mechanisms import CachedTensor

MAX_WEIGHT_PARTS = 64
MAX_KINDS = 256
"""Layers that differ in what they keep; real models have a few."""

LayersOrNone = Annotated[int, Limits(ge=0, le=MAX_LAYERS)]

Split = Literal["tp", "ep", "stage", "all"]
WeightPlace = Literal["embedding", "layers", "head"]


@noun(kw_only=True)
class WeightPart(Noun):
    """A part of the checkpoint in one format.

    Attributes:
        parameters: or, where words hold several, the words.
        split: over which ranks it is split: `tp` (tensor-parallel ranks), `ep` (experts: over expert-parallel ranks, or
            tensor-parallel ones), `stage` (not split: each tensor-parallel rank of its pipeline stage holds a copy, as
            of norms and routers) or `all` (not split: every rank of every stage holds a copy, as of towers).
        place: where it sits in the model: `embedding` (before the layers: tables whose rows are looked up; the first
            pipeline stage), `head` (the output head; the last stage), or `layers`, which stages share.
        scales: the part holds the scales of the quantised parts; it is dropped when another format is asked for.
        weight_block_size: elements along a row that share a scale, where the scales are a part of their own; ranks can
            split a row between such blocks only, unless they pad it.
        used: whether making text reads it. Towers (split `all`) are not read either.
        ngrams: whether it is tables of n-grams, of which a token looks up a few rows: engines may keep them in host
            memory.
        projections: whether the layers' projections to keys and values are in it; needed where several parts are
            split over tp, since the copies that ranks hold of them have the part's format.
    """

    __pydantic_config__: ClassVar = CHECKED

    part: Text
    parameters: Parameters
    format: str
    split: Split = "tp"
    place: WeightPlace = "layers"
    scales: bool = False
    weight_block_size: Dim | None = None
    used: bool = True
    projections: bool = False
    ngrams: bool = False

    def __post_init__(self) -> None:
        check_weight_format("format", self.format)
        if self.projections and (self.split, self.place) != ("tp", "layers"):
            raise ValueError("projections: goes with split tp and place layers")
        if self.ngrams and self.place != "embedding":
            raise ValueError("ngrams: goes with place embedding")
        if self.split != "tp" and self.place != "layers":
            raise ValueError(f"place: {self.place} goes with split tp, not {self.split}")

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(factor.value for factor in find_weight_format(self.format, "format").parameters(self.parameters))


@noun(kw_only=True)
class Model(Noun):
    """A model, named as Hugging Face's config.json names things.

    Attributes:
        model_type: of its config.json, that of the whole file; engines choose by it what dims do not tell.
        aliases: other names that people use for it, such as tags of Ollama's library.
        layers: in the model's order; the order decides what a pipeline stage holds.
        dtype: of computing; the cache defaults to it. None where the source does not have it.
        parameters: all of the checkpoint's, towers too. Not the Hub's total, which also counts copies of tied heads,
            buffers, scales, and layers that predict further tokens.
        tower_parameters: of those, what belongs to towers for images or sound, which text does not use.
        ngram_parameters: of those, tables of n-grams beside the embedding, of which a token looks up a few rows; where
            `weights` lists parts, it says which.
        position_parameters: of those, a table of learned positions, of which every rank of the first stage has a copy;
            likewise.
        stream_parameters: of those, what mixes residual streams (hyper-connections), of which every rank has a copy;
            likewise.
        weight_dtype: of its weights, as --weight-dtype takes it: of a name that llama.cpp has for a block and for a
            type of files (q4_k), the type of files. The format of a part is a block.
        quant_method: what its checkpoint was quantised with, as config.json names it; None where nobody says.
        weights: the checkpoint's parts where formats differ; its bytes win over parameters x weight_dtype.
        mtp_layers: multi-token-prediction layers that the checkpoint carries beyond `layers`.
        mtp_parameters: of all of those, without copies of the model's embedding and output head.
        attention_k_eq_v: whether full layers make values with the keys' projection, and have no weights for them; both
            are cached all the same.
        rotary_dim: elements of a head that are rotated, where they are not all of it.
        rotary_positions: rows of the tables of rotations that engines keep, of all tables together; by default
            max_context. Scaled positions have more, and layers that rotate otherwise a table of their own.
        unreached_window: the sliding window of all layers where no context is longer: nothing falls out of it, and
            layers are listed without one. Engines that plan by the window see it all the same.
        unused_window: the sliding window that its file has and none of its layers, all of which are full. Some engines
            give it to all of them.
    """

    __pydantic_config__: ClassVar = CHECKED

    name: Name
    hub_ids: tuple[Text, ...] = ()
    aliases: tuple[Text, ...] = ()
    source: Text | None = None
    model_type: Name | None = None
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
    mtp_parameters: Parameters | None = None
    attention_k_eq_v: bool = False
    rotary_dim: Dim | None = None
    rotary_positions: Tokens | None = None
    unreached_window: Tokens | None = None
    unused_window: Tokens | None = None
    modalities: tuple[Text, ...] = ()
    dtype: str | None = None
    parameters: Parameters | None = None
    tower_parameters: Annotated[int, Limits(ge=0, le=MAX_PARAMETERS)] | None = None
    ngram_parameters: Parameters | None = None
    position_parameters: Parameters | None = None
    stream_parameters: Parameters | None = None
    active_parameters: Parameters | None = None
    weight_dtype: str | None = None
    quant_method: Name | None = None
    weights: Annotated[tuple[WeightPart, ...], Limits(max_length=MAX_WEIGHT_PARTS)] = ()
    layers: Annotated[tuple[Layers, ...], Limits(min_length=1)]

    def __post_init__(self) -> None:
        check_format("dtype", self.dtype)
        check_weight_format("weight_dtype", self.weight_dtype)
        if not self.layers:
            raise ValueError("layers: must not be empty")
        if self.parameters is not None and self.parameters <= self.parameters_beside_text:
            raise ValueError(
                f"parameters: {self.parameters:,} are no more than its towers and tables have, which are "
                f"among them: {self.parameters_beside_text:,}"
            )
        if self.num_layers > MAX_LAYERS:
            raise ValueError(f"layers: {self.num_layers:,} layers are beyond the limit of {MAX_LAYERS:,}")
        if sum(map(caches_written, self.layers)) > MAX_KINDS and len(self.distinct()) > MAX_KINDS:
            raise ValueError(f"layers: more than {MAX_KINDS} kinds of layers")

    def __repr__(self) -> str:
        """One line."""
        counted = "" if self.parameters is None else f", {self.parameters:,} parameters"
        return f"<Model {one_line(self.name, MAX_NAME)}: {self.num_layers:,} layers{counted}>"

    @property
    def parameters_beside_text(self) -> int:
        """Of towers, of tables of n-grams and of learned positions, as far as they are known."""
        return (self.tower_parameters or 0) + (self.ngram_parameters or 0) + (self.position_parameters or 0)

    @cached_property
    def num_layers(self) -> int:
        return sum(number_of_layers(part) for part in self.layers)

    @cached_property
    def layout(self) -> Layout:
        """Its layers written out, and what pipeline stages hold of them."""
        return Layout([layer for part in self.layers for layer in written_out(part)], self.first_with_experts)

    def sequence(self) -> list[tuple[Layer, ...]]:
        """Every layer, first to last: the caches that it keeps, of most one."""
        return list(self.layout.layers)

    def distinct(self) -> dict[Layer, int]:
        """Each kind of layer and how many there are, in order of first appearance."""
        return dict(self._kinds)

    @cached_property
    def _kinds(self) -> dict[Layer, int]:
        return kinds_written(self.layers)

    @property
    def cached_tensors(self) -> list[CachedTensor]:
        """The tensors that its layers keep, each kind of layer's."""
        return [tensor for layer in self.distinct() for tensor in layer.attention.cached()]

    @property
    def is_mixture_of_experts(self) -> bool:
        return self.num_experts is not None and self.num_experts > 1

    @cached_property
    def has_towers(self) -> bool:
        """Whether it takes more than text."""
        return any(modality != "text" for modality in self.modalities)

    def layers_with_experts(self, layers: range) -> int:
        """How many of these layers have experts: those without attention alone, where a model has such (Nemotron-H)."""
        bare = self._bare_layers
        if bare:
            return bisect_left(bare, layers.stop) - bisect_left(bare, layers.start)
        return len(range(max(layers.start, self.first_with_experts), layers.stop))

    @cached_property
    def _bare_layers(self) -> tuple[int, ...]:
        """The numbers of layers without attention."""
        if not any(isinstance(layer.attention, NoAttention) for layer in self.layout.kinds):
            return ()
        bare = (any(isinstance(each.attention, NoAttention) for each in caches) for caches in self.layout.layers)
        return tuple(number for number, alone in enumerate(bare) if alone)

    @cached_property
    def first_with_experts(self) -> int:
        """The first layer that has experts, where there are any."""
        return min(self.first_k_dense, self.num_layers - 1) if self.first_k_dense else 0
