"""The catalogue as results: lists of models and accelerators, and one of each."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from kvcalc.catalogue import shipped_gpus, shipped_models
from kvcalc.engines import ContentCounter, RankLoad
from kvcalc.engines.content import rows_rate
from kvcalc.record import Record, Result, record
from kvcalc.scenario import cache_format

if TYPE_CHECKING:
    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model


@record
class ModelRow(Record):
    """A model in a list.

    Attributes:
        bytes_per_token: what a token adds to one copy of its cache while no window is full.
        state_bytes_per_sequence: what a sequence keeps whatever its context is.
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


@record
class ModelList(Result):
    """Every model of the catalogue."""

    command: ClassVar[str] = "models list"

    models: tuple[ModelRow, ...]

    @property
    def brief(self) -> str:
        return f"{len(self.models):,} models"


@record
class ModelCard(Result):
    """One model: its fields as its file has them, and the file's text."""

    command: ClassVar[str] = "models show"

    model: dict[str, Any]
    text: str

    @property
    def brief(self) -> str:
        return str(self.model["name"])


@record
class GpuRow(Record):
    """An accelerator in a list."""

    name: str
    title: str | None
    memory_bytes: int | None
    memory_from: str | None
    memory_bandwidth_gb_per_s: float | None
    gpus_per_node: int | None
    aliases: tuple[str, ...]


@record
class GpuList(Result):
    """Every accelerator of the catalogue."""

    command: ClassVar[str] = "gpus list"

    gpus: tuple[GpuRow, ...]

    @property
    def brief(self) -> str:
        return f"{len(self.gpus):,} accelerators"


@record
class GpuCard(Result):
    """One accelerator: all its fields that are known."""

    command: ClassVar[str] = "gpus show"

    gpu: dict[str, Any]

    @property
    def brief(self) -> str:
        return str(self.gpu["name"])


def list_models() -> ModelList:
    """Every model of the catalogue."""
    return ModelList(tuple(_model_row(found.model) for found in shipped_models()))


def list_gpus() -> GpuList:
    """Every accelerator of the catalogue."""
    return GpuList(tuple(_gpu_row(gpu) for gpu in shipped_gpus()))


def show_gpu(gpu: Gpu) -> GpuCard:
    return GpuCard(_known(gpu))


def show_model(model: Model, text: str) -> ModelCard:
    return ModelCard(_known(model), text)


def _model_row(model: Model) -> ModelRow:
    kinds = model.distinct()
    formats = cache_format(model, None)
    rate = rows_rate(ContentCounter(formats).rows(kinds, 1), RankLoad(kinds, 1, 1, 1, formats))
    return ModelRow(
        name=model.name,
        mechanisms=tuple(dict.fromkeys(layer.attention.kind for layer in kinds)),
        layers=model.num_layers,
        bytes_per_token=rate.bytes_per_token,
        state_bytes_per_sequence=rate.state_bytes_per_sequence,
        dtype=formats.name,
        parameters=model.parameters,
        max_context=model.max_context,
        hub_ids=model.hub_ids,
    )


def _gpu_row(gpu: Gpu) -> GpuRow:
    return GpuRow(
        gpu.name,
        gpu.title,
        gpu.memory_bytes,
        gpu.memory_from,
        gpu.memory_bandwidth_gb_per_s,
        gpu.gpus_per_node,
        gpu.aliases,
    )


def _known(noun: Gpu | Model) -> dict[str, Any]:
    """A noun as its file would have it: nested data without what is not known."""
    return {key: value for key, value in _data(asdict(noun)).items() if value not in (None, [])}


def _data(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _data(item) for key, item in value.items() if item is not None}
    return [_data(item) for item in value] if isinstance(value, (tuple, list)) else value
