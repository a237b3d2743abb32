"""How many weights the layers that predict further tokens have, in which format, and how ranks share them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.formats.weights import find_weight_format, is_plain
from kvcalc.mechanisms import Compressed
from kvcalc.model.model import WeightPart
from kvcalc.model.mtp_family import family_of
from kvcalc.model.mtp_matrices import Matrix, block_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.model.layers import Layer
    from kvcalc.model.model import Model, Split


LEFT_PLAIN = frozenset({"nvfp4"})
"""Formats of checkpoints that leave these layers in the model's dtype, whatever else is quantised: NVIDIA's
hf_quant_config excludes mtp*, and the recipes of llm-compressor ignore them. Of Qwen3.6-27B in nvfp4 vLLM 0.20 loads
0.79 GiB more with them, of Qwen3.6-35B-A3B 1.57 (99sono/DockerBuildFiles)."""

RESIDUAL_STREAMS = 4
"""Of both DeepSeek-V4 (hc_mult of their config.json): the matrices that mix them stay in fp32."""

MOST_BESIDE = 20
"""Norms, gates, biases and an indexer are less than one in so many of a layer's parameters."""


class _Stored(NamedTuple):
    """The formats of a checkpoint's matrices.

    Attributes:
        block: rows and columns that share a scale in fp32, where scales are parts of their own.
    """

    experts: str
    layers: str
    block: int | None


def mtp_weights(model: Model, kept: Layer, layers: int) -> Iterator[WeightPart]:
    """The weights of so many of the layers; none where the file does not tell how many, or in which format."""
    if isinstance(kept.attention, Compressed):
        yield from _without_entries(model, kept.attention, layers)
        return
    total, family, plain = model.mtp_parameters, family_of(model), model.dtype or "bf16"
    stored, hidden = _stored(model, plain), model.hidden_size
    if total is None or stored is None or hidden is None:
        return
    if not family.told:
        if stored.layers == plain:
            yield WeightPart(part="layers that predict further tokens", parameters=total, format=plain)
        return
    block = block_of(model, kept, hidden)
    if block is None:
        return
    heads = layers * (model.vocab_size or 0) * hidden if family.own_heads else 0
    total = total * layers // (model.mtp_layers or layers)
    joining = layers * 2 * hidden * hidden
    rest = total - joining - heads - layers * sum(each.parameters for some in block for each in some)
    if not 0 <= rest * MOST_BESIDE <= total:
        return
    yield from _quantised("routed experts", block.experts, layers, stored.experts, stored, "ep", plain)
    yield from _quantised("attention and feed-forward", block.divided, layers, stored.layers, stored, "tp", plain)
    yield from _quantised("latent down-projections", block.whole, layers, stored.layers, stored, "stage", plain)
    if block.left:
        outputs = layers * sum(each.parameters for each in block.left)
        yield WeightPart(part="attention outputs", parameters=outputs, format=plain)
    joined_by: Split = "tp" if family.divided else "stage"
    yield WeightPart(part="joining of embedding and hidden state", parameters=joining, format=plain, split=joined_by)
    if heads:
        yield WeightPart(part="output heads of their own", parameters=heads, format=plain)
    if rest:
        yield WeightPart(part="routers, norms and the like", parameters=rest, format=plain, split="stage")


def _without_entries(model: Model, attention: Compressed, layers: int) -> Iterator[WeightPart]:
    """As the model's other layers, without compressors and indexers, and two matrices that join, stored as latents."""
    hidden, queries = model.hidden_size or 0, attention.q_lora_rank or 0
    shared = [part for part in model.weights if part.place == "layers" and part.split in {"ep", "tp"}]
    whole = next((part for part in model.weights if part.split == "stage" and part.weight_block_size), None)
    if not hidden or whole is None or whole.weight_block_size is None:
        return
    for part in shared:
        yield replace(part, parameters=part.parameters * layers // model.num_layers)
    latents = Matrix(queries, hidden), Matrix(attention.head_dim, hidden), Matrix(hidden, hidden, 2)
    parameters = layers * sum(each.parameters for each in latents)
    scales = layers * sum(each.scales(whole.weight_block_size) for each in latents)
    yield replace(whole, part="latent down-projections and joining", parameters=parameters)
    form = next((part.format for part in model.weights if part.scales and part.split == "stage"), whole.format)
    yield WeightPart(part="scales of them", parameters=scales, format=form, split="stage", scales=True)
    norms = 5 * hidden + queries + attention.head_dim
    plain = layers * ((model.num_experts or 0) * hidden + norms)
    yield WeightPart(part="routers and norms", parameters=plain, format=model.dtype or "bf16", split="stage")
    streams = RESIDUAL_STREAMS
    mixed = (2 + streams) * streams
    mixing = 2 * (mixed * (streams * hidden + 1) + 3) + streams * (streams * hidden + 1) + 1
    yield WeightPart(part="residual streams", parameters=layers * mixing, format="fp32", split="stage")


def _quantised(
    name: str, matrices: tuple[Matrix, ...], layers: int, form: str, stored: _Stored, split: Split, plain: str
) -> Iterator[WeightPart]:
    """Matrices, and their scales where those are a part of their own."""
    if not matrices:
        return
    block = stored.block if form != plain else None
    yield WeightPart(
        part=name,
        parameters=layers * sum(each.parameters for each in matrices),
        format=form,
        split=split,
        weight_block_size=block,
        projections=split == "tp",
    )
    if block is not None:
        scales = layers * sum(each.scales(block) for each in matrices)
        yield WeightPart(part=f"scales of {name}", parameters=scales, format="fp32", split=split, scales=True)


def _stored(model: Model, plain: str) -> _Stored | None:
    """As the model's other layers are; None where those of a quantised checkpoint may be stored otherwise."""
    if not model.weights:
        form = model.weight_dtype or plain
        return _Stored(plain, plain, None) if is_plain(find_weight_format(form, "weight_dtype")) else None
    of_layers = [part for part in model.weights if part.place == "layers" and not part.scales and part.split != "all"]
    experts = next((part.format for part in of_layers if part.split == "ep"), plain)
    formats = {part.format for part in of_layers if part.split != "stage"} - {plain}
    scales = any(part.scales and part.format == "fp32" for part in model.weights)
    blocks = {part.weight_block_size for part in of_layers if part.format != plain}
    if not formats or not formats.isdisjoint(LEFT_PLAIN):
        return _Stored(plain, plain, None)
    if formats == {"fp8"} and scales and len(blocks) == 1:  # scales in blocks, of these layers too, as in FP8 releases
        return _Stored(experts, "fp8", blocks.pop())
    return None
