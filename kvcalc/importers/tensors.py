"""From the tensors of a checkpoint to the parts of a model's weights: which are experts, tables, heads, scales."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.fields import MAX_PARAMETERS
from kvcalc.model.model import WeightPart
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvcalc.importers.layers import ImportedLayer
    from kvcalc.model.model import Split, WeightPlace


class StoredTensor(NamedTuple):
    """A tensor of a checkpoint.

    Attributes:
        name: its own.
        format: of its elements, as kvcalc names it.
        elements: how many are stored, which where weights are packed is fewer than parameters.
        size: bytes.
    """

    name: str
    format: str
    elements: int
    size: int


class AddedUp:
    """The tensors of a checkpoint's files, added up as they are read: there may be a million of them.

    Those of one role, layer and format are one, under the name of the first.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._sums: dict[tuple[Role, str | None, bool, str], StoredTensor] = {}
        self._names: set[int] = set()

    def add(self, tensors: Iterable[StoredTensor]) -> None:
        """Those of one more file.

        Raises:
            KvcalcError: a tensor is there twice, or there are more than any model has.
        """
        for tensor in tensors:
            name = hash(tensor.name)  # a million names themselves would take 150 MB
            if name in self._names:
                raise KvcalcError(f"{self._shown}: tensor '{tensor.name[:60]}' is there twice")
            if len(self._names) == MAX_TENSORS:
                raise KvcalcError(f"{self._shown}: more than {MAX_TENSORS:,} tensors")
            self._names.add(name)
            layer = _LAYER.search(tensor.name)
            key = (_role(tensor.name), layer and layer[1], bool(_DRAFTS.search(tensor.name)), tensor.format)
            before = self._sums.get(key)
            if before is not None:
                tensor = before._replace(  # noqa: PLW2901  # the sum so far
                    elements=before.elements + tensor.elements, size=before.size + tensor.size
                )
            self._sums[key] = tensor

    @property
    def tensors(self) -> tuple[StoredTensor, ...]:
        """The sums.

        Raises:
            KvcalcError: the files hold nothing.
        """
        if not self._sums:
            raise KvcalcError(f"{self._shown}: its *.safetensors files hold no tensors; {WITHOUT_FILES}")
        return tuple(self._sums.values())


MAX_TENSORS = 1_000_000
"""Of a checkpoint: 896 experts in 93 layers, quantised, have 750,000."""

WITHOUT_FILES = "name config.json itself, and give --weights SIZE"
"""What a user can do where a checkpoint's files hold nothing."""


class Role(NamedTuple):
    """Where a tensor belongs.

    Attributes:
        title: of the part.
        scales: whether it is the scales of others.
    """

    title: str
    split: Split = "tp"
    place: WeightPlace = "layers"
    scales: bool = False


_TABLE = Role("embedding", place="embedding")
_TOWERS = Role("towers for images or sound", place="embedding")
_HEAD = Role("output head", place="head")
_EXPERTS = Role("experts", split="ep")
_LAYERS = Role("layers")

_RULES: tuple[tuple[re.Pattern[str], Role], ...] = tuple(
    (re.compile(pattern), role)
    for pattern, role in (
        (r"(^|\.)(vision|visual|audio|image|speech|multi_modal|mm_|embed_vision|embed_audio|patch_merger)", _TOWERS),
        (r"(^|\.)(mm\.|v\.)", _TOWERS),
        (r"(^|\.)(lm_head|lm_head\.linear|embed_out|output_layer)\.weight|^output\.weight", _HEAD),
        (r"(^|\.)experts\.|_exps\.|block_sparse_moe\.(input|output)_linear", _EXPERTS),
        (r"(^|\.)(embed_tokens|wte|word_embeddings|embed_in|tok_embeddings|token_embd)\.weight", _TABLE),
        (r"^(backbone|model)\.(embeddings?)\.weight|^transformer\.embedding\.word_embeddings\.weight", _TABLE),
    )
)
"""Names that checkpoints give their tensors (transformers' and llama.cpp's); what no rule names belongs to layers."""

_SCALES = re.compile(r"(_scale|_scale_inv|_scales|\.scales|_zero_point|\.qzeros|\.g_idx|_absmax|_quant_map)$")
_EIGHT_BIT_FLOATS = {"fp8", "fp8_e5m2"}
_LAYER = re.compile(r"(?:^|\.)(?:layers|blk|h)\.(\d{1,6})\.")
_DRAFTS = re.compile(r"(?:^|\.)mtp\.")


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
        role = _role(tensor.name)
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
    matches = (_LAYER.search(tensor.name) for tensor in tensors if _role(tensor.name).title != _TOWERS.title)
    there = {int(match[1]) for match in matches if match}
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
    order = [_TABLE.title, _TOWERS.title, _EXPERTS.title, _LAYERS.title, _HEAD.title]
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
            weight_block_size=block if form in _EIGHT_BIT_FLOATS and not role.scales else None,
        )
        if part.size != size:
            raise KvcalcError(f"{shown}: {what} take {size:,} bytes, and {elements:,} elements of {form} {part.size:,}")
        yield part


def _role(name: str) -> Role:
    role = next((role for pattern, role in _RULES if pattern.search(name)), _LAYERS)
    return role._replace(scales=True) if _SCALES.search(name) else role


def _is_draft(name: str, num_layers: int) -> bool:
    layer = _LAYER.search(name)
    is_tower = _role(name).title == _TOWERS.title
    return bool(_DRAFTS.search(name)) or (layer is not None and int(layer[1]) >= num_layers and not is_tower)


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
