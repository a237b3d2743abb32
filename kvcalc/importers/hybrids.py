"""Families whose layers differ in kind: states beside attention, chunks, widths of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.importers.config import Config, Given
from kvcalc.importers.fields import DTYPES
from kvcalc.importers.heads import HEADS, block_of, usual_heads, width_of
from kvcalc.importers.latent import latent_block
from kvcalc.importers.layer_lists import number_of, types_of
from kvcalc.importers.plan import Block, LayerPlan

if TYPE_CHECKING:
    from collections.abc import Iterable


def deltanet(config: Config) -> list[LayerPlan]:
    """Qwen3-Next, Qwen3.5: linear_attention layers keep a state; every full_attention_interval-th is full."""
    layers = number_of(config)
    types = types_of(config, {"full_attention", "linear_attention"})
    config.ignore("full_attention_interval")
    if types is None:
        every = config.count("full_attention_interval").value
        types = ["linear_attention" if (index + 1) % every else "full_attention" for index in range(layers)]
    linear = Block(
        "gated_deltanet",
        (
            ("num_k_heads", config.count("linear_num_key_heads")),
            ("num_v_heads", config.count("linear_num_value_heads")),
            ("k_head_dim", config.count("linear_key_head_dim")),
            ("v_head_dim", config.count("linear_value_head_dim")),
            ("conv_kernel", config.count("linear_conv_kernel_dim")),
            *_state_dtype(config, "mamba_ssm_dtype"),
        ),
    )
    attention = usual_heads(config)
    return [LayerPlan((attention if each == "full_attention" else linear,)) for each in types]


def kimi_linear(config: Config) -> list[LayerPlan]:
    """linear_attn_config lists its layers, counted from 1.

    Raises:
        KvcalcError: its lists do not name every layer once.
    """
    found, layers = config.need("linear_attn_config"), number_of(config)
    if not isinstance(found.value, dict):
        raise config.refusal("linear_attn_config is no mapping")
    inner = Config(found.value, {}, config.shown, config.model_type)
    full, linear = _indices(inner, "full_attn_layers"), _indices(inner, "kda_layers")
    if sorted([*full, *linear]) != list(range(1, layers + 1)):
        raise config.refusal(f"full_attn_layers and kda_layers do not name each of {layers} layers once")
    kda = Block(
        "kda",
        (
            ("num_heads", inner.count("num_heads")),
            ("head_dim", inner.count("head_dim")),
            ("conv_kernel", inner.count("short_conv_kernel_size")),
        ),
    )
    attention = latent_block(config)
    return [LayerPlan((attention if number in set(full) else kda,)) for number in range(1, layers + 1)]


def _indices(config: Config, name: str) -> list[int]:
    found = config.need(name)
    if not isinstance(found.value, list) or not all(type(each) is int for each in found.value):
        raise config.refusal(f"{name} is no list of numbers")
    return found.value


def nemotron_h(config: Config) -> list[LayerPlan]:
    """layers_block_type, or the letters of hybrid_override_pattern: M is Mamba-2, * attention; others keep nothing.

    Raises:
        KvcalcError: neither is there, or one has something else.
    """
    types = config.words("layers_block_type")
    if types is None:
        letters = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
        marks = config.need("hybrid_override_pattern").value
        if not isinstance(marks, str) or set(marks) - set(letters):
            raise config.refusal("hybrid_override_pattern has other letters than M * - E")
        types = [letters[mark] for mark in marks]
    stated = config.optional_count("num_hidden_layers")
    if stated is not None and stated.value != len(types):
        raise config.refusal(f"{len(types)} layers are listed, and num_hidden_layers is {stated.value}")
    mamba = Block(
        "mamba2",
        (
            ("num_heads", config.count("mamba_num_heads")),
            ("head_dim", config.count("mamba_head_dim")),
            ("state_size", config.count("ssm_state_size")),
            ("num_groups", config.count("n_groups")),
            ("conv_kernel", config.count("conv_kernel")),
            *_state_dtype(config, "mamba_ssm_cache_dtype"),
        ),
    )
    blocks = {"mamba": mamba, "attention": usual_heads(config), "mlp": Block("none"), "moe": Block("none")}
    for each in types:
        if each not in blocks:
            raise config.refusal(f"layers_block_type has '{each[:40]}', which is not one of {', '.join(blocks)}")
    return [LayerPlan((blocks[each],)) for each in types]


def _state_dtype(config: Config, name: str) -> Iterable[tuple[str, Given]]:
    found = config.get(name)
    if found is None or found.value == "auto":
        return ()
    return (("state_dtype", config.chosen(found, DTYPES)),)


def llama4(config: Config) -> list[LayerPlan]:
    """Layers stay within attention_chunk_size but for those without rotary embedding: every fourth, unless listed."""
    block, chunk, layers = usual_heads(config), config.tokens("attention_chunk_size"), number_of(config)
    types = types_of(config, {"full_attention", "chunked_attention"})
    rotated = config.get("no_rope_layers")
    if types is None and rotated is not None and rotated.value != []:
        if not isinstance(rotated.value, list) or len(rotated.value) != layers or set(rotated.value) - {0, 1}:
            raise config.refusal(f"no_rope_layers is not {layers} times 0 or 1")
        types = ["chunked_attention" if each else "full_attention" for each in rotated.value]
    if types is None:
        every = config.optional_count("no_rope_layer_interval") or Given(4, "class")
        types = ["chunked_attention" if (index + 1) % every.value else "full_attention" for index in range(layers)]
    return [LayerPlan((block,), chunk=chunk if each == "chunked_attention" else None) for each in types]


def mimo(config: Config) -> list[LayerPlan]:
    """hybrid_layer_pattern marks sliding layers with 1; they have heads and widths of their own (swa_*).

    Raises:
        KvcalcError: the list has something else, or another length.
    """
    marks, layers = config.need("hybrid_layer_pattern").value, number_of(config)
    if not isinstance(marks, list) or len(marks) != layers or set(marks) - {0, 1}:
        raise config.refusal(f"hybrid_layer_pattern is not {layers} times 0 or 1")
    blocks = [
        block_of(
            config,
            config.count(f"{prefix}num_attention_heads"),
            config.count(f"{prefix}num_key_value_heads"),
            config.count(f"{prefix}head_dim"),
            config.count(f"{prefix}v_head_dim"),
        )
        for prefix in ("", "swa_")
    ]
    window, chunk = config.tokens("sliding_window"), config.optional_tokens("attention_chunk_size")
    if chunk is not None and chunk.value != window.value:
        raise config.refusal(f"attention_chunk_size is {chunk.value}, and sliding_window {window.value}")
    return [LayerPlan((blocks[mark],), window=window if mark else None) for mark in marks]


def gemma4(config: Config) -> list[LayerPlan]:
    """Full layers have a width of their own, and maybe heads; the last num_kv_shared_layers read earlier caches.

    attention_k_eq_v shares a projection's weight, not what is kept: keys are normalised and rotated.

    Raises:
        KvcalcError: no layer_types.
    """
    types = types_of(config, {"full_attention", "sliding_attention"})
    if types is None:
        raise config.refusal("it has no layer_types")
    heads, width = config.count(*HEADS), width_of(config, config.count(*HEADS))
    kv_heads = config.count("num_key_value_heads")
    sliding = block_of(config, heads, kv_heads, width)
    global_heads = config.optional_count("num_global_key_value_heads") or kv_heads
    whole = block_of(config, heads, global_heads, config.count("global_head_dim"))
    shared: Any = config.optional_count("num_kv_shared_layers", least=0)
    own = len(types) - (0 if shared is None else shared.value)
    window = config.tokens("sliding_window")
    plans = [
        LayerPlan((whole,)) if each == "full_attention" else LayerPlan((sliding,), window=window) for each in types
    ]
    return [*plans[: max(0, own)], *[LayerPlan((Block("shared", why="num_kv_shared_layers"),))] * (len(types) - own)]
