"""Layers that keep a state instead of keys and values, as llama.cpp keeps it: in f32, whatever the cache's type is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config import Given
from kvcalc.importers.gguf.layers import (
    HIDDEN,
    KV_HEADS,
    attentions,
    by_layer,
    every_attention,
    marked,
    number_of,
    window_of,
)
from kvcalc.importers.plan import Block, LayerPlan

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.importers.config import Config

    Family = Callable[[Config], list[LayerPlan]]

CONV_DTYPE = ("conv_dtype", Given("fp32", "llama.cpp keeps the inputs of convolutions in f32"))


def with_states(state: Callable[[Config], Block]) -> Family:
    """Layers without KV heads keep a state."""

    def read(config: Config) -> list[LayerPlan]:
        kept = state(config)
        return [LayerPlan((block or kept,)) for block in attentions(config)]

    return read


def mamba1(config: Config) -> Block:
    """Mamba's state."""
    config.ignore("ssm.group_count")
    return Block(
        "mamba1",
        (
            ("intermediate_size", config.count("ssm.inner_size")),
            ("state_size", config.count("ssm.state_size")),
            ("conv_kernel", config.count("ssm.conv_kernel")),
            CONV_DTYPE,
        ),
    )


def mamba2(config: Config) -> Block:
    """Mamba-2's: ssm.time_step_rank is the number of heads."""
    inner, heads = config.count("ssm.inner_size"), config.count("ssm.time_step_rank")
    if inner.value % heads.value:
        raise config.refusal(f"ssm.inner_size is {inner.value}, of {heads.value} heads")
    return Block(
        "mamba2",
        (
            ("num_heads", heads),
            ("head_dim", Given(inner.value // heads.value, "ssm.inner_size / ssm.time_step_rank")),
            ("state_size", config.count("ssm.state_size")),
            ("num_groups", config.count("ssm.group_count")),
            ("conv_kernel", config.count("ssm.conv_kernel")),
            CONV_DTYPE,
        ),
    )


def short_conv(config: Config) -> Block:
    """LFM2's convolution."""
    kernel = config.count("shortconv.l_cache")
    return Block("short_conv", (("hidden_size", config.count(HIDDEN)), ("conv_kernel", kernel), CONV_DTYPE))


def lfm2(config: Config) -> list[LayerPlan]:
    """LFM2: layers without KV heads are convolutions; the others slide where there is a window."""
    window, plans = window_of(config), with_states(short_conv)(config)
    return [plan if plan.blocks[0].kind == "short_conv" else plan._replace(window=window) for plan in plans]


def every_layer(state: Callable[[Config], Block]) -> Family:
    """Nothing but states."""

    def read(config: Config) -> list[LayerPlan]:
        config.ignore(KV_HEADS)
        return [LayerPlan((state(config),))] * number_of(config)

    return read


def falcon_h1(config: Config) -> list[LayerPlan]:
    """Attention and Mamba-2 side by side."""
    state = mamba2(config)
    return [LayerPlan((block, state)) for block in every_attention(config)]


def nemotron_h(config: Config) -> list[LayerPlan]:
    """Nemotron-H: a layer with a feed-forward width keeps nothing; of the others, those with heads are attention."""
    widths, state = by_layer(config, "feed_forward_length"), mamba2(config)
    if widths is None:
        raise config.refusal("it has no feed_forward_length")
    nothing = Block("none", why="feed_forward_length: a feed-forward block")
    return [
        LayerPlan((nothing if width else block or state,))
        for block, width in zip(attentions(config), widths, strict=True)
    ]


def deltanet(config: Config) -> list[LayerPlan]:
    """Qwen3-Next, Qwen3.5: all but every full_attention_interval-th layer keep a state."""
    inner, heads = config.count("ssm.inner_size"), config.count("ssm.time_step_rank")
    width = config.count("ssm.state_size")
    if inner.value != heads.value * width.value:
        raise config.refusal(f"ssm.inner_size is {inner.value}, and {heads.value} heads of {width.value}")
    linear = Block(
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
    layers, every = number_of(config), config.optional_count("full_attention_interval") or Given(4, "llama.cpp's own")
    marks = [(index + 1) % every.value != 0 for index in range(layers)]
    listed = config.get("attention.recurrent_layers")
    if listed is not None:
        marks = marked(config, listed.why, listed.value if isinstance(listed.value, list) else [listed.value] * layers)
    whole = every_attention(config)
    return [LayerPlan((linear if each else whole[index],)) for index, each in enumerate(marks)]
