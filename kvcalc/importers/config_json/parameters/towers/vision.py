"""Parameters of encoders for images. Source: transformers 5.24.0, models/<name>/modeling_<name>.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.parameters.towers.encoder import (
    Blocks,
    linear,
    merger,
    patch_embedding,
    patches,
    side,
    size,
)

if TYPE_CHECKING:
    from kvcalc.importers.config import Config


def _usual(part: Config, width: int) -> int:
    """Blocks with every bias: of CLIP, SigLIP and those that follow them."""
    return Blocks(size(part, "num_hidden_layers", "depth"), width, size(part, "intermediate_size")).parameters


def siglip(part: Config, positions: int | None = None) -> int:
    """Positions of patches, a norm after the layers, and with vision_use_head a layer that sums an image up."""
    width = size(part, "hidden_size")
    rows = patches(part) if positions is None else positions
    layers = _usual(part, width)
    head = layers // size(part, "num_hidden_layers") - width  # with one norm fewer, and a query of its own
    total = patch_embedding(part, width) + rows * width + layers + 2 * width
    return total + (head if part.flag("vision_use_head") else 0)


def siglip2(part: Config) -> int:
    """Positions of so many patches, whatever the image's size."""
    return siglip(part, size(part, "num_patches"))


def clip(part: Config) -> int:
    """A position more, for the class; norms before and after the layers."""
    width = size(part, "hidden_size")
    return patch_embedding(part, width, bias=False) + width * (patches(part) + 2) + _usual(part, width) + 4 * width


def pixtral(part: Config) -> int:
    """Gated blocks without biases; positions are rotations."""
    width = size(part, "hidden_size")
    blocks = Blocks(
        size(part, "num_hidden_layers"),
        width,
        size(part, "intermediate_size"),
        gated=True,
        attention_biases=0,
        inner_bias=False,
        vectors=2,
    )
    return patch_embedding(part, width, bias=False) + width + blocks.parameters


def intern(part: Config) -> int:
    """InternViT: scales of attention and block; biases of queries, keys and values by a flag."""
    width = size(part, "hidden_size")
    biases = 1 + (3 if part.flag("attention_bias") else 0)
    blocks = Blocks(
        size(part, "num_hidden_layers"), width, size(part, "intermediate_size"), attention_biases=biases, vectors=6
    )
    return patch_embedding(part, width) + width * (patches(part) + 2) + blocks.parameters


def qwen2(part: Config) -> int:
    """Qwen2-VL's, with its merger."""
    width, outputs = size(part, "embed_dim"), size(part, "hidden_size")
    blocks = Blocks(size(part, "depth"), width, width * size(part, "mlp_ratio"))
    return _frames(part, width, bias=False) + blocks.parameters + 2 * width + merger(_merged(part, width), outputs)


def qwen2_5(part: Config) -> int:
    """Qwen2.5-VL's, with its merger: gated blocks, norms without biases."""
    width = size(part, "hidden_size")
    blocks = Blocks(size(part, "depth"), width, size(part, "intermediate_size"), gated=True, vectors=2)
    joined = merger(_merged(part, width), size(part, "out_hidden_size"))
    return _frames(part, width, bias=False) + blocks.parameters + width + joined


def exaone4_5(part: Config) -> int:
    """As Qwen2.5-VL's, with fewer heads of keys and values."""
    width = size(part, "hidden_size")
    kept = width // size(part, "num_attention_heads", "num_heads") * size(part, "num_key_value_heads")
    return qwen2_5(part) - 2 * size(part, "depth") * linear(width, width - kept)


def qwen3(part: Config) -> int:
    """Qwen3-VL's and Qwen3.5's, with their mergers: one more for each layer whose output the text model takes too."""
    width = size(part, "hidden_size")
    inputs, deep = _merged(part, width), part.get("deepstack_visual_indexes")
    one = merger(inputs, size(part, "out_hidden_size"))
    total = _frames(part, width) + size(part, "num_position_embeddings") * width + _usual(part, width)
    more = 0 if deep is None else len(part.numbers("deepstack_visual_indexes"))
    return total + 2 * width + one + more * (2 * inputs + one)


def glm(part: Config) -> int:
    """GLM-4.1V's: gated blocks as wide as the text model, a convolution that merges, and a gated merger."""
    width, outputs = size(part, "hidden_size"), size(part, "out_hidden_size")
    biases = 3 if part.flag("attention_bias") else 0
    blocks = Blocks(
        size(part, "depth"), width, outputs, gated=True, attention_biases=biases, inner_bias=False, vectors=2
    )
    total = _frames(part, width) + patches(part) * width + blocks.parameters + 2 * width
    total += linear(_merged(part, width), outputs)
    return total + outputs**2 + 2 * outputs + 3 * outputs * size(part, "intermediate_size")


def kimi(part: Config) -> int:
    """MoonViT, without what joins it to the text model."""
    width = size(part, "hidden_size")
    rows = size(part, "pos_emb_height") * size(part, "pos_emb_width")
    return patch_embedding(part, width) + rows * width + _usual(part, width) + 2 * width


def llama4(part: Config) -> int:
    """A position more, for the class; an adapter of two matrices after pixels are shuffled."""
    width, inner = size(part, "hidden_size"), size(part, "intermediate_size")
    adapter = inner * size(part, "projector_input_dim")
    adapter += size(part, "projector_input_dim") * size(part, "projector_output_dim")
    ends = patch_embedding(part, width, bias=False) + width * (patches(part) + 2) + 4 * width
    return ends + _usual(part, width) + adapter


def gemma4(part: Config) -> int:
    """Gated blocks without biases, norms of queries and keys, and positions in two directions."""
    width, head = size(part, "hidden_size"), size(part, "head_dim")
    layers = size(part, "num_hidden_layers")
    heads = 2 * (size(part, "num_attention_heads") + size(part, "num_key_value_heads")) * head * width
    block = heads + 3 * width * size(part, "intermediate_size") + 4 * width + 2 * head
    return (
        3 * width * side(part, "patch_size") ** 2 + 2 * size(part, "position_embedding_size") * width + layers * block
    )


def _frames(part: Config, width: int, *, bias: bool = True) -> int:
    return patch_embedding(part, width, bias=bias, times=size(part, "temporal_patch_size"))


def _merged(part: Config, width: int) -> int:
    return width * size(part, "spatial_merge_size") ** 2
