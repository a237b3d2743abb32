"""Attention layers in torch, small enough to read, whose caches `kvcalc verify` allocates.

One file a mechanism. Nothing here reads the formulas of kvcalc/mechanisms: only their dims.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from kvcalc.mechanisms import (
    GQA,
    KDA,
    MHA,
    MLA,
    MQA,
    RWKV,
    Compressed,
    Cross,
    GatedDeltaNet,
    Lightning,
    Mamba1,
    Mamba2,
    Mechanism,
    MLAExpanded,
    NoAttention,
    Shared,
    ShortConv,
)
from kvcalc.reference.base import (
    ReferenceAttention,
    ReferenceLayer,
    ReferenceParts,
    ReferenceState,
    Rows,
    allocated,
    initialise,
)
from kvcalc.reference.compressed import CompressedAttention
from kvcalc.reference.cross import CrossAttention
from kvcalc.reference.gated_deltanet import GatedDeltaNetLayer
from kvcalc.reference.kda import KimiDeltaAttention
from kvcalc.reference.lightning import LightningAttention
from kvcalc.reference.mamba1 import MambaLayer
from kvcalc.reference.mamba2 import Mamba2Layer
from kvcalc.reference.mha_mqa_gqa import GroupedQueryAttention, MultiHeadAttention, MultiQueryAttention
from kvcalc.reference.mla import MultiHeadLatentAttention
from kvcalc.reference.mla_expanded import ExpandedLatentAttention
from kvcalc.reference.nothing import KeepsNothing
from kvcalc.reference.pooled import PooledGroupedAttention, PooledLatentAttention
from kvcalc.reference.rwkv import RWKVLayer
from kvcalc.reference.short_conv import ShortConvolution

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.model.span import Span

REFERENCES: Mapping[type[Mechanism], type[ReferenceLayer]] = MappingProxyType(
    {
        MHA: MultiHeadAttention,
        MQA: MultiQueryAttention,
        GQA: GroupedQueryAttention,
        MLA: MultiHeadLatentAttention,
        MLAExpanded: ExpandedLatentAttention,
        Compressed: CompressedAttention,
        Shared: KeepsNothing,
        NoAttention: KeepsNothing,
        Cross: CrossAttention,
        GatedDeltaNet: GatedDeltaNetLayer,
        KDA: KimiDeltaAttention,
        Mamba1: MambaLayer,
        Mamba2: Mamba2Layer,
        ShortConv: ShortConvolution,
        Lightning: LightningAttention,
        RWKV: RWKVLayer,
    }
)

POOLED: Mapping[type[Mechanism], type[ReferenceLayer]] = MappingProxyType(
    {MLA: PooledLatentAttention, GQA: PooledGroupedAttention}
)
"""The same of those whose indexer pools its keys (index_kpool)."""

__all__ = [
    "POOLED",
    "REFERENCES",
    "KeepsNothing",
    "ReferenceAttention",
    "ReferenceLayer",
    "ReferenceParts",
    "ReferenceState",
    "Rows",
    "build",
    "reference_of",
]


def reference_of(mechanism: Mechanism) -> type[ReferenceLayer]:
    """The module of a mechanism.

    Raises:
        KeyError: there is none.
    """
    pools = getattr(mechanism, "index_kpool", None) is not None
    return (POOLED if pools else REFERENCES)[type(mechanism)]


def build(
    mechanism: Mechanism,
    hidden_size: int,
    span: Span | None,
    *,
    device: torch.device | str = "meta",
    dtype: torch.dtype = torch.bfloat16,
    seed: int = 0,
) -> ReferenceLayer:
    """The layer that a mechanism describes, with weights drawn from `seed`.

    Raises:
        KeyError: there is no reference module for this mechanism.
    """
    with torch.device("meta"):
        module = reference_of(mechanism)(mechanism, hidden_size, span)
    module = module.to(dtype)
    if torch.device(device).type != "meta":
        module = allocated(module, device)
        initialise(module, seed)
    return module.requires_grad_(requires_grad=False)
