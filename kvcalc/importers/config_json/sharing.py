"""Families in which some layers read another layer's cache, or keep nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config import Given
from kvcalc.importers.config_json.heads import HEADS, usual_heads, width_of
from kvcalc.importers.config_json.layer_lists import alternating, number_of, types_of
from kvcalc.importers.plan import Block, LayerPlan, block_of

if TYPE_CHECKING:
    from kvcalc.importers.config import Config


def gemma4(config: Config) -> list[LayerPlan]:
    """Full layers have a width of their own, and maybe heads; the last num_kv_shared_layers read earlier caches.

    attention_k_eq_v shares a projection's weight, not what is kept: keys are normalised and rotated.

    Raises:
        KvcalcError: no layer_types, or of another end.
    """
    types = types_of(config, {"full_attention", "sliding_attention"})
    if types is None:
        raise config.refusal("it has no layer_types")
    if types[-1] != "full_attention":
        raise config.refusal("the last of layer_types slides, and the class makes that layer full")
    heads = config.count(*HEADS)
    kv_heads = config.count("num_key_value_heads")
    sliding = block_of(config, heads, kv_heads, width_of(config, heads))
    global_heads = config.optional_count("num_global_key_value_heads") or kv_heads
    whole = block_of(config, heads, global_heads, config.count("global_head_dim"))
    window = config.tokens("sliding_window")
    plans = [
        LayerPlan((whole,)) if each == "full_attention" else LayerPlan((sliding,), window=window) for each in types
    ]
    return _last_shared(config, plans)


def gemma3n(config: Config) -> list[LayerPlan]:
    """Every fifth layer is full, unless listed; the last num_kv_shared_layers read earlier caches."""
    return _last_shared(config, alternating(config, usual_heads(config), every=5))


def _last_shared(config: Config, plans: list[LayerPlan]) -> list[LayerPlan]:
    shared = config.optional_count("num_kv_shared_layers", least=0)
    if shared is None or not shared.value:
        return plans
    if shared.value >= len(plans):
        raise config.refusal(f"num_kv_shared_layers is {shared.value}, of {len(plans)} layers")
    reading = LayerPlan((Block("shared", why=shared.why),))
    return [*plans[: -shared.value], *[reading] * shared.value]


def hunyuan(config: Config) -> list[LayerPlan]:
    """With use_cla the first of each cla_share_factor layers has a cache, which the others read."""
    block, layers = usual_heads(config), number_of(config)
    if config.flag("use_mla"):
        raise config.refusal("use_mla is true, and no latent attention of this family is known")
    config.ignore("kv_lora_rank", "qk_rope_head_dim", "v_head_dim")
    if not config.flag("use_cla"):
        config.ignore("cla_share_factor")
        return [LayerPlan((block,))] * layers
    factor = config.count("cla_share_factor").value
    reading = Block("shared", why="use_cla and cla_share_factor")
    return [LayerPlan((reading if index % factor else block,)) for index in range(layers)]


def nemotron_nas(config: Config) -> list[LayerPlan]:
    """block_configs: each layer's attention has n_heads_in_group query heads to a KV head, or is not there.

    Raises:
        KvcalcError: a block that says something else.
    """
    heads, blocks = config.count(*HEADS), config.parts("block_configs", number_of(config))
    config.ignore("num_key_value_heads")
    width = width_of(config, heads)
    plans = []
    for block in blocks:
        attention = block.part("attention")
        if attention.flag("no_op") or attention.flag("replace_with_linear"):
            plans.append(LayerPlan((Block("none", why="block_configs: no_op or replace_with_linear"),)))
            continue
        group = attention.count("n_heads_in_group")
        if heads.value % group.value:
            raise config.refusal(f"n_heads_in_group is {group.value}, of {heads.value} heads")
        kv_heads = Given(heads.value // group.value, "num_attention_heads / n_heads_in_group")
        plans.append(LayerPlan((block_of(config, heads, kv_heads, width),)))
    return plans
