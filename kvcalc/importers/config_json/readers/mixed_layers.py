"""Families with layers of more than two kinds: full and sliding attention, states, convolutions, several in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HEADS, HIDDEN, usual_heads
from kvcalc.importers.config_json.layer_lists import FULL, LINEAR, SLIDING, listed_types, num_layers, words_of
from kvcalc.importers.config_json.readers.linear_attention import deltanet_block
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer, block_of_heads
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.importers.config import Config

Blocks = tuple[AttentionBlock, ...]


def _typed(config: Config, types: list[str], blocks: Mapping[str, Blocks], window: str) -> list[ImportedLayer]:
    """Each layer's blocks; those of a type with `sliding` in its name have the window of that key."""
    span = config.tokens(window) if any("sliding" in each for each in types) else None
    config.ignore(window)
    return [ImportedLayer(blocks[each], window=span if "sliding" in each else None) for each in types]


def lara(config: Config) -> list[ImportedLayer]:
    """Lara: delta networks, windows and full attention, five layers to a period."""
    attention = (usual_heads(config),)
    types = listed_types(config, {FULL, SLIDING, LINEAR})
    if types is None:
        period = (LINEAR, SLIDING, LINEAR, FULL, SLIDING)
        types = [period[index % len(period)] for index in range(num_layers(config))]
    blocks = {FULL: attention, SLIDING: attention, LINEAR: (deltanet_block(config),)}
    return _typed(config, types, blocks, "sliding_window")


def lfm3(config: Config) -> list[ImportedLayer]:
    """LFM3: short convolutions, of each four layers one full and one sliding."""
    attention = (usual_heads(config),)
    types = listed_types(config, {FULL, SLIDING, "conv"})
    if types is None:
        period = (SLIDING, "conv", FULL, "conv")
        types = [period[index % 4] if index else "conv" for index in range(num_layers(config))]
    conv = _conv(config.count(*HIDDEN), config.count("conv_L_cache"))
    return _typed(config, types, {FULL: attention, SLIDING: attention, "conv": (conv,)}, "sliding_window")


def olmo_hybrid(config: Config) -> list[ImportedLayer]:
    """OLMo Hybrid: delta networks with every fourth layer full, and the last where there are fewer than four."""
    types = listed_types(config, {FULL, LINEAR})
    if types is None:
        types = [LINEAR if (index + 1) % 4 else FULL for index in range(num_layers(config))]
        types = types if FULL in types else [*types[:-1], FULL]
    blocks = {FULL: (usual_heads(config),), LINEAR: (deltanet_block(config),)}
    return _typed(config, types, blocks, "sliding_window")


def inkling(config: Config) -> list[ImportedLayer]:
    """Inkling: every layer is attention with four convolutions: of keys, of values, and after each of its halves."""
    names = ("sliding_window", "sliding_window_size")
    kernel, hidden = config.count("conv_kernel_size", "sconv_kernel_size"), config.count(*HIDDEN)
    blocks = {}
    for kind, prefix in (("hybrid", ""), ("hybrid_sliding", "swa_")):
        keys = [f"{prefix}{name}" for name in ("num_attention_heads", "num_key_value_heads", "head_dim")]
        heads, kv_heads, width = (config.count(key) for key in keys)
        kept = Sourced(kv_heads.value * width.value, f"{keys[1]} x {keys[2]}")
        convolutions = [_conv(size, kernel) for size in (kept, kept, hidden, hidden)]
        blocks[kind] = (block_of_heads(config, heads, kv_heads, width), *convolutions)
    types = listed_types(config, set(blocks))
    if types is None:
        local = None if config.get("local_layer_ids") is None else set(config.numbers("local_layer_ids"))
        slides = [(index + 1) % 6 if local is None else index in local for index in range(num_layers(config))]
        types = ["hybrid_sliding" if each else "hybrid" for each in slides]
    config.ignore("number_of_conv_states", "local_layer_ids", *names)
    return _typed(config, types, blocks, next((each for each in names if config.get(each)), names[0]))


def inkling_loop(config: Config) -> list[ImportedLayer]:
    """Inkling's looped layers are passed several times, and keep a cache for each time."""
    layers, inner = inkling(config), config.part("loop_config", optional=True)
    names = ("loop_layer_index_start", "loop_layer_index_end", "loop_num_passes")
    start, end, times = (
        (inner.optional_count(own, least=0) or config.count(name, least=0)).value
        for own, name in zip(("core_start", "core_end", "num_passes"), names, strict=True)
    )
    config.ignore(*names)
    return _looped(config, layers, start, end, times)


