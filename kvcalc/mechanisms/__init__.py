"""The attention mechanisms, one file each, and their union: the `attention:` of a model's layers."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from kvcalc.mechanisms.base import CachedTensor, Mechanism
from kvcalc.mechanisms.gqa import GQA
from kvcalc.mechanisms.mha import MHA
from kvcalc.mechanisms.mla import MLA
from kvcalc.mechanisms.mqa import MQA
from kvcalc.mechanisms.no_attention import NoAttention
from kvcalc.mechanisms.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Mapping

Attention = Annotated[MHA | MQA | GQA | MLA | Shared | NoAttention, Field(discriminator="kind")]

KINDS: Mapping[str, type[Mechanism]] = MappingProxyType(
    {cls.model_fields["kind"].default: cls for cls in (MHA, MQA, GQA, MLA, Shared, NoAttention)}
)
"""`kind` -> mechanism."""

__all__ = ["GQA", "KINDS", "MHA", "MLA", "MQA", "Attention", "CachedTensor", "Mechanism", "NoAttention", "Shared"]
