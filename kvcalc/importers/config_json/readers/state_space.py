"""Families with Mamba's state-space layers, alone, between attention layers or beside attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HIDDEN, usual_heads
from kvcalc.importers.config_json.layer_lists import FULL, LINEAR, listed_types, nemotron_types, num_layers
from kvcalc.importers.config_json.readers.linear_attention import state_dtype
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

_NOTHING = {"mlp", "moe"}
"""Layers of Nemotron-H that keep nothing."""


def mamba1(config: Config) -> list[ImportedLayer]:
    """Mamba, Falcon-Mamba: every layer."""
    width = config.optional_count("intermediate_size") or _expanded(config, "expand")
    block = AttentionBlock(
        "mamba1",
        (
            ("intermediate_size", width),
            ("state_size", config.count("state_size", "ssm_state_size")),
            ("conv_kernel", config.count("conv_kernel")),
        ),
    )
    return [ImportedLayer((block,))] * num_layers(config)


def mamba2(config: Config) -> list[ImportedLayer]:
    """Mamba-2, Codestral-Mamba: every layer; without num_heads as many as the inner width has."""
    heads = config.optional_count("num_heads") if "num_heads" in {*config.values, *config.assumed} else None
    if heads is None:
        inner = _expanded(config, "expand")
        heads = Sourced(inner.value // config.count("head_dim").value, f"no num_heads: {inner.reason} / head_dim")
    block = AttentionBlock(
        "mamba2",
        (
            ("num_heads", heads),
            ("head_dim", config.count("head_dim")),
            ("state_size", config.count("state_size")),
            ("num_groups", config.count("n_groups")),
            ("conv_kernel", config.count("conv_kernel")),
        ),
    )
    return [ImportedLayer((block,))] * num_layers(config)


def jamba(config: Config) -> list[ImportedLayer]:
    """One of each attn_layer_period layers is attention, at attn_layer_offset; the others are Mamba."""
    block = AttentionBlock(
        "mamba1",
        (
            ("intermediate_size", _expanded(config, "mamba_expand")),
            ("state_size", config.count("mamba_d_state")),
            ("conv_kernel", config.count("mamba_d_conv")),
        ),
    )
    attention, period = usual_heads(config), config.count("attn_layer_period").value
    offset = config.count("attn_layer_offset", least=0).value
    if offset >= period:
        raise config.refusal(f"attn_layer_offset is {offset}, and attn_layer_period {period}")
    return [ImportedLayer((attention if index % period == offset else block,)) for index in range(num_layers(config))]


def granite_hybrid(config: Config) -> list[ImportedLayer]:
    """Granite-4.0: layer_types."""
    types = listed_types(config, {FULL, LINEAR}) or listed_types(config, {FULL, LINEAR}, "layers_block_type")
    if types is None:
        raise config.refusal("it has no layer_types")
    mamba, attention = _mamba2_heads(config), usual_heads(config)
    return [ImportedLayer((attention if each == FULL else mamba,)) for each in types]


def bamba(config: Config) -> list[ImportedLayer]:
    """Bamba: attn_layer_indices are attention."""
    mamba, attention = _mamba2_heads(config), usual_heads(config)
    indices = set(config.numbers("attn_layer_indices"))
    return [ImportedLayer((attention if index in indices else mamba,)) for index in range(num_layers(config))]


def falcon_h1(config: Config) -> list[ImportedLayer]:
    """Falcon-H1: attention and Mamba-2 side by side in every layer."""
    return [ImportedLayer((usual_heads(config), _mamba2_heads(config)))] * num_layers(config)


def nemotron_h(config: Config) -> list[ImportedLayer]:
    """Each layer is Mamba-2, attention, or a feed-forward block that keeps nothing.

    Raises:
        KvcalcError: a type that is not known.
    """
    types = nemotron_types(config)
    config.ignore("mamba_expand", "mamba_dt_min", "mamba_dt_max", "mamba_dt_limit")
    mamba = AttentionBlock(
        "mamba2",
        (
            ("num_heads", config.count("mamba_num_heads")),
            ("head_dim", config.count("mamba_head_dim")),
            ("state_size", config.count("ssm_state_size")),
            ("num_groups", config.count("mamba_n_groups", "n_groups")),
            ("conv_kernel", config.count("mamba_d_conv", "conv_kernel")),
            *state_dtype(config, "mamba_ssm_cache_dtype"),
        ),
    )
    blocks = {LINEAR: mamba, FULL: usual_heads(config, "attention_head_dim")}
    blocks |= dict.fromkeys(sorted(_NOTHING), AttentionBlock("none"))
    for each in types:
        if each not in blocks:
            raise config.refusal(f"layers_block_type has '{each[:40]}', which is not one of {', '.join(blocks)}")
    return [ImportedLayer((blocks[each],)) for each in types]


def _mamba2_heads(config: Config) -> AttentionBlock:
    """mamba_n_heads of mamba_d_head each; 'auto' is what is left of the inner width."""
    heads, width = config.count("mamba_n_heads"), config.need("mamba_d_head")
    config.ignore("mamba_expand")
    inner = config.optional_count("mamba_d_ssm") or _expanded(config, "mamba_expand")
    if width.value == "auto":
        width = Sourced(inner.value // heads.value, f"mamba_d_head is auto: {inner.reason} / mamba_n_heads")
    else:
        width = config.count("mamba_d_head")
    if heads.value * width.value != inner.value:
        raise config.refusal(
            f"{heads.value} heads x {width.value} are not the inner width {inner.value} ({inner.reason})"
        )
    return AttentionBlock(
        "mamba2",
        (
            ("num_heads", heads),
            ("head_dim", width),
            ("state_size", config.count("mamba_d_state")),
            ("num_groups", config.count("mamba_n_groups")),
            ("conv_kernel", config.count("mamba_d_conv")),
        ),
    )


def _expanded(config: Config, name: str) -> Sourced:
    factor, hidden = config.count(name), config.count(*HIDDEN)
    return Sourced(factor.value * hidden.value, f"{factor.reason} x {hidden.reason}")
