"""Families whose attention layers differ: in heads, in widths, in what they attend to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HEADS, head_dim_of, usual_heads
from kvcalc.importers.config_json.layer_lists import FULL, SLIDING, listed_types, num_layers
from kvcalc.importers.config_json.readers.per_layer_config import block_at, overrides
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer, block_of_heads
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.config import Config


def llama4(config: Config) -> list[ImportedLayer]:
    """Layers stay within attention_chunk_size, except those without rotary embedding: every fourth, unless listed."""
    block, chunk, layers = usual_heads(config), config.tokens("attention_chunk_size"), num_layers(config)
    types = listed_types(config, {FULL, "chunked_attention"})
    rotated = config.get("no_rope_layers")
    if types is None and rotated is not None and rotated.value != []:
        types = ["chunked_attention" if each else FULL for each in config.marks("no_rope_layers", layers)]
    if types is None:
        every = config.optional_count("no_rope_layer_interval") or Sourced(4, "class")
        types = ["chunked_attention" if (index + 1) % every.value else FULL for index in range(layers)]
    return [ImportedLayer((block,), chunk=chunk if each == "chunked_attention" else None) for each in types]


def mimo(config: Config) -> list[ImportedLayer]:
    """hybrid_layer_pattern marks sliding layers with 1, or layer_types lists them; they have own heads (swa_*).

    Raises:
        KvcalcError: a list has something else or another length, or the two differ.
    """
    types = listed_types(config, {FULL, SLIDING})
    if config.get("hybrid_layer_pattern") is not None:
        marks = config.marks("hybrid_layer_pattern", num_layers(config))
    elif types is not None:
        marks = [int(each == SLIDING) for each in types]
    else:
        marks = [int(index > 0 and (index + 1) % 6 > 0) for index in range(num_layers(config))]  # the class's own
    if types is not None and marks != [int(each == SLIDING) for each in types]:
        raise config.refusal("hybrid_layer_pattern and layer_types differ")
    names = ("num_attention_heads", "num_key_value_heads", "head_dim", "v_head_dim")
    full = [config.count(name) for name in names]
    own = [config.optional_count(f"swa_{name}") or given for name, given in zip(names, full, strict=True)]
    if config.get("swa_num_key_value_heads") is None:
        own[1] = Sourced(2 * full[1].value, "no swa_num_key_value_heads: the class takes twice num_key_value_heads")
    blocks = [block_of_heads(config, *sizes) for sizes in (full, own)]
    window = _mimo_window(config)
    return [ImportedLayer((blocks[mark],), window=window if mark else None) for mark in marks]


def _mimo_window(config: Config) -> Sourced:
    window, earlier = config.tokens("sliding_window"), config.optional_tokens("sliding_window_size")
    if earlier is not None and "sliding_window" not in config.values:
        window = earlier
    for name, stated in (
        ("attention_chunk_size", config.optional_tokens("attention_chunk_size")),
        ("sliding_window_size", earlier),
    ):
        if stated is not None and window.value - stated.value not in (0, 1):
            raise config.refusal(f"{name} is {stated.value}, and sliding_window {window.value}")
    if earlier is None:
        return window
    return Sourced(earlier.value + 1, "sliding_window_size earlier tokens and the last itself")


def laguna(config: Config) -> list[ImportedLayer]:
    """num_attention_heads_per_layer and layer_types, each with an entry a layer.

    Raises:
        KvcalcError: a list of another length.
    """
    layers, common = num_layers(config), config.count(*HEADS)
    kv_heads, width = config.count("num_key_value_heads"), head_dim_of(config, common)
    name = "num_attention_heads_per_layer"
    counts = [common.value] * layers if config.get(name) is None else config.numbers(name)
    types = listed_types(config, {FULL, SLIDING}) or [FULL] * layers
    config.ignore("sliding_window")
    if len(counts) != layers:
        raise config.refusal(f"{name} is a list of {len(counts)}, for {layers} layers")
    return [
        ImportedLayer(
            (block_of_heads(config, Sourced(count, name), kv_heads, width),),
            window=config.tokens("sliding_window") if each == SLIDING else None,
        )
        for count, each in zip(counts, types, strict=True)
    ]


def step(config: Config) -> list[ImportedLayer]:
    """Step-3.5, Step-3.7: per_layer_config has the heads of sliding layers, or one of two keys of the family's own."""
    heads = config.count(*HEADS)
    kv_heads, width = config.count("num_attention_groups", "num_key_value_heads"), head_dim_of(config, heads)
    types = listed_types(config, {FULL, SLIDING}) or [FULL] * num_layers(config)
    own = overrides(config, len(types))
    full = block_of_heads(config, heads, kv_heads, width)
    if own is None and SLIDING in types:
        sliding = _step_sliding(config, kv_heads)
        blocks = [sliding if each == SLIDING else full for each in types]
    else:
        config.ignore("sliding_window", "attention_other_setting", "num_sliding_attention_heads")
        blocks = [block_at(config, (own or {}).get(index), heads, kv_heads, width) for index in range(len(types))]
    return [
        ImportedLayer((block,), window=config.tokens("sliding_window") if each == SLIDING else None)
        for each, block in zip(types, blocks, strict=True)
    ]


def _step_sliding(config: Config, kv_heads: Sourced) -> AttentionBlock:
    own = config.optional_count("num_sliding_attention_heads")
    if own is not None:
        config.ignore("attention_other_setting")
        return block_of_heads(config, own, kv_heads, head_dim_of(config, own))
    other = config.part("attention_other_setting")
    kind = other.get("attention_type")
    if kind is not None and kind.value != SLIDING:
        raise config.refusal("attention_other_setting is not of the sliding layers")
    return block_of_heads(
        config, other.count("num_attention_heads"), other.count("num_attention_groups"), other.count("head_dim")
    )


def openelm(config: Config) -> list[ImportedLayer]:
    """num_query_heads and num_kv_heads are lists, with an entry a layer.

    Raises:
        KvcalcError: a list of another length.
    """
    layers, width = num_layers(config), config.count("head_dim")
    pairs = [config.numbers(name) for name in ("num_query_heads", "num_kv_heads")]
    if {len(each) for each in pairs} != {layers}:
        raise config.refusal(f"num_query_heads and num_kv_heads have not {layers} entries each")
    return [
        ImportedLayer(
            (block_of_heads(config, Sourced(heads, "num_query_heads"), Sourced(kv_heads, "num_kv_heads"), width),)
        )
        for heads, kv_heads in zip(*pairs, strict=True)
    ]


def mllama(config: Config) -> list[ImportedLayer]:
    """cross_attention_layers keep keys and values of the image: each tile's patches, and one more position."""
    block, layers = usual_heads(config), num_layers(config)
    indices = set(config.numbers("cross_attention_layers"))
    vision = config.around("vision_config")
    size, patch, tiles = (vision.count(name) for name in ("image_size", "patch_size", "max_num_tiles"))
    tokens = Sourced(
        ((size.value // patch.value) ** 2 + 1) * tiles.value,
        "vision_config: ((image_size / patch_size)^2 + 1) x max_num_tiles",
    )
    heads = dict(block.fields)
    kv_heads = heads.get("num_kv_heads", heads["num_heads"])
    cross = AttentionBlock(
        "cross",
        (
            ("num_heads", heads["num_heads"]),
            ("num_kv_heads", kv_heads),
            ("head_dim", heads["head_dim"]),
            ("encoder_context", tokens),
        ),
    )
    return [ImportedLayer((cross if index in indices else block,)) for index in range(layers)]
