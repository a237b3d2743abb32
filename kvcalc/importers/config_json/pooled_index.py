"""Families whose indexer pools its keys over several tokens: GLM-5.3-Flash, latents beside Kimi delta attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.latent import index_fields, latent_block
from kvcalc.importers.config_json.layer_lists import FULL, LINEAR, listed_types, num_layers
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer

if TYPE_CHECKING:
    from kvcalc.importers.config import Config
    from kvcalc.importers.sourced import Sourced

INDEXED = ("indexed_attention", "deepseek_sparse_attention", FULL)
"""What files call a layer with an indexer, or one that uses an earlier one's choice."""

_LINEAR_SIZES = {
    "num_heads": ("num_heads", "linear_num_heads"),
    "head_dim": ("head_dim", "linear_head_dim"),
    "conv_kernel": ("short_conv_kernel_size", "linear_conv_kernel_dim"),
}
"""Field -> its key in linear_attn_config, and the one of files that transformers writes."""


def glm5_next(config: Config) -> list[ImportedLayer]:
    """layer_types, else every fourth layer is indexed; the others are Kimi delta attention.

    Raises:
        KvcalcError: an indexer that does not pool, or lists that contradict each other.
    """
    layers = num_layers(config)
    types = listed_types(config, {*INDEXED, LINEAR})
    if types is None:
        types = [LINEAR if (index + 1) % 4 else INDEXED[0] for index in range(layers)]
    linear = config.part("linear_attn_config", optional=True)
    _check_lists(linear, types)
    indexers = listed_types(config, {"full", "shared"}, "indexer_types") or ["full"] * layers
    if config.get("indexer_types") is not None:
        config.ignore("index_topk_freq", "index_topk_pattern", "index_skip_topk_offset")
    kda = AttentionBlock("kda", tuple(_linear_sizes(config, linear)))
    topk, group = config.count("index_topk"), config.count("index_kpool", least=2)
    if config.get("index_kpool_compress") is not None and not config.flag("index_kpool_compress"):
        raise config.refusal("index_kpool_compress is false, and kvcalc knows indexers that compress their keys only")
    if topk.value % group.value:
        raise config.refusal(f"index_kpool is {group.value}, which does not divide index_topk {topk.value}")
    config.ignore("index_kpool_always_select_tail", "indexer_rope_interleave", "index_share_for_mtp_iteration")
    full = latent_block(config, *index_fields(config), ("index_kpool", group))
    shared = latent_block(config, ("index_topk", topk))
    if full.sizes["qk_rope_head_dim"]:
        raise config.refusal("qk_rope_head_dim is not 0, and this family's class rotates nothing")
    blocks = {"full": full, "shared": shared}
    return [
        ImportedLayer((kda if each == LINEAR else blocks[indexer],))
        for each, indexer in zip(types, indexers, strict=True)
    ]


def _linear_sizes(config: Config, inner: Config) -> list[tuple[str, Sourced]]:
    """linear_attn_config wins, as in the class."""
    inner.ignore("gate_lower_bound", "safe_gate")
    found = []
    for field, (name, flat) in _LINEAR_SIZES.items():
        own = inner.optional_count(name)
        found.append((field, own or config.count(flat)))
        config.ignore(flat)
    return found


def _check_lists(inner: Config, types: list[str]) -> None:
    """The lists of linear_attn_config count layers from 0 here."""
    for name, linear in (("kda_layers", True), ("full_attn_layers", False)):
        if inner.get(name) is None:
            continue
        listed = [index for index, each in enumerate(types) if (each == LINEAR) == linear]
        if sorted(inner.numbers(name)) != listed:
            raise inner.refusal(f"{name} and layer_types do not name the same layers")
