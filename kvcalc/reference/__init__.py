"""Attention layers in torch, small enough to read, whose caches `kvcalc verify` allocates.

One file a mechanism. Nothing here reads the formulas of kvcalc/mechanisms: only their dims.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Mechanism, MLAExpanded, NoAttention, Shared
from kvcalc.reference.base import ReferenceAttention, Rows, initialise
from kvcalc.reference.gqa import GroupedQueryAttention
from kvcalc.reference.mha import MultiHeadAttention
from kvcalc.reference.mla import MultiHeadLatentAttention
from kvcalc.reference.mla_expanded import ExpandedLatentAttention
from kvcalc.reference.mqa import MultiQueryAttention
from kvcalc.reference.nothing import KeepsNothing

if TYPE_CHECKING:
    from collections.abc import Mapping

REFERENCES: Mapping[type[Mechanism], type[ReferenceAttention]] = MappingProxyType(
    {
        MHA: MultiHeadAttention,
        MQA: MultiQueryAttention,
        GQA: GroupedQueryAttention,
        MLA: MultiHeadLatentAttention,
        MLAExpanded: ExpandedLatentAttention,
        Shared: KeepsNothing,
        NoAttention: KeepsNothing,
    }
)

__all__ = ["REFERENCES", "KeepsNothing", "ReferenceAttention", "Rows", "build"]


def build(
    mechanism: Mechanism,
    hidden_size: int,
    window: int | None,
    *,
    device: torch.device | str = "meta",
    dtype: torch.dtype = torch.bfloat16,
    seed: int = 0,
) -> ReferenceAttention:
    """The layer that a mechanism describes, with weights drawn from `seed`.

    Raises:
        KeyError: there is no reference module for this mechanism.
    """
    with torch.device("meta"):
        module = REFERENCES[type(mechanism)](mechanism, hidden_size, window)
    module = module.to(dtype)
    if torch.device(device).type != "meta":
        module = module.to_empty(device=device)
        initialise(module, seed)
    return module.requires_grad_(requires_grad=False)
