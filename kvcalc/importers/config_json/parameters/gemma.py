"""What Gemma 3n and Gemma 4 have beside attention and feed-forward blocks, and what layers that share a cache lack.

Source: transformers 5.24.0, models/gemma3n/modeling_gemma3n.py and models/gemma4/modeling_gemma4.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.config_json.layer_lists import num_layers
from kvcalc.importers.config_json.parameters.attention import attention_parameters, holds
from kvcalc.importers.config_json.parameters.feed_forward import FeedForward, block_parameters
from kvcalc.importers.config_json.readers.shared_caches import gemma3n_whole, gemma4_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.importers.config import Config
    from kvcalc.importers.config_json.parameters.anatomy import Anatomy
    from kvcalc.importers.imported_layer import ImportedLayer


def gemma4_feed_forward(config: Config, anatomy: Anatomy, layers: Sequence[ImportedLayer]) -> FeedForward | None:
    """A dense block, twice as wide where a cache is shared and use_double_wide_mlp is true; experts beside it."""
    width = config.optional_count("intermediate_size")
    if width is None:
        return None
    wide = _shared(config) if config.flag("use_double_wide_mlp") else 0
    one, two = (block_parameters(config, anatomy, times * width.value) for times in (1, 2))
    total = (len(layers) - wide) * one + wide * two
    if not config.flag("enable_moe_block"):
        return FeedForward(total, 0)
    experts, per_token = config.optional_count("num_experts"), config.optional_count("top_k_experts")
    inner = config.optional_count("moe_intermediate_size")
    if experts is None or per_token is None or inner is None:
        return None
    hidden = int(config.count(*HIDDEN).value)
    each = 3 * hidden * inner.value
    router, norms = hidden * experts.value + hidden + experts.value, 3 * hidden
    total += len(layers) * (experts.value * each + router + norms)
    return FeedForward(total, len(layers) * (experts.value - per_token.value) * each)


def gemma4_more(config: Config, anatomy: Anatomy, layers: Sequence[ImportedLayer]) -> int:
    """Queries of layers that share a cache, values that are keys, and embeddings of each layer."""
    more = 0
    for own, kept in zip(gemma4_whole(config), layers, strict=True):
        more += _queries(config, anatomy, own, kept)
        if kept.blocks[0].kind != "shared" and own.window is None and config.flag("attention_k_eq_v"):
            more -= _rows(config, anatomy, own)
    width = config.optional_count("hidden_size_per_layer_input", least=0)
    return more + (_per_layer_inputs(config) if width is not None and width.value else 0)


def gemma3n_more(config: Config, anatomy: Anatomy, layers: Sequence[ImportedLayer]) -> int:
    """Queries of layers that share a cache, several streams of hidden states, and embeddings of each layer."""
    whole = gemma3n_whole(config)
    queries = sum(_queries(config, anatomy, own, kept) for own, kept in zip(whole, layers, strict=True))
    hidden, streams = int(config.count(*HIDDEN).value), int(config.count("altup_num_inputs").value)
    laurel = 2 * hidden * config.count("laurel_rank").value + hidden
    mixing = 2 * hidden + streams**2 + streams**3 + hidden * streams
    between = 2 * (streams - 1) * hidden**2
    return int(queries + len(layers) * (laurel + mixing) + between + _per_layer_inputs(config))


def _queries(config: Config, anatomy: Anatomy, own: ImportedLayer, kept: ImportedLayer) -> int:
    """Those of a layer's attention without keys and values, where it reads another's cache."""
    if kept.blocks[0].kind != "shared":
        return 0
    whole, width = attention_parameters(config, anatomy, own) or 0, own.blocks[0].sizes["head_dim"]
    return whole - 2 * _rows(config, anatomy, own) - width  # the keys' norm


def _rows(config: Config, anatomy: Anatomy, layer: ImportedLayer) -> int:
    """Parameters of the projection to keys, and as many of that to values."""
    block = layer.blocks[0]
    heads = {"mha": block.sizes["num_heads"], "mqa": 1}.get(block.kind) or block.sizes["num_kv_heads"]
    rows = heads * block.sizes["head_dim"]
    return int(rows * (config.count(*HIDDEN).value + holds(config, anatomy.qkv_bias)))


def _per_layer_inputs(config: Config) -> int:
    """An embedding of each layer, a projection for all, and a gate, a projection and a norm in each."""
    hidden, layers = int(config.count(*HIDDEN).value), num_layers(config)
    inner = config.count("hidden_size_per_layer_input", least=0).value
    words = config.count("vocab_size_per_layer_input", most=10**8).value
    return int((words + hidden) * layers * inner + inner + layers * (2 * hidden * inner + hidden))


def _shared(config: Config) -> int:
    found = config.optional_count("num_kv_shared_layers", least=0)
    return 0 if found is None else int(found.value)
