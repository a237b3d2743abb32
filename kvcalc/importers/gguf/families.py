"""Which reader an architecture has: one line each. What is not here is refused.

Read from llama.cpp's load_arch_hparams of each architecture (src/models/<name>.cpp).
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.importers.config import Given
from kvcalc.importers.gguf.layers import (
    HEADS,
    KV_HEADS,
    V_WIDTH,
    WIDTH,
    WINDOW,
    attentions,
    by_layer,
    every_attention,
    full,
    number_of,
    pattern,
    sliding_marks,
    window_on_all,
)
from kvcalc.importers.plan import Block, LayerPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.importers.config import Config

    Family = Callable[[Config], list[LayerPlan]]


def latent(config: Config) -> list[LayerPlan]:
    """DeepSeek-V2 and later: with key_length_mla the latent is kept; files without it make llama.cpp expand heads."""
    heads, rank, rope = (
        config.count(HEADS),
        config.count("attention.kv_lora_rank"),
        config.count("rope.dimension_count"),
    )
    config.ignore(KV_HEADS, WIDTH, V_WIDTH)
    key, value = config.optional_count("attention.key_length_mla"), config.optional_count("attention.value_length_mla")
    kind, why = "mla", ""
    if key is None or value is None:
        kind, why = "mla_expanded", "no key_length_mla: llama.cpp keeps every head's key and value of such a file"
        key, value = config.count(WIDTH), config.count(V_WIDTH)
    if key.value <= rope.value:
        raise config.refusal(f"{key.why} is {key.value}, and rope.dimension_count {rope.value}")
    fields = [
        ("num_heads", heads),
        ("kv_lora_rank", rank),
        ("qk_rope_head_dim", rope),
        ("qk_nope_head_dim", Given(key.value - rope.value, f"{key.why} - {rope.why}")),
        ("v_head_dim", value),
    ]
    query = config.optional_count("attention.q_lora_rank")
    if query is not None:
        fields.append(("q_lora_rank", query))
    return [LayerPlan((Block(kind, tuple(fields), why),))] * number_of(config)


def gemma4(config: Config) -> list[LayerPlan]:
    """Gemma 4: sliding layers have widths of their own; the last shared_kv_layers read earlier caches."""
    window, whole, own = config.tokens(WINDOW), every_attention(config), every_attention(config, sliding=True)
    plans = [
        LayerPlan((own[index],), window=window) if slides else LayerPlan((whole[index],))
        for index, slides in enumerate(sliding_marks(config, 0))
    ]
    return _last_shared(config, plans, config.optional_count("attention.shared_kv_layers", least=0))


def gemma3n(config: Config) -> list[LayerPlan]:
    """Gemma 3n: every fifth layer is full; layers from the 20th on read earlier caches."""
    plans = pattern(config, 5)
    told = config.optional_count("attention.shared_kv_layers", least=0)
    return _last_shared(config, plans, told or Given(max(0, len(plans) - 20), "gemma3n: the first 20 layers keep"))


def _last_shared(config: Config, plans: list[LayerPlan], shared: Given | None) -> list[LayerPlan]:
    if shared is None or not shared.value:
        return plans
    if shared.value >= len(plans):
        raise config.refusal(f"{shared.value} layers that read others' caches, of {len(plans)}")
    return [*plans[: -shared.value], *[LayerPlan((Block("shared", why=shared.why),))] * shared.value]


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
        ),
    )


def short_conv(config: Config) -> Block:
    """LFM2's convolution."""
    kernel = config.count("shortconv.l_cache")
    return Block("short_conv", (("hidden_size", config.count("embedding_length")), ("conv_kernel", kernel)))


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
        ),
    )
    layers, every = number_of(config), config.optional_count("full_attention_interval") or Given(4, "llama.cpp's own")
    marks = [(index + 1) % every.value != 0 for index in range(layers)]
    if config.get("attention.recurrent_layers") is not None:
        marks = [bool(each) for each in config.marks("attention.recurrent_layers", layers)]
    whole = every_attention(config)
    return [LayerPlan((linear if each else whole[index],)) for index, each in enumerate(marks)]


_FULL = """
llama qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe gemma phi2 falcon baichuan gpt2 gptj gptneox bloom mpt
starcoder starcoder2 stablelm internlm2 chatglm glm4 glm4moe olmo olmoe granite granitemoe command-r nemotron exaone
minimax-m2 seed_oss dots1 hunyuan-moe hunyuan-dense smollm3 ernie4_5 ernie4_5-moe arcee apertus bailingmoe bailingmoe2
dbrx deepseek mistral3 orion xverse openelm deci
"""

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        **dict.fromkeys(_FULL.split(), full),
        **dict.fromkeys(("phi3", "phimoe"), window_on_all),
        "gemma2": partial(pattern, every=2, otherwise=4096),
        "gpt-oss": partial(pattern, every=2),
        **dict.fromkeys(("cohere2", "olmo2", "exaone4", "afmoe"), partial(pattern, every=4)),
        "gemma3": partial(pattern, every=6),
        "llama4": partial(pattern, every=4, otherwise=8192, name="chunk"),
        "gemma3n": gemma3n,
        "gemma4": gemma4,
        "deepseek2": latent,
        **dict.fromkeys(("qwen3next", "qwen35", "qwen35moe"), deltanet),
        "mamba": every_layer(mamba1),
        "mamba2": every_layer(mamba2),
        "jamba": with_states(mamba1),
        "granitehybrid": with_states(mamba2),
        **dict.fromkeys(("lfm2", "lfm2moe"), with_states(short_conv)),
        "falcon-h1": falcon_h1,
        **dict.fromkeys(("nemotron_h", "nemotron_h_moe"), nemotron_h),
    }
)
