"""Layers that keep a state instead of keys and values, as llama.cpp keeps it: in f32, whatever the cache's type is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.gguf.layers import (
    HEADS,
    HIDDEN,
    KV_HEADS,
    WIDTH,
    attentions,
    by_layer,
    every_attention,
    marked,
    num_layers,
    window_of,
)
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.importers.config import Config

    Family = Callable[[Config], list[ImportedLayer]]

CONV_DTYPE = ("conv_dtype", Sourced("fp32", "llama.cpp keeps the inputs of convolutions in f32"))


def with_states(state: Callable[[Config], AttentionBlock]) -> Family:
    """Layers without KV heads keep a state."""

    def read(config: Config) -> list[ImportedLayer]:
        kept = state(config)
        return [ImportedLayer((block or kept,)) for block in attentions(config)]

    return read


def mamba1(config: Config) -> AttentionBlock:
    """Mamba's state."""
    config.ignore("ssm.group_count")
    return AttentionBlock(
        "mamba1",
        (
            ("intermediate_size", config.count("ssm.inner_size")),
            ("state_size", config.count("ssm.state_size")),
            ("conv_kernel", config.count("ssm.conv_kernel")),
            CONV_DTYPE,
        ),
    )


def mamba2(config: Config) -> AttentionBlock:
    """Mamba-2's: ssm.time_step_rank is the number of heads."""
    inner, heads = config.count("ssm.inner_size"), config.count("ssm.time_step_rank")
    if inner.value % heads.value:
        raise config.refusal(f"ssm.inner_size is {inner.value}, of {heads.value} heads")
    return AttentionBlock(
        "mamba2",
        (
            ("num_heads", heads),
            ("head_dim", Sourced(inner.value // heads.value, "ssm.inner_size / ssm.time_step_rank")),
            ("state_size", config.count("ssm.state_size")),
            ("num_groups", config.count("ssm.group_count")),
            ("conv_kernel", config.count("ssm.conv_kernel")),
            CONV_DTYPE,
        ),
    )


def short_conv(config: Config) -> AttentionBlock:
    """LFM2's convolution."""
    kernel = config.count("shortconv.l_cache")
    return AttentionBlock("short_conv", (("hidden_size", config.count(HIDDEN)), ("conv_kernel", kernel), CONV_DTYPE))


def lfm2(config: Config) -> list[ImportedLayer]:
    """LFM2: layers without KV heads are convolutions; the others slide where there is a window."""
    window, layers = window_of(config), with_states(short_conv)(config)
    return [layer if layer.blocks[0].kind == "short_conv" else layer._replace(window=window) for layer in layers]


def every_layer(state: Callable[[Config], AttentionBlock]) -> Family:
    """Nothing but states."""

    def read(config: Config) -> list[ImportedLayer]:
        config.ignore(KV_HEADS)
        return [ImportedLayer((state(config),))] * num_layers(config)

    return read


def falcon_h1(config: Config) -> list[ImportedLayer]:
    """Attention and Mamba-2 side by side."""
    state = mamba2(config)
    return [ImportedLayer((block, state)) for block in every_attention(config)]


def nemotron_h(config: Config) -> list[ImportedLayer]:
    """Nemotron-H: a layer with a feed-forward width keeps nothing; of the others, those with heads are attention."""
    widths, state = by_layer(config, "feed_forward_length"), mamba2(config)
    if widths is None:
        raise config.refusal("it has no feed_forward_length")
    nothing = AttentionBlock("none", reason="feed_forward_length: a feed-forward block")
    return [
        ImportedLayer((nothing if width else block or state,))
        for block, width in zip(attentions(config), widths, strict=True)
    ]


def deltanet(config: Config) -> list[ImportedLayer]:
    """Qwen3-Next, Qwen3.5: all but every full_attention_interval-th layer keep a state."""
    inner, heads = config.count("ssm.inner_size"), config.count("ssm.time_step_rank")
    width = config.count("ssm.state_size")
    if inner.value != heads.value * width.value:
        raise config.refusal(f"ssm.inner_size is {inner.value}, and {heads.value} heads of {width.value}")
    linear = AttentionBlock(
        "gated_deltanet",
        (
            ("num_k_heads", config.count("ssm.group_count")),
            ("num_v_heads", heads),
            ("k_head_dim", width),
            ("v_head_dim", width),
            ("conv_kernel", config.count("ssm.conv_kernel")),
            CONV_DTYPE,
        ),
    )
    layers, every = (
        num_layers(config),
        config.optional_count("full_attention_interval") or Sourced(4, "llama.cpp's own"),
    )
    marks = [(index + 1) % every.value != 0 for index in range(layers)]
    marks, whole = _recurrent(config, marks), every_attention(config)
    return [ImportedLayer((linear if each else whole[index],)) for index, each in enumerate(marks)]


def lightning(config: Config) -> list[ImportedLayer]:
    """MiniMax-Text-01: all but every full_attention_interval-th layer keep a state (src/models/minimax-01.cpp)."""
    heads, layers = config.count(HEADS), num_layers(config)
    state = AttentionBlock("lightning", (("num_heads", heads), ("head_dim", config.count(WIDTH))))
    every = config.optional_count("full_attention_interval") or Sourced(8, "llama.cpp's own")
    whole = every_attention(config)
    marks = _recurrent(config, [(index + 1) % every.value != 0 for index in range(layers)])
    return [ImportedLayer((state if each else whole[index],)) for index, each in enumerate(marks)]


def rwkv(config: Config) -> AttentionBlock:
    """RWKV-6 and -7: n_embd_r and n_embd_s of src/llama-hparams.cpp."""
    config.ignore(HEADS)
    hidden, width = config.count(HIDDEN), config.count("wkv.head_size")
    if hidden.value % width.value:
        raise config.refusal(f"{HIDDEN} is {hidden.value}, of heads of {width.value}")
    shifts = config.optional_count("token_shift_count", most=2) or Sourced(2, "llama.cpp's own")
    return AttentionBlock(
        "rwkv",
        (
            ("hidden_size", hidden),
            ("num_heads", Sourced(hidden.value // width.value, f"{HIDDEN} / wkv.head_size")),
            ("head_dim", width),
            ("token_shifts", shifts),
            ("conv_dtype", Sourced("fp32", "llama.cpp keeps token shifts in f32")),
        ),
    )


def plamo2(config: Config) -> list[ImportedLayer]:
    """PLaMo 2: layers without KV heads keep a state of Mamba, whose B and C are convolved where they have groups."""
    groups = config.optional_count("ssm.group_count", least=0)
    return with_states(mamba2 if groups is not None and groups.value else mamba1)(config)


def _recurrent(config: Config, otherwise: list[bool]) -> list[bool]:
    """Which layers keep a state: as the file lists them, else by the architecture's rule."""
    listed = config.get("attention.recurrent_layers")
    if listed is None:
        return otherwise
    layers = num_layers(config)
    return marked(config, listed.reason, listed.value if isinstance(listed.value, list) else [listed.value] * layers)
