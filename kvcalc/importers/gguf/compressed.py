"""Compressed attention of a GGUF file: DeepSeek-V4, whose layers keep a window and entries of several tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.gguf.latents import INDEXER
from kvcalc.importers.gguf.layers import HEADS, KV_HEADS, V_WIDTH, WIDTH, WINDOW, num_layers, unused
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

RATIOS = "attention.compress_ratios"
_OVERLAPPING, _HEAVY = 4, 128
"""DSV4_CSA_RATIO and DSV4_HCA_RATIO (src/llama-kv-cache-dsv4.cpp): entries of the first overlap and have an indexer."""


def deepseek4(config: Config) -> list[ImportedLayer]:
    """compress_ratios has 0, 4 or 128 for each layer; those after the last layer are of layers that draft.

    Source: llama.cpp, src/models/deepseek4.cpp.

    Raises:
        KvcalcError: another ratio, or a list that is too short.
    """
    unused(config, KV_HEADS, V_WIDTH)
    ratios, layers = config.numbers(RATIOS), num_layers(config)
    if len(ratios) < layers:
        raise config.refusal(f"{RATIOS} is a list of {len(ratios)}, for {layers} layers")
    for ratio in sorted(set(ratios[:layers]) - {0, _OVERLAPPING, _HEAVY}):
        raise config.refusal(f"{RATIOS} has {ratio}, and llama.cpp knows ratios of 4 and 128 only")
    kinds = {ratio: _block(config, ratio) for ratio in set(ratios[:layers])}
    return [ImportedLayer((kinds[ratio],)) for ratio in ratios[:layers]]


def _block(config: Config, ratio: int) -> AttentionBlock:
    fields = [
        ("num_heads", config.count(HEADS)),
        ("head_dim", config.count(WIDTH)),
        ("sliding_window", config.tokens(WINDOW)),
        ("q_lora_rank", config.count("attention.q_lora_rank")),
        ("qk_rope_head_dim", config.count("rope.dimension_count")),
    ]
    if ratio:
        fields.append(("compress_ratio", Sourced(ratio, RATIOS)))
    config.ignore(*(f"{INDEXER}.{name}" for name in ("head_count", "key_length", "top_k")))
    if ratio == _OVERLAPPING:
        fields += [
            ("overlap", Sourced(value=True, reason=f"{RATIOS}: 4")),
            ("index_head_dim", config.count(f"{INDEXER}.key_length")),
            ("index_n_heads", config.count(f"{INDEXER}.head_count")),
            ("index_topk", config.count(f"{INDEXER}.top_k")),
        ]
    return AttentionBlock("compressed", tuple(fields))
