"""Buffers for a whole step that a model makes while it is loaded, and which therefore count as its weights."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.engines.vllm.loaded.weights import TOWERS_ON_FIRST_STAGE
from kvcalc.formats.by_name import find_format
from kvcalc.mechanisms import GQA, MLA, Compressed
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.model.stages import Stage

DEEPSTACK_LEVELS: Mapping[str, int] = MappingProxyType({"qwen3_vl": 3, "qwen3_vl_moe": 3})
"""deepstack_visual_indexes of their config.json."""
DEEPSTACK = "vllm/model_executor/models/qwen3_vl.py, deepstack_input_embeds"
PER_LAYER = "per-layer embeddings"
"""The part of Gemma 3n's and 4's weights in which a token has a row for every layer."""
PER_LAYER_ROWS = 262_144
"""vocab_size_per_layer_input of their config.json."""
OF_GEMMA = "vllm/model_executor/models/gemma3n_mm.py and gemma4_mm.py, per_layer_embeddings"
CHOSEN = "tokens that indexers choose for a step"
TOP_K = "vllm/model_executor/models/deepseek_v2.py, topk_indices_buffer"
TOP_K_OF_POOLED = "vllm/models/glm5next/common/model.py, get_sparse_topk_buffer_width"
OF_ENTRIES = "vllm/models/deepseek_v4/nvidia/model.py, topk_indices_buffer"
TILE = 128
"""What such rows are a multiple of."""
TOP_K_OF_HEADS = "vllm/models/qwen4_exp/nvidia/qsa.py, topk_indices_buffer"


def step_buffers(setup: Setup, settings: Settings, stage: Stage) -> Iterator[Product]:
    """The buffers of a rank of a stage, each a row: features of images, rows for every layer, what indexers choose."""
    model = setup.model
    tokens = Factor("max_num_batched_tokens", settings.max_num_batched_tokens, "token")
    levels = DEEPSTACK_LEVELS.get(model.model_type or "")
    with_towers = stage.number == 0 or settings.version < TOWERS_ON_FIRST_STAGE
    element = Factor("bytes_per_element", find_format(model.dtype or "bf16", "dtype").block_bytes, "byte")
    if levels and model.hidden_size is not None and model.has_towers and with_towers:
        factors = (Factor("levels", levels, "level"), tokens, Factor("hidden_size", model.hidden_size), element)
        yield Product("features of images for a step", factors, DEEPSTACK)
    rows = next((part.parameters for part in model.weights or () if part.part == PER_LAYER), 0)
    if rows and model.has_towers and stage.number == 0:
        width = Factor("num_layers_x_width", rows // PER_LAYER_ROWS, "element")
        yield Product("embeddings of a step for every layer", (tokens, width, element), OF_GEMMA)
    yield from _chosen(stage, tokens)


def _chosen(stage: Stage, tokens: Factor) -> Iterator[Product]:
    """The tokens that indexers choose: latent layers share a buffer, layers of heads have one each.

    Beside those of whole groups there is room for the group that is not full; of heads for how many there are, too.
    """
    latents = [
        layer.attention for layer in stage.kinds if isinstance(layer.attention, MLA) and layer.attention.index_topk
    ]
    if latents:
        row = Factor("index_topk", max(map(_row_of_latents, latents)), "choice")
        source = TOP_K_OF_POOLED if any(each.index_kpool for each in latents) else TOP_K
        yield Product(CHOSEN, (tokens, row, Factor("int32", 4, "byte")), source)
    entries = max((each.index_topk or 0 for each in _compressed(stage)), default=0)
    if entries:
        yield Product(CHOSEN, (tokens, Factor("index_topk", entries, "choice"), Factor("int32", 4, "byte")), OF_ENTRIES)
    for layer, count in stage.kinds.items():
        heads = layer.attention
        if isinstance(heads, GQA) and heads.index_kpool is not None and heads.index_topk is not None:
            row = Factor("index_topk_and_kpool", heads.index_topk + heads.index_kpool, "choice")
            own = (Factor("layers", count, "layer"), tokens, row, Factor("int32", 4, "byte"))
            yield Product(CHOSEN, own, TOP_K_OF_HEADS)


def _compressed(stage: Stage) -> Iterator[Compressed]:
    return (layer.attention for layer in stage.kinds if isinstance(layer.attention, Compressed))


def _row_of_latents(latent: MLA) -> int:
    chosen = latent.index_topk or 0
    if latent.index_kpool is None:
        return chosen
    return -(-(chosen + latent.index_kpool - 1) // TILE) * TILE
