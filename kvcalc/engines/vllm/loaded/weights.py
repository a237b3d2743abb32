"""What a rank of vLLM has in memory once a model is loaded, beyond its share of the checkpoint."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.engines.merged_matrices import VOCABULARY_BLOCK
from kvcalc.engines.rotary import rotary_tables
from kvcalc.engines.vllm.loaded.allocator import ends_of_blocks
from kvcalc.engines.vllm.loaded.mxfp4 import capability, padding_of_experts
from kvcalc.engines.vllm.loaded.nvfp4 import padding_of_nvfp4_experts, pads_nvfp4
from kvcalc.engines.vllm.loaded.repeated_head import repeated_head
from kvcalc.engines.vllm.loaded.routers import routers_in_fp32
from kvcalc.engines.vllm.loaded.stage_tables import tables_of_other_stages
from kvcalc.engines.vllm.model_types import (
    PIXTRAL,
    PIXTRAL_DIVIDED,
    POSITIONS_OF_TOKENS,
    POSITIONS_SINCE,
    WHOLE_TOWERS,
    keeps_rotations,
)
from kvcalc.formats.by_name import find_format
from kvcalc.formats.weights import find_weight_format, is_plain
from kvcalc.mechanisms import GQA, MLA, Compressed
from kvcalc.model.quantised import parts_in
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.engines.setup import Setup
    from kvcalc.formats.element import ElementFormat
    from kvcalc.model.model import Model, WeightPart
    from kvcalc.model.stages import Stage

ROTARY = "vllm/model_executor/layers/rotary_embedding/base.py, cos_sin_cache: one for all layers that rotate alike"
ROTARY_OF_ENTRIES = (
    "vllm/models/deepseek_v4/common/rope.py, build_deepseek_v4_rope, and vllm/model_executor/layers/rotary_embedding/"
    "deepseek_scaling_rope.py, DeepseekV4ScalingRotaryEmbedding"
)
INDEX_KEYS = "vllm/model_executor/models/deepseek_v2.py, Indexer: wk_weights_proj"
INDEX_KEYS_FUSED = (0, 29)
"""The first of the versions read that has wk_weights_proj; 0.19 has wk."""
LATENT = "vllm/model_executor/layers/attention/mla_attention.py, process_weights_after_loading: W_UK_T and W_UV"
TOWERS_LEFT_OUT = (0, 15)
"""Towers of which no input may be given are skipped (models/interfaces.py, _mark_tower_model): not in 0.14.1, and in
0.15.0."""
TOWERS_ON_FIRST_STAGE = (0, 33)
"""The first of the versions read whose later stages skip towers (models/interfaces.py, _mark_tower_model)."""

KEYS_AS_VALUES = "vllm/model_executor/models/gemma4.py, Gemma4Attention: the keys' weights are loaded as values' too"
SCALES = "vllm/model_executor/model_loader/bitsandbytes_loader.py, _dequantize_dq (0.19.0): absmax in fp32, one per 64"
VOCABULARY = "vllm/model_executor/layers/vocab_parallel_embedding.py, DEFAULT_VOCAB_PADDING_SIZE"


def loaded_beyond(setup: Setup, version: tuple[int, ...], stage: Stage) -> Iterator[Product]:
    """Tables, copies and padding of one rank of a stage, each a row."""
    yield from _tables_of_rotations(setup, version, stage)
    yield from _tables_of_entries(setup, stage)
    yield from _dequantised_latents(setup, stage)
    yield from _dequantised_index_keys(setup, version, stage)
    yield from _values_made_as_keys(setup, stage)
    yield from _scales_in_fp32(setup, stage)
    yield from padding_of_experts(setup, version, stage)
    yield from padding_of_nvfp4_experts(setup, version, stage)
    yield from _padded_vocabulary(setup, stage)
    yield from repeated_head(setup, version, stage)
    yield from tables_of_other_stages(setup, stage)
    yield from routers_in_fp32(setup, stage)
    yield from ends_of_blocks(setup, stage)


def pads_experts(setup: Setup, version: tuple[int, ...], name: str) -> bool:
    """Whether padding of experts in a format is counted: on cards whose kernels are known."""
    power = capability(setup)
    return power is not None and (name == "mxfp4" or (name == "nvfp4" and pads_nvfp4(power, version)))


def _element(setup: Setup) -> Factor:
    computing = find_format(setup.model.dtype or "bf16", "dtype")
    return Factor("bytes_per_element", computing.block_bytes, "byte")


def _tables_of_rotations(setup: Setup, version: tuple[int, ...], stage: Stage) -> Iterator[Product]:
    model = setup.model
    if not keeps_rotations(model.model_type, version):
        return
    as_tokens = model.model_type in POSITIONS_OF_TOKENS and version >= POSITIONS_SINCE
    yield from rotary_tables(model, stage, _element(setup), ROTARY, model.max_context if as_tokens else None)


def _tables_of_entries(setup: Setup, stage: Stage) -> Iterator[Product]:
    """In fp32, of layers that compress and of those that do not, which have bases of their own."""
    kinds = [layer.attention for layer in stage.kinds if isinstance(layer.attention, Compressed)]
    positions = setup.model.rotary_positions or setup.model.max_context
    width = next((each.qk_rope_head_dim for each in kinds), None)
    if width and positions:
        factors = (
            Factor("bases", len({each.compress_ratio is None for each in kinds}), "table"),
            Factor("positions", positions, "position"),
            Factor("qk_rope_head_dim", width),
            Factor("bytes_per_element", 4, "byte"),
        )
        yield Product("rotary tables in fp32", factors, ROTARY_OF_ENTRIES)


def _dequantised_latents(setup: Setup, stage: Stage) -> Iterator[Product]:
    """The latents' up-projections in the dtype of computing, kept beside quantised ones; of others they are views."""
    if not _quantised_layers(setup):
        return
    for layer, count in stage.kinds.items():
        attention = layer.attention
        if isinstance(attention, MLA):
            heads = attention.num_heads // setup.deployment.tp
            factors = (
                Factor("layers", count, "layer"),
                Factor("heads", heads, "head"),
                Factor("kv_lora_rank", attention.kv_lora_rank),
                Factor("qk_nope_and_v_head_dim", attention.qk_nope_head_dim + attention.v_head_dim),
                _element(setup),
            )
            yield Product("latent up-projections, not quantised", factors, LATENT)


