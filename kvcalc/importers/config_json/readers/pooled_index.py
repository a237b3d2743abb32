"""Families whose indexer pools its keys over several tokens, beside linear attention.

GLM-5.3-Flash has latents beside Kimi delta attention, Qwen3.8-Flash-Next heads beside gated delta networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HIDDEN, usual_heads
from kvcalc.importers.config_json.layer_lists import FULL, LINEAR, listed_types, num_layers
from kvcalc.importers.config_json.readers.latent import index_fields, latent_block
from kvcalc.importers.config_json.readers.linear_attention import deltanet_block
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

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


def qwen4_exp(config: Config) -> list[ImportedLayer]:
    """layer_types, else every full_attention_interval-th layer is indexed; the others are gated delta networks.

    ple_layer_ids counts from 1 the layers that add what they make of n-grams, through a convolution.

    Raises:
        KvcalcError: an indexer with several keys, heads that do not share one, or n-grams beside an indexer.
    """
    layers, types = num_layers(config), listed_types(config, {"indexed_attention", FULL, LINEAR})
    if types is None:
        every = config.count("full_attention_interval").value
        types = [LINEAR if (index + 1) % every else FULL for index in range(layers)]
    config.ignore(
        "full_attention_interval",
        "heads_per_ngram",
        "number_of_conv_states",
        "ngram_size",
        "ple_conv_kernel_size",
        "output_gate_type",
        "mtp_use_dedicated_embeddings",
    )
    heads, linear = usual_heads(config), deltanet_block(config)
    if heads.kind != "gqa":
        raise config.refusal("num_key_value_heads is 1 or num_attention_heads, and kvcalc knows neither with indexers")
    if config.count("indexer_kv_heads").value != 1:
        raise config.refusal(f"indexer_kv_heads is {config.count('indexer_kv_heads').value}, and the class takes 1")
    index = tuple((field, config.count(name)) for field, name in _AVERAGED.items())
    full = AttentionBlock(heads.kind, (*heads.fields, *index), heads.reason)
    budget, group = full.sizes["index_topk"], full.sizes["index_kpool"]
    if budget % group:
        raise config.refusal(f"indexer_compress_ratio is {group}, which does not divide indexer_budget {budget}")
    places = {number - 1 for number in (config.numbers("ple_layer_ids") if config.get("ple_layer_ids") else [])}
    if any(place not in range(layers) or types[place] != LINEAR for place in places):
        raise config.refusal("ple_layer_ids has layers without linear attention, which the class does not know")
    with_ngrams = ImportedLayer((linear, _of_ngrams(config))) if places else None
    found = []
    for number, kind in enumerate(types):
        plain = ImportedLayer((linear if kind == LINEAR else full,))
        found.append(with_ngrams if with_ngrams is not None and number in places else plain)
    return found


_AVERAGED = {
    "index_head_dim": "indexer_head_dim",
    "index_n_heads": "indexer_n_heads",
    "index_kpool": "indexer_compress_ratio",
    "index_topk": "indexer_budget",
}


def _of_ngrams(config: Config) -> AttentionBlock:
    """The convolution over all residual streams, which skips as many inputs as n-grams are long."""
    streams, hidden = config.count("hc_count").value, config.count(*HIDDEN).value
    return AttentionBlock(
        "short_conv",
        (
            ("hidden_size", Sourced(streams * hidden, "hc_count x hidden_size, of n-grams")),
            ("conv_kernel", config.count("ple_conv_kernel_size")),
            ("dilation", config.count("ngram_size")),
            ("whole", Sourced(value=True, reason="of residual streams, which every rank has")),
        ),
    )


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
