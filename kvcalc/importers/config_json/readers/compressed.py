"""Compressed attention: DeepSeek-V4 and V4.1, whose layers keep a window of entries and others for every few tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HEADS
from kvcalc.importers.config_json.layer_lists import SLIDING, listed_types, num_layers
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

SPARSE, HEAVY = "compressed_sparse_attention", "heavily_compressed_attention"

_OVERLAPPING, _HEAVY_RATIO = 4, 128
"""The ratios that the model's class and vLLM know (vllm/models/deepseek_v4/compressor.py, CompressorStateCache). At the
first alone entries overlap, and have an indexer."""

_PAIRS = 2
"""The ratio of DeepSeek-V4.1 at which tokens are pooled; at 1 each has an entry of its own."""


def deepseek_v4(config: Config) -> list[ImportedLayer]:
    """compress_ratios has 0, 4 or 128 for each layer; or layer_types, with compress_rates for each type.

    Raises:
        KvcalcError: another ratio, or a list of another length.
    """
    types = listed_types(config, {SLIDING, SPARSE, HEAVY})
    config.ignore("num_key_value_heads")  # of whatever number, one entry is kept
    if types is None:
        reason = "compress_ratios"
        ratios, layers = config.numbers(reason), num_layers(config)
        if len(ratios) < layers or any(ratios[layers:]):
            raise config.refusal(f"compress_ratios is a list of {len(ratios)}, for {layers} layers")
        ratios = ratios[:layers]  # those after them are of draft layers, which compress nothing
    else:
        config.ignore("compress_ratios")
        reason, rates = "layer_types and compress_rates", config.part("compress_rates", optional=True)
        usual = {SPARSE: Sourced(_OVERLAPPING, "class"), HEAVY: Sourced(_HEAVY_RATIO, "class")}
        of_type = {each: (rates.optional_count(each) or ratio).value for each, ratio in usual.items()}
        ratios = [of_type.get(each, 0) for each in types]
    for ratio in sorted(set(ratios) - {0, _OVERLAPPING, _HEAVY_RATIO}):
        raise config.refusal(f"{reason} has {ratio}, and its class knows ratios of 4 and 128 only")
    kinds = {ratio: _block(config, Sourced(ratio, reason)) for ratio in set(ratios)}
    return [ImportedLayer((kinds[ratio],)) for ratio in ratios]


def deepseek_v41(config: Config) -> list[ImportedLayer]:
    """compress_ratios has 0, 1 or 2 for each layer, and others name the layers whose entries and choices are read.

    A layer with a ratio reads the entries of the last of kv_source_layer_ids up to it, and what the last of
    index_source_layer_ids has chosen; an indexer that makes no keys reads those of the entries.

    Raises:
        KvcalcError: another ratio, a list of another length, or layers whose entries no layer makes.
    """
    config.ignore("num_key_value_heads", "candidate_source_layer_id")  # what indexers choose among is not kept
    ratios, layers = config.numbers("compress_ratios"), num_layers(config)
    if len(ratios) < layers or any(ratios[layers:]):
        raise config.refusal(f"compress_ratios is a list of {len(ratios)}, for {layers} layers")
    for ratio in sorted(set(ratios) - {0, 1, _PAIRS}):
        raise config.refusal(f"compress_ratios has {ratio}, and DeepSeek-V4.1 knows ratios of 1 and 2 only")
    sources, choosers = (set(config.numbers(f"{each}_source_layer_ids")) for each in ("kv", "index"))
    if not sources <= choosers:
        raise config.refusal("kv_source_layer_ids has layers that index_source_layer_ids lacks")
    found = []
    for number, ratio in enumerate(ratios[:layers]):
        source = max((each for each in sources if each <= number), default=None)
        if ratio and (source is None or ratios[source] != ratio):
            raise config.refusal(f"layer {number} has compress_ratio {ratio}, and no layer of kv_source_layer_ids is")
        if not ratio and number in choosers:
            raise config.refusal(f"layer {number} is a source, and has compress_ratio 0")
        found.append(ImportedLayer((_sharing(config, ratio, keeps=source == number, chooses=number in choosers),)))
    return found


def _sharing(config: Config, ratio: int, *, keeps: bool, chooses: bool) -> AttentionBlock:
    """A layer of DeepSeek-V4.1."""
    fields = _window(config)
    config.ignore("index_head_dim", "index_n_heads", "index_topk")
    if ratio:
        fields.append(("compress_ratio", Sourced(ratio, "compress_ratios")))
        if not keeps:
            fields.append(("shared_entries", Sourced(value=True, reason="kv_source_layer_ids")))
        if chooses:
            fields += [(name, config.count(name)) for name in ("index_head_dim", "index_n_heads")]
        if keeps:
            fields.append(("index_of_entries", Sourced(value=True, reason="kv_source_layer_ids")))
        fields.append(("index_topk", config.count("index_topk")))
    fields += [("q_lora_rank", config.count("q_lora_rank")), ("qk_rope_head_dim", config.count("qk_rope_head_dim"))]
    return AttentionBlock("compressed", tuple(fields))


def _window(config: Config) -> list[tuple[str, Sourced]]:
    return [
        ("num_heads", config.count(*HEADS)),
        ("head_dim", config.count("head_dim")),
        ("sliding_window", config.tokens("sliding_window")),
    ]


def _block(config: Config, ratio: Sourced) -> AttentionBlock:
    fields = _window(config)
    if ratio.value:
        fields.append(("compress_ratio", ratio))
    config.ignore("index_head_dim", "index_n_heads", "index_topk")
    if ratio.value == _OVERLAPPING:
        fields.append(("overlap", Sourced(value=True, reason="compress_ratio 4")))
        fields += [(name, config.count(name)) for name in ("index_head_dim", "index_n_heads", "index_topk")]
    fields += [("q_lora_rank", config.count("q_lora_rank")), ("qk_rope_head_dim", _rotated(config))]
    return AttentionBlock("compressed", tuple(fields))


def _rotated(config: Config) -> Sourced:
    """qk_rope_head_dim, or partial_rotary_factor of head_dim, which transformers writes instead."""
    stated = config.optional_count("qk_rope_head_dim")
    if stated is not None:
        return stated
    share, width = config.need("partial_rotary_factor").value, config.count("head_dim").value
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise config.refusal(f"partial_rotary_factor is {share}, not a share of head_dim")
    return Sourced(int(width * share), "partial_rotary_factor x head_dim")
