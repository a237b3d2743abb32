"""From the tensors of a checkpoint to the parts of a model's weights, whose bytes are exactly the tensors'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.fields import MAX_PARAMETERS
from kvcalc.importers.tensor_roles import (
    EXPERTS,
    HEAD,
    LAYERS,
    NGRAMS,
    TABLE,
    TOWERS,
    Role,
    is_tower,
    layer_of,
    names_draft,
    role_of,
)
from kvcalc.model.model import WeightPart
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvcalc.importers.imported_layer import ImportedLayer
    from kvcalc.importers.tensors import StoredTensor

_EIGHT_BIT_FLOATS = {"fp8", "fp8_e5m2"}
Head = Literal["own", "tied", "none"]
"""A model's output head: a table of its own, the embedding again, or not there."""


class Weights(NamedTuple):
    """The parts of a checkpoint, and what else to know of them.

    Attributes:
        elements: that are stored, without scales.
    """

    parts: tuple[WeightPart, ...]
    elements: int
    notes: tuple[Note, ...]


def weights_of(
    tensors: Iterable[StoredTensor], num_layers: int, *, head: Head, shown: str, block: int | None = None
) -> Weights:
    """The parts of the weights, whose bytes are exactly the tensors'.

    Args:
        tensors: of all files.
        num_layers: of the model; tensors of later ones predict further tokens.
        head: what the model's output head is; only one of its own is loaded where files have one.
        shown: the checkpoint's name in messages.
        block: elements of an 8-bit float row that share a scale in a tensor of its own.

    Raises:
        KvcalcError: a tensor is there twice, or the parts would take other bytes than the tensors.
    """
    totals: dict[tuple[Role, str], list[int]] = {}
    left_out, seen = {"drafts": 0, "head": 0}, set[str]()
    for tensor in tensors:
        if tensor.name in seen:
            raise KvcalcError(f"{shown}: tensor '{tensor.name[:60]}' is there twice")
        seen.add(tensor.name)
        role = role_of(tensor.name)
        if _is_draft(tensor.name, num_layers):
            left_out["drafts"] += tensor.size
        elif head != "own" and role.place == "head":
            left_out["head"] += tensor.size
        elif tensor.elements:
            total = totals.setdefault((role, tensor.format), [0, 0])
            total[0] += tensor.elements
            total[1] += tensor.size
    parts = tuple(_parts(totals, shown, block))
    elements = sum(part.parameters for part in parts if not part.scales)
    return Weights(parts, elements, tuple(_notes(left_out, head)))


def refuse_missing_layers(tensors: Iterable[StoredTensor], layers: Sequence[ImportedLayer], shown: str) -> None:
    """Refuse a checkpoint that lacks some of its layers, where its tensors' names have their layer's number.

    Args:
        tensors: of all files.
        layers: of the model; one without attention may be without tensors.
        shown: the checkpoint's name in messages.

    Raises:
        KvcalcError: a layer has none.
    """
    numbers = (layer_of(tensor.name) for tensor in tensors if not is_tower(tensor.name))
    there = {number for number in numbers if number is not None}
    missing = [
        number
        for number, layer in enumerate(layers)
        if number not in there and any(block.kind != "none" for block in layer.blocks)
    ]
    if there and missing:
        raise KvcalcError(
            f"{shown}: no tensors of {len(missing)} of its {len(layers)} layers (the first is layer {missing[0]}): "
            "files are missing, or belong to another model"
        )


def _parts(totals: dict[tuple[Role, str], list[int]], shown: str, block: int | None) -> Iterator[WeightPart]:
    order = [TABLE.title, NGRAMS.title, TOWERS.title, EXPERTS.title, LAYERS.title, HEAD.title]
    for (role, form), (elements, size) in sorted(
        totals.items(), key=lambda each: (order.index(each[0][0].title), each[0][0].scales, each[0][1])
    ):
        if elements > MAX_PARAMETERS:
            raise KvcalcError(f"{shown}: {elements:,} elements are beyond the limit of {MAX_PARAMETERS:,}")
        what = f"scales of {role.title}" if role.scales else role.title
        part = WeightPart(
            part=f"{what}, {form}",
            parameters=elements,
            format=form,
            split=role.split,
            place=role.place,
            scales=role.scales,
            ngrams=role.ngrams,
            weight_block_size=block if form in _EIGHT_BIT_FLOATS and not role.scales else None,
        )
        if part.size != size:
            raise KvcalcError(f"{shown}: {what} take {size:,} bytes, and {elements:,} elements of {form} {part.size:,}")
        yield part


def _is_draft(name: str, num_layers: int) -> bool:
    layer = layer_of(name)
    return names_draft(name) or (layer is not None and layer >= num_layers and not is_tower(name))


def _notes(left_out: dict[str, int], head: Head) -> Iterator[Note]:
    if left_out["drafts"]:
        yield note(
            "weights-left-out",
            f"{left_out['drafts']:,} bytes of layers that predict further tokens are left out of the weights",
            part="drafts",
            bytes=left_out["drafts"],
        )
    if left_out["head"]:
        reason = "is the embedding again" if head == "tied" else "its class does not have"
        yield note(
            "weights-left-out",
            f"{left_out['head']:,} bytes of an output head that {reason} are left out of the weights",
            part="output head",
            bytes=left_out["head"],
        )
