"""The catalogue as results: lists of models and accelerators, and one of each. Models are listed in model_list.py."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from kvcalc.catalogue import shipped_gpus
from kvcalc.catalogue.gpu_slices import slice_names
from kvcalc.catalogue.gpu_words import named
from kvcalc.noun import noun
from kvcalc.record import Record, Result

if TYPE_CHECKING:
    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model
    from kvcalc.note import Note


@noun
class ModelRow(Record):
    """A model in a list. What is of an accelerator is None where none is asked for.

    Attributes:
        bytes_per_token: what a token adds to one copy of its cache while no window is full.
        state_bytes_per_sequence: what a sequence keeps whatever its context is.
        context: that it was tried with.
        bytes_per_gpu: all memory on one accelerator, with the usual temporary figure.
        headroom_bytes: what is left of it.
        tight: whether it stays within it with the usual temporary memory, but not with the most.
        sequences: the most of that context; None where unbounded.
    """

    name: str
    mechanisms: tuple[str, ...]
    layers: int
    bytes_per_token: int
    state_bytes_per_sequence: int
    dtype: str
    parameters: int | None
    max_context: int | None
    hub_ids: tuple[str, ...]
    context: int | None = None
    bytes_per_gpu: int | None = None
    headroom_bytes: int | None = None
    tight: bool | None = None
    sequences: int | None = None


@noun
class ModelList(Result):
    """Models of the catalogue.

    Attributes:
        gpu: the accelerator that they fit; None where none is asked for.
    """

    command: ClassVar[str] = "models list"

    models: tuple[ModelRow, ...]
    gpu: str | None = None
    notes: tuple[Note, ...] = ()

    @property
    def brief(self) -> str:
        return f"{len(self.models):,} models"


@noun
class ModelCard(Result):
    """One model: its fields as its file has them, and the file's text."""

    command: ClassVar[str] = "models show"

    model: Annotated[dict[str, Any], Model]
    text: str

    @property
    def brief(self) -> str:
        return str(self.model["name"])


@noun
class GpuRow(Record):
    """An accelerator in a list.

    Attributes:
        slices: names of the shares that its vendor publishes.
    """

    name: str
    title: str | None
    memory_bytes: int | None
    memory_from: str | None
    memory_bandwidth_gb_per_s: float | None
    gpus_per_node: int | None
    aliases: tuple[str, ...]
    slices: tuple[str, ...]


@noun
class GpuList(Result):
    """The accelerators that were asked for."""

    command: ClassVar[str] = "gpus list"

    gpus: tuple[GpuRow, ...]

    @property
    def brief(self) -> str:
        return f"{len(self.gpus):,} accelerator{'s' * (len(self.gpus) != 1)}"


@noun
class GpuCard(Result):
    """One accelerator: all its fields that are known.

    Attributes:
        slices: names of the shares that its vendor publishes.
    """

    command: ClassVar[str] = "gpus show"

    gpu: Annotated[dict[str, Any], Gpu]
    slices: tuple[str, ...]

    @property
    def brief(self) -> str:
        return str(self.gpu["name"])


def list_gpus(word: str | None = None) -> GpuList:
    """The accelerators of the catalogue: all of them, or those that a word names."""
    gpus = shipped_gpus() if word is None else named(word, shipped_gpus())
    return GpuList(tuple(_gpu_row(gpu) for gpu in gpus))


def show_gpu(gpu: Gpu) -> GpuCard:
    return GpuCard(_known(gpu), slice_names(gpu.name))


def show_model(model: Model, text: str) -> ModelCard:
    return ModelCard(_known(model), text)


def _gpu_row(gpu: Gpu) -> GpuRow:
    return GpuRow(
        gpu.name,
        gpu.title,
        gpu.memory_bytes,
        gpu.memory_from,
        gpu.memory_bandwidth_gb_per_s,
        gpu.gpus_per_node,
        gpu.aliases,
        slice_names(gpu.name),
    )


def _known(noun: Gpu | Model) -> dict[str, Any]:
    """A noun as its file would have it: nested data without what is not known."""
    return {key: value for key, value in _data(asdict(noun)).items() if value not in (None, [])}


def _data(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _data(item) for key, item in value.items() if item is not None}
    return [_data(item) for item in value] if isinstance(value, (tuple, list)) else value
