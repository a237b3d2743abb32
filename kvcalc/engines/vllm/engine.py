"""The engine `vllm`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines.base import Engine, Option, Setup
from kvcalc.engines.vllm.groups import Placed
from kvcalc.engines.vllm.layout import VllmLayout
from kvcalc.engines.vllm.options import OPTIONS
from kvcalc.engines.vllm.settings import settings_of
from kvcalc.engines.vllm.specs import ChunkedLocal, FullAttention, SlidingWindow, Spec
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Role
from kvcalc.model.span import Chunk, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.model.layers import Layer

DEFAULT_BLOCK_SIZE = 16
"""vllm/config/cache.py, CacheConfig.DEFAULT_BLOCK_SIZE."""


@dataclass(frozen=True)
class Vllm(Engine):
    """vLLM."""

    name: ClassVar[str] = "vllm"
    versions: ClassVar[tuple[str, ...]] = ("0.19.0", "0.33.0")
    about: ClassVar[str] = (
        "Puts layers that keep alike into groups with one block table each, and gives every rank one pool of blocks, "
        "as many as the smallest rank has. A sequence takes whole blocks of every group, and a block takes as many "
        "bytes as the widest group needs. Layers with windows keep the tokens in flight and a block more."
    )
    formula: ClassVar[str] = "bytes of a block x (1 + sequences x sum over groups of ceil(tokens kept / block-size))"
    source: ClassVar[str] = "vLLM, vllm/v1/kv_cache_interface.py and vllm/v1/core/kv_cache_utils.py"
    options: ClassVar[Mapping[str, Option]] = OPTIONS
    block_option: ClassVar[str | None] = "block-size"

    def settle(self, setup: Setup) -> VllmLayout:
        settings = settings_of(self, setup)
        placed = list(_placed(setup, settings.block_size or DEFAULT_BLOCK_SIZE))
        return VllmLayout(setup, settings, placed)


def _placed(setup: Setup, block_size: int) -> Iterator[Placed]:
    known: dict[Layer, tuple[Spec, ...]] = {}
    for index, caches in enumerate(setup.model.layout.layers):
        for layer in caches:
            if layer not in known:
                known[layer] = tuple(_specs(setup, layer, block_size))
            yield from (Placed(index, layer, spec) for spec in known[layer])


def _specs(setup: Setup, layer: Layer, block_size: int) -> Iterator[Spec]:
    shape = layer._replace(span=None).label
    rows = setup.counter.rows({layer: 1}, setup.deployment.tp)
    if any(each.constant_rows is not None for each in rows):
        raise KvcalcError(f"--engine: vllm with {layer.attention.title} is not followed yet")
    for role in (Role.CACHE, Role.INDEX):
        mine = tuple(each for each in rows if each.tensor.role is role)
        if not mine:
            continue
        match layer.span:
            case Window(tokens):
                yield SlidingWindow(f"{shape}, {role.value}", mine, block_size, window=tokens)
            case Chunk(tokens):
                yield ChunkedLocal(f"{shape}, {role.value}", mine, block_size, chunk=tokens)
            case _:
                yield FullAttention(f"{shape}, {role.value}", mine, block_size)
