"""Latent attention: DeepSeek's family, with and without a sparse indexer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.importers.config import Config
from kvcalc.importers.config_json.heads import HEADS, hidden_per_head
from kvcalc.importers.config_json.layer_lists import FULL, SLIDING, listed_types, num_layers
from kvcalc.importers.config_json.readers.per_layer_config import overrides
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
from kvcalc.importers.sourced import Sourced
from kvcalc.model.layers import MAX_LAYERS

if TYPE_CHECKING:
    from collections.abc import Mapping

_INDEXED = "indexed_attention"
_EVERY_FOURTH = ("hy_v4", "hy_v4_vl_text")
"""Families whose class lets one of each four layers after the first have an indexer of its own."""


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
        ("v_head_dim", _v_head_dim(config)),
    ]
    query = config.optional_count("q_lora_rank")
    if query is not None:
        fields.append(("q_lora_rank", query))
    return AttentionBlock("mla", (*fields, *index))


def _v_head_dim(config: Config) -> Sourced:
    """MiniCPM3's class takes hidden_size / heads where the key is absent, whatever head_dim says."""
    found = config.optional_count("v_head_dim") if config.model_type == "minicpm3" else config.count("v_head_dim")
    return found or hidden_per_head(config, config.count(*HEADS))


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
    listed_types(config, {_INDEXED})
    types = listed_types(config, {"full", "shared"}, "indexer_types")
    if types is None and config.model_type in _EVERY_FOURTH:
        types = ["full" if index == 0 or index % 4 == 1 else "shared" for index in range(num_layers(config))]
    elif types is None:
        types = ["full"] * num_layers(config)  # other keys that could list them are not read, and so refused
    else:
        config.ignore("index_topk_freq", "index_topk_pattern")
    topk = ("index_topk", config.count("index_topk"))
    full = latent_block(config, *index_fields(config))
    shared = latent_block(config, topk)
    return [ImportedLayer((full if each == "full" else shared,)) for each in types]


def windowed(config: Config) -> list[ImportedLayer]:
    """Dots.note: latents with an indexer, and sliding ones, whose other widths per_layer_config or swa_ keys give."""
    types, layers = listed_types(config, {_INDEXED, FULL, SLIDING}), num_layers(config)
    own, widths = overrides(config, layers), _sliding_widths(config)
    stated = config.get("use_dsa")
    chosen = own is None if stated is None else config.flag("use_dsa")
    if types is None:
        slides = (config.get("use_sliding_window") or Sourced(1, "")).value is not False
        whole = FULL if stated is not None and not chosen else _INDEXED
        types = [SLIDING if slides and index > 1 and index % 4 != 1 else whole for index in range(layers)]
    elif chosen or stated is not None:  # files of before it had a name call layers with an indexer full
        types = [each if each == SLIDING else _INDEXED if chosen else FULL for each in types]
    window = config.optional_tokens("sliding_window", "sliding_window_size") or Sourced(512, "the class's own")
    config.ignore("sliding_window_size", "use_dsa", "use_sliding_window")
    found = []
    for index, each in enumerate(types):
        other = None if own is None else own.get(index)
        if other is not None:
            other.read.update(other.values)
        sizes = other.values if other is not None else widths if own is None and each == SLIDING else {}
        merged = _merged(config, sizes)
        block = latent_block(merged, *(index_fields(merged) if each == _INDEXED else ()))
        found.append(ImportedLayer((block,), window=window if each == SLIDING else None))
    return found


_SLIDING_WIDTHS = {
    "num_attention_heads": 64,
    "q_lora_rank": 1024,
    "kv_lora_rank": 1024,
    "head_dim": 256,
    "qk_nope_head_dim": 192,
    "v_head_dim": 128,
}
"""transformers 5.24.0, models/dots3_note/configuration_dots3_note.py: Dots3NoteTextConfig.__post_init__."""


def _sliding_widths(config: Config) -> Mapping[str, int]:
    """Those of keys that begin with swa_, else the class's."""
    stated = {name: config.optional_count(f"swa_{name}") for name in (*_SLIDING_WIDTHS, "qk_rope_head_dim")}
    config.ignore("swa_num_key_value_heads")
    widths = {**_SLIDING_WIDTHS, **{name: found.value for name, found in stated.items() if found is not None}}
    return {"qk_rope_head_dim": widths["head_dim"] - widths["qk_nope_head_dim"], **widths}


def without_rotation(config: Config) -> list[ImportedLayer]:
    """Mistral Large 4: layers that no_rope_layers marks with 0 keep no rotary key; indexers as indexer_types lists."""
    layers = num_layers(config)
    listed_types(config, {_INDEXED})
    sources = config.numbers("kv_source_layers") if config.get("kv_source_layers") is not None else list(range(layers))
    if sources != list(range(layers)):
        raise config.refusal("kv_source_layers lets layers share a latent, which is not understood")
    types = listed_types(config, {"full", "shared"}, "indexer_types") or ["full"] * layers
    if config.get("no_rope_layers") is not None:
        rotated = config.marks("no_rope_layers", layers)
    else:
        rotated = [int((index + 1) % 4 > 0) for index in range(layers)]
    config.ignore("no_rope_layer_interval", "index_topk_freq", "index_topk_pattern", "index_skip_topk_offset")
    index, topk = index_fields(config), ("index_topk", config.count("index_topk"))
    blocks = {}
    for kind, more in (("full", index), ("shared", (topk,))):
        plain = latent_block(config, *more)
        blocks[kind, 1] = plain
        blocks[kind, 0] = plain._replace(fields=tuple(_unrotated(dict(plain.fields)).items()))
    return [ImportedLayer((blocks[each, mark],)) for each, mark in zip(types, rotated, strict=True)]


def _unrotated(fields: dict[str, Sourced]) -> dict[str, Sourced]:
    rope, nope = fields["qk_rope_head_dim"], fields["qk_nope_head_dim"]
    return {
        **fields,
        "qk_rope_head_dim": Sourced(0, "no_rope_layers"),
        "qk_nope_head_dim": Sourced(nope.value + rope.value, f"{nope.reason} + {rope.reason}: no_rope_layers"),
    }


def index_fields(config: Config) -> tuple[tuple[str, Sourced], ...]:
    """Those of an indexer."""
    return tuple((name, config.count(name)) for name in ("index_head_dim", "index_n_heads", "index_topk"))


def _merged(config: Config, own: Mapping[str, Any]) -> Config:
    """A layer's own keys before the file's."""
    merged = Config({**config.values, **own}, config.defaults, config.shown, config.model_type, config.assumed)
    merged.read = config.read
    return merged
