"""How rows of a cache are really stored: each element format as the torch tensor that holds it.

Nothing here knows what a format ought to take: the bytes are those of the tensors that come out.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from kvcalc.errors import KvcalcError
from kvcalc.reference.packing.base import Packing
from kvcalc.reference.packing.entries import EntriesOf512
from kvcalc.reference.packing.ggml import NonLinear, Scaled, ScaledFromLeast
from kvcalc.reference.packing.microscaling import MxFloat4, MxFloat8, NvFloat4
from kvcalc.reference.packing.plain import Plain
from kvcalc.reference.packing.scaled import ByteBlocks, HalfByteHeads, PerTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PACKED", "Packing", "packing"]

_PACKINGS: Mapping[str, Callable[[], Packing]] = {
    "fp32": partial(Plain, torch.float32),
    "bf16": partial(Plain, torch.bfloat16),
    "fp16": partial(Plain, torch.float16),
    "fp8": partial(PerTensor, torch.float8_e4m3fn),
    "fp8_e5m2": partial(PerTensor, torch.float8_e5m2),
    "int8": partial(PerTensor, torch.int8),
    "fp8_per_token_head": partial(ByteBlocks, torch.float8_e4m3fn, torch.float32),
    "int8_per_token_head": partial(ByteBlocks, torch.int8, torch.float32),
    "int4_per_token_head": HalfByteHeads,
    "fp8_block128": partial(ByteBlocks, torch.float8_e4m3fn, torch.float32, 128),
    "fp8_ds_v4": EntriesOf512,
    "q8_0": partial(ByteBlocks, torch.int8, torch.float16, 32),
    "q5_1": partial(ScaledFromLeast, 5),
    "q5_0": partial(Scaled, 5),
    "q4_1": partial(ScaledFromLeast, 4),
    "q4_0": partial(Scaled, 4),
    "iq4_nl": NonLinear,
    "nvfp4": NvFloat4,
    "mxfp8": MxFloat8,
    "mxfp4": MxFloat4,
}

PACKED: tuple[str, ...] = tuple(_PACKINGS)
"""The element formats, by kvcalc's names, that have a packing: all of kvcalc/formats/element.py."""


def packing(name: str) -> Packing:
    """A fresh packing for an element format by kvcalc's name.

    Raises:
        KvcalcError: none of PACKED, such as one that is written by hand.
    """
    if name not in _PACKINGS:
        raise KvcalcError(f"--cache-dtype: {name} is counted, but not stored; verify stores {', '.join(PACKED)}")
    return _PACKINGS[name]()
