"""The role of a checkpoint's tensor by its name: table, experts, output head, tower, or a layer's; and its layer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.model.towers import TITLE

if TYPE_CHECKING:
    from kvcalc.model.model import Split, WeightPlace


class Role(NamedTuple):
    """Where a tensor belongs.

    Attributes:
        title: of the part.
        scales: whether it is the scales of others.
        ngrams: whether it is tables of n-grams.
    """

    title: str
    split: Split = "tp"
    place: WeightPlace = "layers"
    scales: bool = False
    ngrams: bool = False


TABLE = Role("embedding", place="embedding")
NGRAMS = Role("tables of n-grams", place="embedding", ngrams=True)
TOWERS = Role(TITLE, place="embedding")
HEAD = Role("output head", place="head")
EXPERTS = Role("experts", split="ep")
LAYERS = Role("layers")

_RULES: tuple[tuple[re.Pattern[str], Role], ...] = tuple(
    (re.compile(pattern), role)
    for pattern, role in (
        (r"(^|\.)(vision|visual|audio|image|speech|multi_modal|mm_|embed_vision|embed_audio|patch_merger)", TOWERS),
        (r"(^|\.)(mm\.|v\.)", TOWERS),
        (r"(^|\.)(ple_embedding\.ngram_embedding|engram\.embed)\.", NGRAMS),
        (r"(^|\.)(lm_head|lm_head\.linear|embed_out|output_layer)\.weight|^output\.weight", HEAD),
        (r"(^|\.)experts\.|_exps\.|block_sparse_moe\.(input|output)_linear", EXPERTS),
        (r"(^|\.)(embed_tokens|wte|word_embeddings|embed_in|tok_embeddings|token_embd)\.weight", TABLE),
        (r"^(backbone|model)\.(embeddings?)\.weight|^transformer\.embedding\.word_embeddings\.weight", TABLE),
    )
)
"""Names that checkpoints give their tensors (transformers' and llama.cpp's); what no rule names belongs to layers."""

_SCALES = re.compile(r"(_scale|_scale_inv|_scales|\.scales|_zero_point|\.qzeros|\.g_idx|_absmax|_quant_map)$")
_LAYER = re.compile(r"(?:^|\.)(?:layers|blk|h)\.(\d{1,6})\.")
_DRAFTS = re.compile(r"(?:^|\.)mtp\.")


def role_of(name: str) -> Role:
    """The role of a tensor of that name."""
    role = next((role for pattern, role in _RULES if pattern.search(name)), LAYERS)
    return role._replace(scales=True) if _SCALES.search(name) else role


def layer_of(name: str) -> int | None:
    """The number of the layer that a tensor of that name belongs to; None where the name has none."""
    match = _LAYER.search(name)
    return None if match is None else int(match[1])


def names_draft(name: str) -> bool:
    """Whether the name itself is one of layers that predict further tokens."""
    return bool(_DRAFTS.search(name))


def is_tower(name: str) -> bool:
    """Whether a tensor of that name belongs to a tower for images or sound."""
    return role_of(name).title == TOWERS.title
