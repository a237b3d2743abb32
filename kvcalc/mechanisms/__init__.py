"""The attention mechanisms, one file each, and their union: the `attention:` of a model's layers."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

from kvcalc.fields import Tagged
from kvcalc.mechanisms.base import CachedTensor, Mechanism
from kvcalc.mechanisms.gqa import GQA
from kvcalc.mechanisms.mha import MHA
from kvcalc.mechanisms.mla import MLA
from kvcalc.mechanisms.mla_expanded import MLAExpanded
from kvcalc.mechanisms.mqa import MQA
from kvcalc.mechanisms.no_attention import NoAttention
from kvcalc.mechanisms.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS: Mapping[str, type[Mechanism]] = MappingProxyType(
    {
        "mha": MHA,
        "mqa": MQA,
        "gqa": GQA,
        "mla": MLA,
        "mla_expanded": MLAExpanded,
        "shared": Shared,
        "none": NoAttention,
    }
)
"""`kind` -> mechanism."""

Attention = Annotated[MHA | MQA | GQA | MLA | MLAExpanded | Shared | NoAttention, Tagged("kind", **KINDS)]

__all__ = [
    "GQA",
    "KINDS",
    "MHA",
    "MLA",
    "MQA",
    "Attention",
    "CachedTensor",
    "MLAExpanded",
    "Mechanism",
    "NoAttention",
    "Shared",
]
