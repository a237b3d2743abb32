"""What one rank's layers store, seen on the meta device: shapes and dtypes at full size, without memory.

A layer's reference module is asked to `keep` every token of the workload, one with a state what it keeps after a token,
and what it returns is packed in the cache's format. The formula is not asked.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from kvcalc.errors import KvcalcError
from kvcalc.reference import ReferenceAttention, ReferenceLayer, ReferenceParts, ReferenceState, build
from kvcalc.reference.cache import LayerCache, PartsCache, StateCache, Stored
from kvcalc.reference.packing import packing
from kvcalc.scenario import compute_format
from kvcalc.verification.shape_rules import ShapeRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.model.layers import Layer
    from kvcalc.model.model import Model
    from kvcalc.reference.cache import Cache
    from kvcalc.verification.scope import Rank, Scope

HIDDEN_SIZE = 4096
"""Where a model's file gives none: it shapes the projections, never the cache."""

MAX_ELEMENTS = 2**60
"""Of one tensor: torch counts bytes in 63 bits."""

COMPUTES_IN = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Formats that torch computes in."""


class Kept(NamedTuple):
    """One tensor that a layer keeps.

    Attributes:
        row: the shape of a row, (heads, width) or (width,) or that of a state.
        stored: what holds it for all sequences and rows, on the meta device.
        rows: how many a sequence has, where it is a constant; 1 where each token adds one.
        slots: how many it has of a part with a number of its own; None where it has the layer's.
    """

    row: tuple[int, ...]
    stored: Tensor
    format_name: str
    rows: int = 1
    slots: int | None = None

    @property
    def elements(self) -> int:
        """Of one token, or of a sequence where it is a constant."""
        return self.rows * prod(self.row)


class Observed(NamedTuple):
    """What one layer of a kind stores on one rank.

    Attributes:
        slots: tokens kept of each sequence, of a window or chunk at most its length; None where it keeps a constant.
    """

    layer: Layer
    slots: int | None
    tensors: Mapping[str, Kept]

    @property
    def sizes(self) -> list[int]:
        """Bytes of each tensor."""
        return [kept.stored.untyped_storage().nbytes() for kept in self.tensors.values()]

    @property
    def rows(self) -> int:
        """Rows of a sequence that a query reads: the tokens kept, or the constant."""
        return max((kept.rows for kept in self.tensors.values()), default=1) if self.slots is None else self.slots

    def cache(self, device: torch.device) -> Cache:
        """A layer's cache with real buffers, not yet touched."""
        stored = {
            name: Stored(
                torch.empty(kept.stored.shape, dtype=kept.stored.dtype, device=device),
                kept.row,
                packing(kept.format_name),
            )
            for name, kept in self.tensors.items()
        }
        if self.slots is None:
            return StateCache(stored)
        own = {name: kept.slots for name, kept in self.tensors.items() if kept.slots is not None}
        if own:
            return PartsCache({name: LayerCache({name: stored[name]}, slots) for name, slots in own.items()})
        return LayerCache(stored, self.slots)


def hidden_size(model: Model) -> int:
    return model.hidden_size or HIDDEN_SIZE


def compute_dtype(model: Model) -> torch.dtype:
    """What the reference modules compute in: the model's dtype, or bf16 where torch does not compute in that."""
    return COMPUTES_IN.get(compute_format(model).name, torch.bfloat16)


def observe(scope: Scope, rank: Rank) -> dict[str, Observed]:
    """What one layer of each kind stores on a rank, by the kind's label.

    Raises:
        KvcalcError: a tensor beyond what torch can count, or a format that cannot store the rows.
    """
    with ShapeRules():
        return {layer.label: _observe(scope, layer, rank) for layer in dict.fromkeys(scope.layers(rank))}


def _observe(scope: Scope, layer: Layer, rank: Rank) -> Observed:
    model = scope.scenario.model
    whole = build(layer.attention, hidden_size(model), layer.span, dtype=compute_dtype(model))
    module = whole.shard(rank.place, scope.deployment.tp)
    if isinstance(module, ReferenceAttention):
        slots = scope.context if layer.span is None else layer.span.kept(scope.context)
        _check_countable(scope, module.keep(_tokens(1, 1, model), 0), slots)
        kept = module.keep(_tokens(scope.sequences, slots, model), scope.context - slots)
        return Observed(layer, slots, {name: _packed(scope, layer, name, rows) for name, rows in kept.items()})
    if isinstance(module, ReferenceParts):
        return _observe_parts(scope, layer, module)
    if scope.sequences * layer.attention.elements_per_sequence > MAX_ELEMENTS:
        raise _not_countable(scope)
    kept = _after_a_token(module, scope.sequences, model)
    packed = {name: _packed(scope, layer, name, rows)._replace(rows=rows.shape[1]) for name, rows in kept.items()}
    return Observed(layer, None, packed)


def _observe_parts(scope: Scope, layer: Layer, module: ReferenceParts) -> Observed:
    """Rows of the last tokens of each ring, and an entry for every few tokens of the whole context."""
    model, context = scope.scenario.model, scope.context
    _check_countable(scope, module.keep(_tokens(1, 1, model), 0), context)
    found: dict[str, Kept] = {}
    for name, most in module.rings.items():
        slots = context if most is None else min(context, most)
        rows = module.keep(_tokens(scope.sequences, slots, model), context - slots)[name]
        found[name] = _packed(scope, layer, name, rows)._replace(slots=slots)
    if module.entries:
        entries = context // module.stride
        whole = module.keep(_tokens(scope.sequences, max(1, entries) * module.stride, model), 0)
        for name, rows in module.pool({name: whole[name] for name in module.pooled}, 0).items():
            found[name] = _packed(scope, layer, name, rows[:, :entries])._replace(slots=entries)
    return Observed(layer, context, found)


def _after_a_token(module: ReferenceLayer, sequences: int, model: Model) -> dict[str, Tensor]:
    """What a layer with a state keeps then; nothing of one without."""
    if not isinstance(module, ReferenceState):
        return {}
    return module.advance(_tokens(sequences, 1, model), module.begin(sequences))[1]


def _tokens(sequences: int, tokens: int, model: Model) -> Tensor:
    return torch.empty(sequences, tokens, hidden_size(model), dtype=compute_dtype(model), device="meta")


def _packed(scope: Scope, layer: Layer, name: str, rows: Tensor) -> Kept:
    format_name = scope.format_of(layer, name)
    try:
        stored = packing(format_name).pack(rows)
    except ValueError as error:
        raise KvcalcError(
            f"format {format_name} does not store {name} of {layer.label}: {error}; --cache-dtype "
            f"{name}=bf16 does, or cache_dtype in the model's file"
        ) from error
    return Kept(tuple(rows.shape[2:]), stored, format_name)


def _check_countable(scope: Scope, one_token: Mapping[str, Tensor], slots: int) -> None:
    widest = max((prod(rows.shape[2:]) for rows in one_token.values()), default=1)
    if scope.sequences * slots * max(widest, hidden_size(scope.scenario.model)) > MAX_ELEMENTS:
        raise _not_countable(scope)


def _not_countable(scope: Scope) -> KvcalcError:
    return KvcalcError(
        f"{scope.sequences:,} sequences x {scope.context:,} tokens: a tensor would have more elements than torch "
        "counts (2^60); ask for less"
    )
