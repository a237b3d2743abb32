"""What an engine is started with."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.engines.content_counter import ContentCounter
from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.lora import Lora
    from kvcalc.formats.element import ElementFormat
    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model


class Setup(NamedTuple):
    """What an engine is started with.

    Attributes:
        cache_format: element formats as asked for, else as the model's file has them.
        utilization: share of the accelerator's memory that may be used, where the engine takes such a share.
        counter: counts contents of this format quickly.
        weight_format: what the weights are asked to be in; None: as the model's file has them.
        weights_as: the model that the weights are of, where `model` is what it would keep with another mechanism.
        draft: what drafts tokens, on its share of the same ranks; None where nothing does.
        own_layers: of a draft, whether it is layers of the model's own file, with the model's embedding and head.
        drafted: tokens that a draft drafts a step, where that is said.
        max_model_len: tokens of the longest request that it is to serve: the context asked for.
        cache_format_given: whether a format was asked for. Else an engine may have a default of its own.
        dtype_given: whether a format of computing was asked for.
        weights_bytes: all of the weights, where the user gives their size; else None.
        lora: adapters beside the model; None without any.
    """

    model: Model
    deployment: Deployment
    cache_format: CacheFormat
    gpu: Gpu
    utilization: Fraction
    counter: ContentCounter
    max_model_len: int
    weight_format: ElementFormat | None = None
    cache_format_given: bool = False
    dtype_given: bool = False
    weights_as: Model | None = None
    draft: Setup | None = None
    own_layers: bool = False
    drafted: int | None = None
    weights_bytes: int | None = None
    lora: Lora | None = None
