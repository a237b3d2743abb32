"""The formats that transformers keeps tensors in: those of computing, unless the cache is quantised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.transformers.rules import FP8_CACHE, STATES_IN_FP32
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.mechanisms import Lightning, Role

if TYPE_CHECKING:
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.transformers.rules import Version

CONVOLVED_IN_FP32 = "inkling"
"""Types of models whose convolutions are computed in fp32 (models/inkling, InklingShortConvolution), by beginning."""


def kept_format(setup: Setup, version: Version, *, static: bool) -> CacheFormat:
    """What keys, values and states are kept in.

    Raises:
        KvcalcError: transformers keeps no such format, or not for this model.
    """
    asked, computing = setup.cache_format, setup.cache_format.computing
    default = computing
    if setup.cache_format_given and not _all_in(setup, computing.name):
        if not _all_in(setup, "fp8"):
            raise KvcalcError(
                f"--cache-dtype: transformers keeps the cache in the format of computing, {computing.name} (--dtype "
                "sets it), or in fp8 (cache_implementation='quantized')"
            )
        _check_fp8(setup, version, static=static)
        default = find_format("fp8", "--cache-dtype")
    lightning = any(isinstance(layer.attention, Lightning) for layer in setup.model.layout.kinds)
    state = find_format("fp32", "state") if version >= STATES_IN_FP32 and not lightning else computing
    convolved = (setup.model.model_type or "").startswith(CONVOLVED_IN_FP32)
    conv = find_format("fp32", "conv") if convolved else computing
    for option, given, own in (("--conv-dtype", asked.conv, conv), ("--state-dtype", asked.state, state)):
        if given not in {None, own}:
            raise KvcalcError(f"{option}: transformers keeps such states in {own.name}")
    index = () if default is not computing else (("index_k", computing),)
    return asked._replace(name=default.name, default=default, tensors=index, conv=conv, state=state)


def _all_in(setup: Setup, name: str) -> bool:
    """Whether all that grows with tokens was asked for in this format."""
    asked = setup.cache_format
    kept = {tensor.name for tensor in setup.model.cached_tensors if tensor.role in {Role.CACHE, Role.INDEX}}
    named = {tensor: each.name for tensor, each in asked.tensors}
    return all(named.get(each, asked.default.name) == name for each in kept)


def _check_fp8(setup: Setup, version: Version, *, static: bool) -> None:
    """QuantizedCache.__init__ refuses other layers."""
    if version < FP8_CACHE:
        raise KvcalcError("--cache-dtype: transformers has fp8 caches since 5.21.0; give --engine transformers@5.21.0")
    if static:
        raise KvcalcError("--cache-dtype: transformers' fp8 cache grows with the context; leave cache=static out")
    for caches in setup.model.layout.layers:
        whole = len(caches) == 1 and caches[0].span is None
        if not whole or {tensor.role for tensor in caches[0].attention.cached()} != {Role.CACHE}:
            raise KvcalcError(
                "--cache-dtype: transformers has fp8 caches for models whose layers all keep every token's keys and "
                "values, and this model has others; leave --cache-dtype out"
            )
