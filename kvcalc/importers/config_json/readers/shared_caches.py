"""Families in which some layers read another layer's cache, or keep nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HEADS, head_dim_of, usual_heads
from kvcalc.importers.config_json.layer_lists import FULL, SLIDING, listed_types, num_layers
from kvcalc.importers.config_json.readers.per_layer_config import block_at, overrides
from kvcalc.importers.config_json.window_rules import alternating
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer, block_of_heads
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.config import Config


def gemma4(config: Config) -> list[ImportedLayer]:
    """The last num_kv_shared_layers read earlier caches."""
    return _last_shared(config, gemma4_whole(config))


def gemma4_whole(config: Config) -> list[ImportedLayer]:
    """Full layers have a width of their own, and maybe heads; layers that share a cache as they were without.

    per_layer_config decides where a file has it; only without it does the class read global_head_dim and
    num_global_key_value_heads, the latter with attention_k_eq_v alone. That shares a projection's weight, not what is
    kept: keys are normalised and rotated.

    Raises:
        KvcalcError: no layer_types, or of another end.
    """
    types = listed_types(config, {FULL, SLIDING})
    if types is None:
        raise config.refusal("it has no layer_types")
    if types[-1] != FULL:
        raise config.refusal("the last of layer_types slides, and the class makes that layer full")
    config.ignore("sliding_window", "sliding_window_pattern")  # where no listed layer slides, and as layers are listed
    heads = config.count(*HEADS)
    kv_heads, width = config.count("num_key_value_heads"), head_dim_of(config, heads)
    own = overrides(config, len(types))
    if own is None:
        whole = block_of_heads(config, heads, _global_heads(config) or kv_heads, config.count("global_head_dim"))
    else:
        config.ignore("global_head_dim", "num_global_key_value_heads")
    layers = []
    for index, each in enumerate(types):
        if own is None and each == FULL:
            block = whole
        else:
            block = block_at(config, None if own is None else own.get(index), heads, kv_heads, width)
        layers.append(ImportedLayer((block,), window=None if each == FULL else config.tokens("sliding_window")))
    return layers


def _global_heads(config: Config) -> Sourced | None:
    """Those of full layers, which the class takes only with attention_k_eq_v."""
    config.ignore("num_global_key_value_heads")
    return config.optional_count("num_global_key_value_heads") if config.flag("attention_k_eq_v") else None


def gemma3n(config: Config) -> list[ImportedLayer]:
    """The last num_kv_shared_layers read earlier caches."""
    return _last_shared(config, gemma3n_whole(config))


def gemma3n_whole(config: Config) -> list[ImportedLayer]:
    """Every fifth layer is full, unless listed."""
    return alternating(config, usual_heads(config), every=5)


def _last_shared(config: Config, layers: list[ImportedLayer]) -> list[ImportedLayer]:
    shared = config.optional_count("num_kv_shared_layers", least=0)
    if shared is None or not shared.value:
        return layers
    if shared.value >= len(layers):
        raise config.refusal(f"num_kv_shared_layers is {shared.value}, of {len(layers)} layers")
    reading = ImportedLayer((AttentionBlock("shared", reason=shared.reason),))
    return [*layers[: -shared.value], *[reading] * shared.value]


def hunyuan(config: Config) -> list[ImportedLayer]:
    """With use_cla the first of each cla_share_factor layers has a cache, which the others read."""
    block, layers = usual_heads(config), num_layers(config)
    if config.flag("use_mla"):
        raise config.refusal("use_mla is true, and no latent attention of this family is known")
    config.ignore("kv_lora_rank", "qk_rope_head_dim", "v_head_dim")
    if not config.flag("use_cla"):
        config.ignore("cla_share_factor")
        return [ImportedLayer((block,))] * layers
    factor = config.count("cla_share_factor").value
    reading = AttentionBlock("shared", reason="use_cla and cla_share_factor")
    return [ImportedLayer((reading if index % factor else block,)) for index in range(layers)]


def nemotron_nas(config: Config) -> list[ImportedLayer]:
    """block_configs: each layer's attention has n_heads_in_group query heads to a KV head, or is not there.

    Raises:
        KvcalcError: a block of another form.
    """
    heads, blocks = config.count(*HEADS), config.parts("block_configs", num_layers(config))
    config.ignore("num_key_value_heads")
    width = head_dim_of(config, heads)
    layers = []
    for block in blocks:
        attention = block.part("attention")
        if attention.flag("no_op") or attention.flag("replace_with_linear"):
            layers.append(
                ImportedLayer((AttentionBlock("none", reason="block_configs: no_op or replace_with_linear"),))
            )
            continue
        group = attention.count("n_heads_in_group")
        if heads.value % group.value:
            raise config.refusal(f"n_heads_in_group is {group.value}, of {heads.value} heads")
        kv_heads = Sourced(heads.value // group.value, "num_attention_heads / n_heads_in_group")
        layers.append(ImportedLayer((block_of_heads(config, heads, kv_heads, width),)))
    return layers
