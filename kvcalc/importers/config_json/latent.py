"""Latent attention: DeepSeek's family, with and without a sparse indexer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HEADS
from kvcalc.importers.config_json.layer_lists import listed_types, num_layers
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
from kvcalc.model.layers import MAX_LAYERS

if TYPE_CHECKING:
    from kvcalc.importers.config import Config
    from kvcalc.importers.sourced import Sourced


def latent_block(config: Config, *index: tuple[str, Sourced]) -> AttentionBlock:
    """kv_lora_rank and qk_rope_head_dim are kept; num_key_value_heads and head_dim do not matter."""
    stated = config.get("use_mla")
    if stated is not None and stated.value is not True:
        raise config.refusal(f"{stated.reason} is {stated.value}, and this family keeps latents")
    config.ignore("num_key_value_heads", "head_dim", "qk_head_dim", "q_head_dim")
    fields = [
        ("num_heads", config.count(*HEADS)),
        ("kv_lora_rank", config.count("kv_lora_rank")),
        ("qk_rope_head_dim", config.count("qk_rope_head_dim", least=0)),
        ("qk_nope_head_dim", config.count("qk_nope_head_dim")),
        ("v_head_dim", config.count("v_head_dim")),
    ]
    query = config.optional_count("q_lora_rank")
    if query is not None:
        fields.append(("q_lora_rank", query))
    return AttentionBlock("mla", (*fields, *index))


def latent(config: Config) -> list[ImportedLayer]:
    """Every layer keeps a latent."""
    return [ImportedLayer((latent_block(config),))] * num_layers(config)


def latent_twice(config: Config) -> list[ImportedLayer]:
    """LongCat-Flash: each of num_layers has two attention blocks, with a latent each; others count the blocks."""
    layers = config.count("num_layers", most=MAX_LAYERS).value
    blocks = config.optional_count("num_hidden_layers")
    if blocks is not None and blocks.value not in (layers, 2 * layers):
        raise config.refusal(f"num_layers is {layers}, and num_hidden_layers {blocks.value}")
    return [ImportedLayer((latent_block(config),) * 2)] * layers


def indexed(config: Config) -> list[ImportedLayer]:
    """Every layer keeps a latent, and an indexer's key: layers that indexer_types calls `shared` use an earlier choice.

    Raises:
        KvcalcError: a list of something else.
    """
    listed_types(config, {"indexed_attention"})
    types = listed_types(config, {"full", "shared"}, "indexer_types")
    if types is None:
        types = ["full"] * num_layers(config)  # other keys that could list them are not read, and so refused
    else:
        config.ignore("index_topk_freq", "index_topk_pattern")
    topk = ("index_topk", config.count("index_topk"))
    full = latent_block(
        config,
        ("index_head_dim", config.count("index_head_dim")),
        ("index_n_heads", config.count("index_n_heads")),
        topk,
    )
    shared = latent_block(config, topk)
    return [ImportedLayer((full if each == "full" else shared,)) for each in types]
