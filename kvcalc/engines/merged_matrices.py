"""The matrices of a rank as vLLM and SGLang merge them: queries, keys and values are one, and projections up are one.

Counted are those of attention, of feed-forward blocks and of the tables, where their elements take a byte or more:
packed ones are laid out anew for their kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.gated import is_gated
from kvcalc.formats.by_name import find_format
from kvcalc.formats.weights import find_weight_format
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, GatedDeltaNet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model, Split
    from kvcalc.model.stages import Stage

VOCABULARY_BLOCK = 64
"""DEFAULT_VOCAB_PADDING_SIZE of layers/vocab_parallel_embedding.py, in vLLM and in SGLang."""


def layers_with_experts(model: Model, stage: Stage) -> int:
    """How many layers of a stage have experts: those without attention alone, where a model has such (Nemotron-H)."""
    if not model.is_mixture_of_experts:
        return 0
    return model.layers_with_experts(stage.layers)


def merged_matrices(setup: Setup, stage: Stage) -> Iterator[tuple[int, int]]:
    """How many matrices of how many bytes a rank of a stage has: the tables first, then those of its layers."""
    model, pp, hidden = setup.model, setup.deployment.pp, setup.model.hidden_size
    if hidden is None:
        return
    computing = find_format(model.dtype or "bf16", "dtype").block_bytes
    if model.vocab_size is not None:
        rows = -(-model.vocab_size // VOCABULARY_BLOCK) * VOCABULARY_BLOCK
        last = any(pp - 1 in numbers for numbers in stage.numbers)
        apart = model.tie_word_embeddings is False or pp > 1
        yield (stage.number == 0) + (apart and last), rows * hidden * computing // setup.deployment.tp
    if (element := _bytes_of(setup, "tp")) is not None:
        for layer, count in stage.kinds.items():
            for elements in _of_attention(layer.attention, hidden, setup.deployment.tp):
                yield count, elements * element
        for count, elements in _of_dense_blocks(setup, stage, hidden):
            yield count, elements * element
    if (element := _bytes_of(setup, "ep")) is not None:
        for count, elements in _of_experts(setup, stage, hidden):
            yield count, elements * element


def _bytes_of(setup: Setup, split: Split) -> int | None:
    """Of an element of what divides so of the layers; None where elements are packed, or differ."""
    asked, model = setup.weight_format, setup.model
    if asked is not None:
        formats = {asked}
    elif model.weights:
        parts = (part for part in model.weights if part.place == "layers" and part.split == split and not part.scales)
        formats = {find_weight_format(part.format, "format") for part in parts}
    else:
        formats = {find_weight_format(model.weight_dtype or model.dtype or "bf16", "weight_dtype")}
    sizes = {each.block_bytes if each.block_elems == 1 else None for each in formats}
    return sizes.pop() if len(sizes) == 1 else None


def _of_attention(attention: Mechanism, hidden: int, tp: int) -> Iterator[int]:
    """Elements of a layer's matrices: queries, keys and values are one."""
    match attention:
        case MHA() | MQA() | GQA():
            heads, v_width = attention.num_heads // tp, attention.v_head_dim or attention.head_dim
            kv_heads = -(-attention.cached()[0].num_heads // tp)  # a row of compare may have weights that do not divide
            yield (heads * attention.head_dim + kv_heads * (attention.head_dim + v_width)) * hidden
            yield heads * v_width * hidden
        case MLA():
            heads, latent = attention.num_heads // tp, attention.kv_lora_rank + attention.qk_rope_head_dim
            queries = heads * (attention.qk_nope_head_dim + attention.qk_rope_head_dim)
            yield (latent + (attention.q_lora_rank or 0)) * hidden
            yield queries * (attention.q_lora_rank or hidden)
            yield heads * (attention.qk_nope_head_dim + attention.v_head_dim) * attention.kv_lora_rank
            yield heads * attention.v_head_dim * hidden
        case GatedDeltaNet():
            keys, values = attention.num_k_heads * attention.k_head_dim, attention.num_v_heads * attention.v_head_dim
            yield 2 * (keys + values) * hidden // tp
            yield values * hidden // tp
        case _:
            return


def _of_dense_blocks(setup: Setup, stage: Stage, hidden: int) -> Iterator[tuple[int, int]]:
    """How many layers have which: the projections up are one. Shared experts are one block, as wide as all of them."""
    model, tp, sparse = setup.model, setup.deployment.tp, layers_with_experts(setup.model, stage)
    shared = (model.moe_intermediate_size or 0) * (model.num_shared_experts or 0)
    for layers, width in ((len(stage.layers) - sparse, model.intermediate_size), (sparse, shared)):
        if layers and width:
            yield layers, _up(setup) * hidden * width // tp
            yield layers, hidden * width // tp


def _of_experts(setup: Setup, stage: Stage, hidden: int) -> Iterator[tuple[int, int]]:
    """How many layers have which: each projection of all experts of a rank is one."""
    model, deployment, sparse = setup.model, setup.deployment, layers_with_experts(setup.model, stage)
    if sparse and model.num_experts is not None and model.moe_intermediate_size is not None:
        experts = -(-model.num_experts // deployment.ep)
        elements = experts * hidden * model.moe_intermediate_size * deployment.ep // deployment.expert_ranks
        yield sparse, _up(setup) * elements
        yield sparse, elements


def _up(setup: Setup) -> int:
    """Projections into a feed-forward block."""
    return 2 if is_gated(setup.model) else 1