def dory(config: Config) -> list[ImportedLayer]:
    """Dory: files list attention and feed-forward blocks in turn; layers between its ends are passed several times."""
    types = words_of(config, "layer_types")
    halves = 2 if types is not None and "mlp" in types else 1
    count = num_layers(config)
    if types is None:
        types = [SLIDING if (index + 1) % 4 else FULL for index in range(count)]
    if len(types) != count or set(types[1::halves] if halves > 1 else []) - {"mlp"} or count % halves:
        raise config.refusal(f"layer_types is a list of {len(types)}, for {count} layers")
    if set(types[::halves]) - {FULL, SLIDING}:
        raise config.refusal(f"layer_types has something else than {FULL}, {SLIDING} and mlp")
    attention = (usual_heads(config),)
    layers = _typed(config, types[::halves], {FULL: attention, SLIDING: attention}, "sliding_window")
    first, last = (config.count(name, least=0).value // halves for name in ("n_input_layers", "n_output_layers"))
    config.ignore("n_recurrent_layers")
    mode = config.get("recurrent_kv_cache_mode")
    loops = config.count("n_recurrent_loops").value if mode is None or mode.value == "per_loop" else 1
    config.ignore("n_recurrent_loops")
    return _looped(config, layers, first, len(layers) - last, loops)


def _looped(config: Config, layers: list[ImportedLayer], start: int, end: int, times: int) -> list[ImportedLayer]:
    if not 0 <= start <= end <= len(layers):
        raise config.refusal(f"layers {start} to {end} are repeated, of {len(layers)}")
    return [*layers[:start], *layers[start:end] * times, *layers[end:]]


def zamba(config: Config) -> list[ImportedLayer]:
    """Zamba: layers of Mamba, some after attention over twice hidden_size, whose weights they share and caches not."""
    heads, hidden = config.count(*HEADS), config.count(*HIDDEN)
    wide = Sourced(2 * hidden.value // heads.value, f"2 x {hidden.reason} / {heads.reason}")
    width = config.optional_count("attention_head_dim") or wide
    kv_heads = config.optional_count("num_key_value_heads") or heads
    config.ignore("attention_hidden_size", "kv_channels", "num_query_groups", "hybrid_layer_ids", "mamba_headdim")
    config.ignore("n_mamba_heads", "num_mem_blocks", "layers_block_type")
    attention = block_of_heads(config, heads, kv_heads, width)
    state = _mamba2(config) if config.model_type == "zamba2" else _mamba1(config)
    types = words_of(config, "layers_block_type")
    layers = num_layers(config)
    if types is None:
        config.ignore("attn_layer_period", "attn_layer_offset")
        raise config.refusal("it has no layers_block_type")
    if len(types) != layers or set(types) - {LINEAR, "hybrid"}:
        raise config.refusal(f"layers_block_type is not {layers} times mamba or hybrid")
    config.ignore("attn_layer_period", "attn_layer_offset")
    return [ImportedLayer((attention, state) if each == "hybrid" else (state,)) for each in types]


def _mamba2(config: Config) -> AttentionBlock:
    heads, hidden, expand = config.count("n_mamba_heads"), config.count(*HIDDEN), config.count("mamba_expand")
    inner = Sourced(hidden.value * expand.value // heads.value, "mamba_expand x hidden_size / n_mamba_heads")
    return AttentionBlock(
        "mamba2",
        (
            ("num_heads", heads),
            ("head_dim", inner),
            ("state_size", config.count("mamba_d_state")),
            ("num_groups", config.count("mamba_ngroups")),
            ("conv_kernel", config.count("mamba_d_conv")),
        ),
    )


def _mamba1(config: Config) -> AttentionBlock:
    inner = Sourced(config.count("mamba_expand").value * config.count(*HIDDEN).value, "mamba_expand x hidden_size")
    return AttentionBlock(
        "mamba1",
        (
            ("intermediate_size", inner),
            ("state_size", config.count("mamba_d_state")),
            ("conv_kernel", config.count("mamba_d_conv")),
        ),
    )


def _conv(size: Sourced, kernel: Sourced) -> AttentionBlock:
    return AttentionBlock("short_conv", (("hidden_size", size), ("conv_kernel", kernel)))
