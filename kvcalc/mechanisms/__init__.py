"""The attention mechanisms, one file each, and their union: the `attention:` of a model's layers."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

from kvcalc.fields import Tagged
from kvcalc.mechanisms.base import CachedTensor, Heads, Mechanism, Projection, Role
from kvcalc.mechanisms.compressed import Compressed
from kvcalc.mechanisms.cross import Cross
from kvcalc.mechanisms.gated_deltanet import GatedDeltaNet
from kvcalc.mechanisms.kda import KDA
from kvcalc.mechanisms.lightning import Lightning
from kvcalc.mechanisms.mamba1 import Mamba1
from kvcalc.mechanisms.mamba2 import Mamba2
from kvcalc.mechanisms.mha_mqa_gqa import GQA, MHA, MQA
from kvcalc.mechanisms.mla import MLA
from kvcalc.mechanisms.mla_expanded import MLAExpanded
from kvcalc.mechanisms.no_attention import NoAttention
from kvcalc.mechanisms.rwkv import RWKV
from kvcalc.mechanisms.shared import Shared
from kvcalc.mechanisms.short_conv import ShortConv
from kvcalc.mechanisms.states import STATE_FORMATS, find_state_format

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS: Mapping[str, type[Mechanism]] = MappingProxyType(
    {
        "mha": MHA,
        "mqa": MQA,
        "gqa": GQA,
        "mla": MLA,
        "mla_expanded": MLAExpanded,
        "compressed": Compressed,
        "shared": Shared,
        "none": NoAttention,
        "cross": Cross,
        "gated_deltanet": GatedDeltaNet,
        "kda": KDA,
        "mamba1": Mamba1,
        "mamba2": Mamba2,
        "short_conv": ShortConv,
        "lightning": Lightning,
        "rwkv": RWKV,
    }
)
"""`kind` -> mechanism."""

Attention = Annotated[Mechanism, Tagged("kind", **KINDS)]
"""One of them; in a file `kind` says which."""

__all__ = [
    "GQA",
    "KDA",
    "KINDS",
    "MHA",
    "MLA",
    "MQA",
    "RWKV",
    "STATE_FORMATS",
    "Attention",
    "CachedTensor",
    "Compressed",
    "Cross",
    "GatedDeltaNet",
    "Heads",
    "Lightning",
    "MLAExpanded",
    "Mamba1",
    "Mamba2",
    "Mechanism",
    "NoAttention",
    "Projection",
    "Role",
    "Shared",
    "ShortConv",
    "find_state_format",
]
