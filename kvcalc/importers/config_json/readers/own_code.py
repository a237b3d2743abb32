"""Families whose code is published beside their checkpoints, read as mlx-lm 0.32.2 (mlx_lm/models) keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HEADS, HIDDEN, head_dim_of, usual_heads
from kvcalc.importers.config_json.layer_lists import num_layers
from kvcalc.importers.config_json.readers.latent import latent
from kvcalc.importers.config_json.window_rules import full
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer, block_of_heads
from kvcalc.importers.sourced import Sourced
from kvcalc.model.layers import MAX_LAYERS

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

MAX_FACTOR = 100


def afm(config: Config) -> list[ImportedLayer]:
    """Apple's foundation model: the last num_kv_reuse_layers read earlier caches."""
    layers = full(config, usual_heads(config))
    reused = config.count("num_kv_reuse_layers", least=0)
    if reused.value >= len(layers):
        raise config.refusal(f"num_kv_reuse_layers is {reused.value}, of {len(layers)} layers")
    reading = ImportedLayer((AttentionBlock("shared", reason=reused.reason),))
    return [*layers[: len(layers) - reused.value], *[reading] * reused.value]


def baichuan_m1(config: Config) -> list[ImportedLayer]:
    """Baichuan-M1: sliding_window_layers may have heads of their own; all convolve keys and values over conv_window."""
    heads, kernel, hidden = config.count(*HEADS), config.count("conv_window"), config.count(*HIDDEN)
    slides, window = set(config.numbers("sliding_window_layers")), config.tokens("sliding_window")
    kinds = []
    for prefix in ("", "swa_"):
        own = config.optional_count(f"num_{prefix}attention_heads") or heads
        kv_heads = config.optional_count(f"num_{prefix}key_value_heads") or config.count("num_key_value_heads")
        width = Sourced(hidden.value // own.value, f"{hidden.reason} / {own.reason}")
        kept = Sourced(kv_heads.value * width.value, f"{kv_heads.reason} x head_dim")
        conv = AttentionBlock("short_conv", (("hidden_size", kept), ("conv_kernel", kernel)))
        kinds.append((block_of_heads(config, own, kv_heads, width), conv, conv))
    return [
        ImportedLayer(kinds[index in slides], window=window if index in slides else None)
        for index in range(num_layers(config))
    ]


def bailing_linear(config: Config) -> list[ImportedLayer]:
    """Ling and Ring Linear: the last of each layer_group_size layers is full, and those of an incomplete group."""
    heads, every, layers = config.count(*HEADS), config.count("layer_group_size").value, num_layers(config)
    state = AttentionBlock("lightning", (("num_heads", heads), ("head_dim", head_dim_of(config, heads))))
    whole = usual_heads(config)
    last = layers // every * every
    return [ImportedLayer((whole if (index + 1) % every == 0 or index >= last else state,)) for index in range(layers)]


def iquest_loop(config: Config) -> list[ImportedLayer]:
    """IQuest-Loop: layers are passed loop_num times, from the second time on with a window."""
    block, layers = usual_heads(config), num_layers(config)
    window, times = config.tokens("loop_window_size"), config.count("loop_num")
    if times.value > 2:  # noqa: PLR2004  # the number that its code knows
        raise config.refusal(f"loop_num is {times.value}, and its caches are known of 2 loops")
    return [*[ImportedLayer((block,))] * layers, *[ImportedLayer((block,), window=window)] * (times.value - 1) * layers]


def nanbeige(config: Config) -> list[ImportedLayer]:
    """Nanbeige: layers are passed num_loops times, and keep a cache for each."""
    weights, loops = config.get("loop_loss_weights"), config.optional_count("num_loops")
    for name in ("enable_double_loop_split", "loop_share_kv", "enable_depth_attention"):
        if config.flag(name):
            raise config.refusal(f"{name} is true, which is not understood")
    times = 1 if loops is None else loops.value
    if weights is not None and isinstance(weights.value, list) and weights.value:
        times = len(weights.value) + 1
    return full(config, usual_heads(config)) * times


def hrm(config: Config) -> list[ImportedLayer]:
    """HRM-Text: a stack is passed L_cycles times and another once, H_cycles times over, with a cache for each pass.

    num_hidden_layers is a stack's, or of all passes where num_layers_per_stack is there too.

    Raises:
        KvcalcError: the number of all passes is another.
    """
    stack, total, heads = config.optional_count("num_layers_per_stack"), num_layers(config), config.count(*HEADS)
    passes = config.count("H_cycles").value * (config.count("L_cycles").value + 1)
    count = passes * (total if stack is None else stack.value)
    if stack is not None and total != count:
        raise config.refusal(f"num_hidden_layers is {total}, and {passes} passes of {stack.value} layers are {count}")
    if count > MAX_LAYERS:
        raise config.refusal(f"{count:,} layers are beyond the limit of {MAX_LAYERS:,}")
    return [full(config, block_of_heads(config, heads, heads, head_dim_of(config, heads)))[0]] * count


def plamo(config: Config) -> list[ImportedLayer]:
    """PLaMo: n_shared_head heads share a key and a value."""
    heads, shared = config.count(*HEADS), config.count("n_shared_head")
    kv_heads = Sourced(-(-heads.value // shared.value), "num_attention_heads / n_shared_head")
    return full(config, block_of_heads(config, heads, kv_heads, head_dim_of(config, heads)))


def deepseek_v2(config: Config) -> list[ImportedLayer]:
    """DeepSeek-V2, of which DeepSeek-VL2's and OCR's smaller models have heads instead of a latent."""
    mla, rank = config.get("use_mla"), config.get("kv_lora_rank")
    if mla is None or mla.value is not False or (rank is not None and rank.value):
        return latent(config)
    config.ignore("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "q_lora_rank", "kv_lora_rank")
    return full(config, usual_heads(config))


def delta_net(config: Config) -> list[ImportedLayer]:
    """Delta networks of flash-linear-attention 0.6.0, gated or not: fla/layers/gated_deltanet.py and delta_net.py.

    Raises:
        KvcalcError: some layers have attention, or there is no convolution.
    """
    if config.get("attn") is not None:
        raise config.refusal("attn gives some layers attention, which is not understood", config.without("attn"))
    if (config.get("use_short_conv") or Sourced(1, "")).value is False:
        raise config.refusal("use_short_conv is false, and such layers are not understood")
    heads, hidden = config.count("num_heads"), config.count(*HIDDEN)
    if config.model_type == "gated_deltanet":
        key, v_heads = config.count("head_dim"), config.optional_count("num_v_heads") or heads
        value = _times(config, "expand_v", key)
    else:
        v_heads = heads
        key, value = (_times(config, name, hidden, heads) for name in ("expand_k", "expand_v"))
    fields = (
        ("num_k_heads", heads),
        ("num_v_heads", v_heads),
        ("k_head_dim", key),
        ("v_head_dim", value),
        ("conv_kernel", config.count("conv_size")),
    )
    return [ImportedLayer((AttentionBlock("gated_deltanet", fields),))] * num_layers(config)


def _times(config: Config, name: str, width: Sourced, heads: Sourced | None = None) -> Sourced:
    """A width times a factor, over heads where they are given."""
    factor, by = config.need(name).value, 1 if heads is None else heads.value
    product = width.value * factor / by if isinstance(factor, int | float) and 0 < factor <= MAX_FACTOR else 0.5
    if product < 1 or product != int(product):
        raise config.refusal(f"{name} x {width.reason} is no whole width of a head", config.deciding(name))
    return Sourced(int(product), f"{name} x {width.reason}{'' if heads is None else ' / num_heads'}")
