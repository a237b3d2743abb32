"""A model as mlx_lm's class of it keeps it, and in which formats."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.engines.mlx.rules import EXPANDED, ROTATING
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.mechanisms import MLA, RWKV, Cross, Lightning, Mamba1, Role
from kvcalc.mechanisms.mla_expanded import expanded
from kvcalc.model.layers import with_groups

if TYPE_CHECKING:
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.mlx.options import Settings
    from kvcalc.engines.setup import Setup
    from kvcalc.model.layers import LayerGroup
    from kvcalc.model.model import Model


@lru_cache(maxsize=64)
def as_kept(model: Model, settings: Settings) -> Model:
    """The model with the windows that its class's caches have.

    Raises:
        KvcalcError: mlx_lm does not serve it so.
    """
    kinds = model.layout.kinds
    for layer in kinds:
        if isinstance(layer.attention, Cross | Lightning | RWKV):
            raise KvcalcError(
                f"--engine mlx: what mlx_lm keeps of {layer.attention.label} is not known to kvcalc; leave --engine out"
            )
    growing = [layer for layer in kinds if layer.attention.elements_per_token]
    windows = any(layer.span is not None for layer in growing)
    if settings.max_kv_size is not None and (windows or len(growing) != len(kinds)):
        raise KvcalcError(
            "--engine-option max-kv-size: classes of models with windows or states make their own caches and ignore "
            "it; leave it out"
        )
    rotating = settings.rotating
    if rotating is None:
        of_class = model.model_type is None or model.model_type in ROTATING
        rotating = of_class and any(layer.span is None for layer in growing)
    expand = model.model_type in EXPANDED

    def kept(group: LayerGroup) -> LayerGroup:
        own = group.with_attentions(lambda each: expanded(each) if expand and isinstance(each, MLA) else each)
        return replace(own, window=settings.max_kv_size or (own.window if rotating else None), cache_dtype=None)

    parts = with_groups(model.layers, kept)
    return model if parts == model.layers else replace(model, layers=parts)


def kept_format(setup: Setup, settings: Settings) -> CacheFormat:
    """What keys, values and states are kept in: as computed, or quantised in groups.

    Raises:
        KvcalcError: mlx_lm keeps no such format, or not of this model.
    """
    asked, computing = setup.cache_format, setup.cache_format.computing
    given = {asked.default.name, *(each.name for _, each in asked.tensors)}
    if setup.cache_format_given and given != {computing.name}:
        raise KvcalcError(
            f"--cache-dtype: mlx_lm keeps the cache in the format of computing, {computing.name} (--dtype sets it), or "
            "quantised: --engine-option kv-bits=8"
        )
    default = computing
    if settings.kv_bits is not None:
        if any(layer.span is not None or isinstance(layer.attention, MLA) for layer in setup.model.layout.kinds):
            raise KvcalcError(
                "--engine-option kv-bits: mlx_lm quantises no rotating or chunked cache and no latent, which this "
                "model has; leave it out"
            )
        group = settings.kv_group_size
        default = find_format(f"q{settings.kv_bits}_g{group}_s{2 * computing.block_bytes}", "kv-bits")
    mamba1 = any(isinstance(layer.attention, Mamba1) for layer in setup.model.layout.kinds)
    state = computing if mamba1 else find_format("fp32", "state")
    for option, format_given, own in (("--conv-dtype", asked.conv, computing), ("--state-dtype", asked.state, state)):
        if format_given not in {None, own}:
            raise KvcalcError(f"{option}: mlx_lm keeps such states in {own.name}")
    tensors = tuple((tensor.name, computing) for tensor in setup.model.cached_tensors if tensor.role is Role.INDEX)
    return asked._replace(name=default.name, default=default, tensors=tensors[:1], conv=computing, state=state)
