"""Families with linear attention: most layers keep a state of one size, the others keys and values or a latent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HEADS, HIDDEN, head_dim_of, usual_heads
from kvcalc.importers.config_json.layer_lists import FULL, LINEAR, listed_types, num_layers
from kvcalc.importers.config_json.model_fields import dtype_of
from kvcalc.importers.config_json.readers.latent import latent_block
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer

if TYPE_CHECKING:
    from kvcalc.importers.config import Config
    from kvcalc.importers.sourced import Sourced


def state_dtype(config: Config, name: str) -> tuple[tuple[str, Sourced], ...]:
    """The field of a block whose state has a format of its own; none where the key is absent or 'auto'."""
    found = config.get(name)
    return () if found is None or found.value == "auto" else (("state_dtype", dtype_of(config, found)),)


def _alternate(config: Config, linear: AttentionBlock, full: AttentionBlock, types: list[str]) -> list[ImportedLayer]:
    config.ignore("layer_types")
    return [ImportedLayer((full if each == FULL else linear,)) for each in types]


def _every(config: Config, name: str) -> list[str]:
    """layer_types, else the last of each `name` layers is full."""
    types = listed_types(config, {FULL, LINEAR})
    if types is not None:
        config.ignore(name)
        return types
    every = config.count(name).value
    return [LINEAR if (index + 1) % every else FULL for index in range(num_layers(config))]


def deltanet(config: Config) -> list[ImportedLayer]:
    """Qwen3-Next, Qwen3.5: every full_attention_interval-th layer is full."""
    linear = deltanet_block(config)
    return _alternate(config, linear, usual_heads(config), _every(config, "full_attention_interval"))


def deltanet_block(config: Config) -> AttentionBlock:
    """A gated delta network, by the keys that begin with `linear_`."""
    return AttentionBlock(
        "gated_deltanet",
        (
            ("num_k_heads", config.count("linear_num_key_heads")),
            ("num_v_heads", config.count("linear_num_value_heads")),
            ("k_head_dim", config.count("linear_key_head_dim")),
            ("v_head_dim", config.count("linear_value_head_dim")),
            ("conv_kernel", config.count("linear_conv_kernel_dim")),
            *state_dtype(config, "mamba_ssm_dtype"),
        ),
    )


def kimi_linear(config: Config) -> list[ImportedLayer]:
    """linear_attn_config lists its layers, counted from 1.

    Raises:
        KvcalcError: its lists do not name every layer once.
    """
    if config.get("linear_attn_config") is None:
        return _kimi_listed(config)
    inner, layers = config.part("linear_attn_config"), num_layers(config)
    full, linear = inner.numbers("full_attn_layers"), inner.numbers("kda_layers")
    if sorted([*full, *linear]) != list(range(1, layers + 1)):
        raise config.refusal(f"full_attn_layers and kda_layers do not name each of {layers} layers once")
    kda = AttentionBlock(
        "kda",
        (
            ("num_heads", inner.count("num_heads")),
            ("head_dim", inner.count("head_dim")),
            ("conv_kernel", inner.count("short_conv_kernel_size")),
        ),
    )
    for name, given in zip(("linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim"), kda.fields, strict=True):
        stated = config.optional_count(name) if name in config.values else None
        config.ignore(name)
        if stated is not None and stated.value != given[1].value:
            raise config.refusal(f"{name} is {stated.value}, and linear_attn_config has {given[1].value}")
    types = [FULL if number in set(full) else LINEAR for number in range(1, layers + 1)]
    return _alternate(config, kda, latent_block(config), types)


def _kimi_listed(config: Config) -> list[ImportedLayer]:
    """The same as transformers writes it: layer_types, and sizes of their own keys."""
    types = listed_types(config, {FULL, LINEAR})
    if types is None:
        raise config.refusal("it has neither linear_attn_config nor layer_types")
    names = ("linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim")
    heads, width, kernel = (config.count(name) for name in names)
    kda = AttentionBlock("kda", (("num_heads", heads), ("head_dim", width), ("conv_kernel", kernel)))
    return _alternate(config, kda, latent_block(config), types)


def bailing_hybrid(config: Config) -> list[ImportedLayer]:
    """Ling-3.0: the last of each layer_group_size layers keeps a latent; a KDA head is num_attention_heads' own."""
    heads = config.count("linear_num_heads", *HEADS)
    width = config.count("linear_head_dim", "head_dim")
    kernel = config.count("linear_conv_kernel_dim", "short_conv_kernel_size")
    kda = AttentionBlock("kda", (("num_heads", heads), ("head_dim", width), ("conv_kernel", kernel)))
    return _alternate(config, kda, latent_block(config), _every(config, "layer_group_size"))


def minimax(config: Config) -> list[ImportedLayer]:
    """MiniMax-Text-01: attn_type_list has 1 for full layers and 0 for lightning attention; or layer_types.

    Raises:
        KvcalcError: the list has something else, or there is none.
    """
    types = listed_types(config, {FULL, LINEAR})
    if types is None:
        marks = config.marks("attn_type_list", num_layers(config))
        types = [FULL if mark else LINEAR for mark in marks]
    else:
        config.ignore("attn_type_list")
    heads = config.count(*HEADS)
    lightning = AttentionBlock("lightning", (("num_heads", heads), ("head_dim", head_dim_of(config, heads))))
    return _alternate(config, lightning, usual_heads(config), types)


def lfm2(config: Config) -> list[ImportedLayer]:
    """LFM2: full_attn_idxs or layer_types; the others are short convolutions."""
    types = listed_types(config, {FULL, "conv"})
    if types is None:
        indices = set(config.numbers("full_attn_idxs"))
        types = [FULL if index in indices else "conv" for index in range(num_layers(config))]
    else:
        config.ignore("full_attn_idxs")
    conv = AttentionBlock(
        "short_conv", (("hidden_size", config.count(*HIDDEN)), ("conv_kernel", config.count("conv_L_cache")))
    )
    return _alternate(config, conv, usual_heads(config), types)
