"""The formats that the formula takes where nobody asks for one, beside those that published implementations store.

Modules are packed in whatever format the formula names, so that a wrong one would take the same bytes on both sides.
Here a row is packed twice, in the formula's format and as the reference module declares; the bytes must be the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from kvcalc.formats.by_name import find_format
from kvcalc.formats.element import TENSOR_FORMATS
from kvcalc.mechanisms import Role
from kvcalc.note import Note, note
from kvcalc.reference import reference_of
from kvcalc.reference.packing import packing
from kvcalc.scenario import compute_format
from kvcalc.term import Factor
from kvcalc.verification.result import Check
from kvcalc.verification.shapes import COMPUTES_IN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.mechanisms import CachedTensor
    from kvcalc.model.layers import Layer
    from kvcalc.reference.stored_as import StoredAs
    from kvcalc.verification.scope import Scope

_OWN_FORMAT = {Role.CONV: "conv_dtype", Role.STATE: "state_dtype"}
"""The key of a model's file that says a constant tensor's format."""


class _Row(NamedTuple):
    """One head's row of a tensor: its bytes by the formula and as declared, and whether they are the same."""

    predicted: int
    measured: int | None
    same: bool


def default_formats(scope: Scope) -> Iterator[Check]:
    """Of the tensors whose format nobody asked for: the formula's is the declared one. Alike ones are one check."""
    alike: dict[tuple[str, str], dict[str, _Row]] = {}
    for layer, tensor in _tensors(scope):
        declared = _declared(scope, layer, tensor)
        if declared is not None:
            name = scope.format_of(layer, tensor.name)
            rows = alike.setdefault((name, declared.source), {})
            row = _row(scope, tensor, name, declared)
            rows[tensor.name] = min(row, rows.get(tensor.name, row), key=lambda each: each.same)
    for (format_name, source), rows in alike.items():
        known = [row.measured for row in rows.values() if row.measured is not None]
        yield Check(
            "default format",
            f"{', '.join(rows)} in {format_name}",
            sum(row.predicted for row in rows.values()),
            sum(known) if len(known) == len(rows) else None,
            f"bytes of a head's row, as in {source}",
            all(row.same for row in rows.values()),
        )


def formats_asked_for(scope: Scope) -> Iterator[Note]:
    """What is not proven of the others: whoever names a format is believed."""
    asked: dict[str, list[str]] = {}
    for layer, tensor in _tensors(scope):
        if _declared(scope, layer, tensor) is None:
            asked.setdefault(scope.format_of(layer, tensor.name), []).append(tensor.name)
    for format_name, names in asked.items():
        tensors = tuple(dict.fromkeys(names))
        yield note(
            "format-not-proven",
            f"that {', '.join(tensors)} can be kept in {format_name}, as the question or the file has it",
            tensors=tensors,
            format=format_name,
        )


def _tensors(scope: Scope) -> Iterator[tuple[Layer, CachedTensor]]:
    for layer in scope.kinds:
        for tensor in layer.attention.cached():
            yield layer, tensor


def _declared(scope: Scope, layer: Layer, tensor: CachedTensor) -> StoredAs | None:
    """How the reference module says that a tensor is stored; None where a format was asked for, or none declared."""
    formats, module = scope.scenario.cache_format, reference_of(layer.attention)
    if compute_format(scope.scenario.model).name not in COMPUTES_IN or _said_by_the_file(layer, tensor):
        return None
    if tensor.name in TENSOR_FORMATS.get(formats.name, {}):
        return module.layouts.get(formats.name, {}).get(tensor.name)
    named = tensor.name in dict(formats.tensors)
    asked = {
        Role.CACHE: named or formats.default != formats.computing,
        Role.INDEX: named,
        Role.CONV: formats.conv is not None,
        Role.STATE: formats.state is not None,
    }
    return None if asked[tensor.role] else module.stored_as.get(tensor.name)


def _said_by_the_file(layer: Layer, tensor: CachedTensor) -> bool:
    """Whether the model's file says what format the tensor has."""
    if tensor.role is Role.CACHE:
        return layer.cache_dtype is not None
    return getattr(layer.attention, _OWN_FORMAT.get(tensor.role, ""), None) is not None


def _row(scope: Scope, tensor: CachedTensor, format_name: str, declared: StoredAs) -> _Row:
    head = None if tensor.heads is None else Factor(tensor.heads.name, 1)
    predicted = math.prod(factor.value for factor in find_format(format_name, tensor.name).row(head, tensor.dims))
    values = torch.randn(1, 1, tensor.head_elements, generator=torch.Generator().manual_seed(1))
    stored = _bytes(declared.pack(COMPUTES_IN[compute_format(scope.scenario.model).name]).pack(values))
    counted = _bytes(packing(format_name).pack(values))
    return _Row(predicted, len(stored), torch.equal(stored, counted) and predicted == len(stored))


def _bytes(stored: torch.Tensor) -> torch.Tensor:
    return stored.contiguous().flatten().view(torch.uint8)