def _dequantised_index_keys(setup: Setup, version: tuple[int, ...], stage: Stage) -> Iterator[Product]:
    """What an indexer projects keys with is kept in the dtype of computing, beside its heads' weights."""
    stored, computing = _format_of_layers(setup), find_format(setup.model.dtype or "bf16", "dtype")
    if setup.model.hidden_size is None or version < INDEX_KEYS_FUSED or stored is None or not _quantised_layers(setup):
        return
    for layer, count in stage.kinds.items():
        attention = layer.attention
        if isinstance(attention, MLA) and attention.index_head_dim and stored.block_elems == 1:
            factors = (
                Factor("layers", count, "layer"),
                Factor("hidden_size", setup.model.hidden_size),
                Factor("index_head_dim", attention.index_head_dim),
                Factor("bytes_more", computing.block_bytes - stored.block_bytes, "byte"),
            )
            yield Product("index keys' projection, not quantised", factors, INDEX_KEYS)


def _values_made_as_keys(setup: Setup, stage: Stage) -> Iterator[Product]:
    """Projections of values that the checkpoint does not have, where full layers make them as keys."""
    model = setup.model
    if not model.attention_k_eq_v or model.hidden_size is None:
        return
    stored = _format_of_attention(setup)
    for layer, count in stage.kinds.items():
        attention = layer.attention
        if layer.span is None and isinstance(attention, GQA):
            heads = -(-attention.num_kv_heads // setup.deployment.tp)  # as in allocator.py
            factors = stored.parameters(heads * attention.head_dim * model.hidden_size)
            yield Product("values' projections, as keys", (Factor("layers", count, "layer"), *factors), KEYS_AS_VALUES)


def _scales_in_fp32(setup: Setup, stage: Stage) -> Iterator[Product]:
    """Those of bitsandbytes that a checkpoint has quantised in turn, as they are on its ranks."""
    doubly, once = (find_weight_format(name, "format") for name in ("nf4_double", "nf4"))
    model, tp = setup.model, setup.deployment.tp
    parameters = sum(part.parameters for part in _parts_of(setup) if part.format == doubly.name)
    blocks = -(-parameters * len(stage.layers) // (model.num_layers * tp * doubly.block_elems))
    if blocks:
        more = once.block_bytes * doubly.block_elems // once.block_elems - doubly.block_bytes
        blocks_held = Factor(f"blocks_of_{doubly.block_elems}", blocks, f"block of {doubly.block_elems} parameters")
        yield Product("scales of nf4 in fp32", (blocks_held, Factor("bytes_more", more, "byte")), SCALES)


def _parts_of(setup: Setup) -> tuple[WeightPart, ...]:
    """The parts of its checkpoint, where they are listed or told apart."""
    return setup.model.weights if setup.weight_format is None else parts_in(setup.model, setup.weight_format) or ()


def _format_of_attention(setup: Setup) -> ElementFormat:
    """Of the projections to keys and values."""
    model = setup.model
    parts = _parts_of(setup)
    said = next((part.format for part in parts if part.projections), None)
    if said is None and setup.weight_format is not None:
        return setup.weight_format
    return find_weight_format(said or model.weight_dtype or model.dtype or "bf16", "weight_dtype")


def _quantised_layers(setup: Setup) -> bool:
    """Whether what divides over the ranks of a stage is quantised, attention among it."""
    return any(not is_plain(each) for each in _formats_of_layers(setup))


def _formats_of_layers(setup: Setup) -> tuple[ElementFormat, ...]:
    return (setup.weight_format,) if setup.weight_format is not None else _formats_stored(setup.model)


@lru_cache(maxsize=64)  # searches ask on thousands of deployments of one model
def _formats_stored(model: Model) -> tuple[ElementFormat, ...]:
    parts = [part.format for part in model.weights if (part.split, part.place, part.scales) == ("tp", "layers", False)]
    formats = parts or ([model.weight_dtype] if model.weight_dtype else [])
    return tuple(find_weight_format(each, "format") for each in formats)


def _format_of_layers(setup: Setup) -> ElementFormat | None:
    """Where they have one."""
    formats = set(_formats_of_layers(setup))
    return formats.pop() if len(formats) == 1 else None


def _padded_vocabulary(setup: Setup, stage: Stage) -> Iterator[Product]:
    """Rows that fill up embedding and output head, where the stage has them."""
    model, pp = setup.model, setup.deployment.pp
    if model.vocab_size is None or model.hidden_size is None:
        return
    rows = -model.vocab_size % VOCABULARY_BLOCK
    head_apart = model.tie_word_embeddings is False or pp > 1
    last = any(pp - 1 in numbers for numbers in stage.numbers)
    tables = (stage.number == 0) + (head_apart and last)
    if rows and tables:
        share = -(-rows * model.hidden_size // setup.deployment.tp)
        factors = (Factor("tables", tables, "table"), Factor("padding", share, "element"), _element(setup))
        yield Product("padding of the vocabulary", factors, VOCABULARY)


def divides_towers(model: Model, deployment: Deployment, version: tuple[int, ...]) -> bool:
    """Whether ranks share a model's towers, as they do by default (mm_encoder_tp_mode "weights" of vllm/config).

    Gemma's are transformers' own modules, whole everywhere (models/gemma3n_mm.py, gemma4_mm.py), as pixtral.py's were.
    Where later stages have towers too, they are taken as whole on every rank.
    """
    return not has_whole_towers(model, version) and (deployment.pp == 1 or version >= TOWERS_ON_FIRST_STAGE)


def has_whole_towers(model: Model, version: tuple[int, ...]) -> bool:
    """Whether each rank that has towers has all of them."""
    return model.model_type in WHOLE_TOWERS or (model.model_type in PIXTRAL and version < PIXTRAL_DIVIDED)
