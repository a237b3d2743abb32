"""Which reader an architecture has: one line each. What is not here is refused.

Read from llama.cpp's load_arch_hparams of each architecture (src/models/<name>.cpp).
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.importers.gguf.layers import (
    HEADS,
    KV_HEADS,
    PATTERN,
    SHARED,
    V_WIDTH,
    WIDTH,
    WINDOW,
    by_layer,
    full,
    needed_window,
    num_layers,
    pattern,
    unused,
    window_of,
)
from kvcalc.importers.gguf.states import (
    CONV_DTYPE,
    deltanet,
    every_layer,
    falcon_h1,
    lfm2,
    mamba1,
    mamba2,
    nemotron_h,
    short_conv,
    with_states,
)
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.importers.config import Config

    Family = Callable[[Config], list[ImportedLayer]]


def latent(config: Config) -> list[ImportedLayer]:
    """DeepSeek-V2 and later: with key_length_mla the latent is kept; files without it make llama.cpp expand heads."""
    heads, rank, rope = (
        config.count(HEADS),
        config.count("attention.kv_lora_rank"),
        config.count("rope.dimension_count"),
    )
    config.ignore(KV_HEADS, WIDTH, V_WIDTH)
    key, value = config.optional_count("attention.key_length_mla"), config.optional_count("attention.value_length_mla")
    kind, reason = "mla", ""
    if key is None or value is None:
        kind, reason = "mla_expanded", "no key_length_mla: llama.cpp keeps every head's key and value of such a file"
        key, value = config.count(WIDTH), config.count(V_WIDTH)
    block = AttentionBlock(kind, _latent_fields(config, heads, rank, rope, key, value), reason)
    rows = (1, rank.value + rope.value) if kind == "mla" else (heads.value, key.value)
    _refuse_other_rows(config, *rows)
    return [ImportedLayer((block,))] * num_layers(config)


def kimi_linear(config: Config) -> list[ImportedLayer]:
    """Kimi-Linear: layers without KV heads keep a state, the others a latent, as one head's key.

    Source: llama.cpp, src/models/kimi-linear.cpp, and n_embd_r and n_embd_s of src/llama-hparams.cpp.
    """
    heads, width, kv_heads = config.count(HEADS), config.count("kda.head_dim"), by_layer(config, KV_HEADS)
    kda = AttentionBlock(
        "kda",
        (("num_heads", heads), ("head_dim", width), ("conv_kernel", config.count("ssm.conv_kernel")), CONV_DTYPE),
    )
    rank, rope = config.count("attention.kv_lora_rank"), config.count("rope.dimension_count")
    key, value = config.count("attention.key_length_mla"), config.count("attention.value_length_mla")
    config.ignore(WIDTH, V_WIDTH)
    _refuse_other_width(config, rank.value + rope.value)
    if kv_heads is None or set(kv_heads) - {0, 1}:
        raise config.refusal(f"{KV_HEADS} has not 0 or 1 for each layer")
    latent = AttentionBlock("mla", _latent_fields(config, heads, rank, rope, key, value))
    return [ImportedLayer((latent if each else kda,)) for each in kv_heads]


def _latent_fields(
    config: Config, heads: Sourced, rank: Sourced, rope: Sourced, key: Sourced, value: Sourced
) -> tuple[tuple[str, Sourced], ...]:
    """Those of a latent; a key's width has the rotated part in it."""
    if key.value <= rope.value:
        raise config.refusal(f"{key.reason} is {key.value}, and rope.dimension_count {rope.value}")
    fields = [
        ("num_heads", heads),
        ("kv_lora_rank", rank),
        ("qk_rope_head_dim", rope),
        ("qk_nope_head_dim", Sourced(key.value - rope.value, f"{key.reason} - {rope.reason}")),
        ("v_head_dim", value),
    ]
    query = config.optional_count("attention.q_lora_rank")
    if query is not None:
        fields.append(("q_lora_rank", query))
    return tuple(fields)


def _refuse_other_rows(config: Config, kv_heads: int, width: int) -> None:
    """llama.cpp keeps head_count_kv x key_length elements of a position: other keys must agree.

    Raises:
        KvcalcError: they differ.
    """
    found = config.optional_count(KV_HEADS)
    if found is not None and found.value != kv_heads:
        raise config.refusal(f"{KV_HEADS} is {found.value}, where the other keys make it {kv_heads}")
    _refuse_other_width(config, width)


def _refuse_other_width(config: Config, width: int) -> None:
    found = config.optional_count(WIDTH)
    if found is not None and found.value != width:
        raise config.refusal(f"{WIDTH} is {found.value}, where the other keys make it {width}")


def listed(config: Config) -> list[ImportedLayer]:
    """The file lists which layers slide."""
    config.need(PATTERN)
    return pattern(config, 0, span_of=needed_window)


def gemma4(config: Config) -> list[ImportedLayer]:
    """Gemma 4: the file lists which layers slide; the last shared_kv_layers read earlier caches."""
    return _last_shared(config, listed(config), config.optional_count(SHARED, least=0))


def gemma3n(config: Config) -> list[ImportedLayer]:
    """Gemma 3n: every fifth layer is full; layers from the 20th on read earlier caches, for llama.cpp in every file."""
    layers = pattern(config, 5, span_of=needed_window)
    unused(config, SHARED)
    assumed = config.optional_count(SHARED, least=0) if SHARED in config.assumed else None
    return _last_shared(
        config, layers, assumed or Sourced(max(0, len(layers) - 20), "gemma3n: the first 20 layers keep")
    )


EXAONE4_SLIDES = 64
"""Layers of the EXAONE 4 that slides."""


def exaone4(config: Config) -> list[ImportedLayer]:
    """EXAONE 4: in llama.cpp only the model of 64 layers slides."""
    slides = num_layers(config) == EXAONE4_SLIDES or WINDOW in config.assumed
    return pattern(config, 4, span_of=partial(window_of, otherwise=4096)) if slides else full(config)


def llama4_chunk(config: Config) -> Sourced | None:
    """Llama 4's chunk: 8,192 in every file, except that 0 means none."""
    found = window_of(config, 8192)
    return found if found is None or WINDOW in config.assumed else Sourced(8192, "llama.cpp's own for llama4")


def _last_shared(config: Config, layers: list[ImportedLayer], shared: Sourced | None) -> list[ImportedLayer]:
    if shared is None or not shared.value:
        return layers
    if shared.value >= len(layers):
        raise config.refusal(f"{shared.value} layers that read others' caches, of {len(layers)}")
    return [
        *layers[: -shared.value],
        *[ImportedLayer((AttentionBlock("shared", reason=shared.reason),))] * shared.value,
    ]


_FULL = """
llama qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe gemma phi2 falcon baichuan gpt2 gptj gptneox bloom mpt
starcoder starcoder2 stablelm internlm2 chatglm glm4 glm4moe olmo olmoe granite granitemoe command-r nemotron exaone
minimax-m2 seed_oss dots1 hunyuan-moe hunyuan-dense smollm3 ernie4_5 ernie4_5-moe arcee apertus bailingmoe bailingmoe2
dbrx deepseek mistral3 orion xverse openelm deci phi3 phimoe minicpm hy_v3 grok bitnet arctic codeshell jais jais2
maincoder pangu-embedded plamo qwen refact grovemoe hunyuan_vl paddleocr
"""
"""Of these llama.cpp uses no window; phi3's it reads and drops (https://github.com/ggml-org/llama.cpp/pull/13676)."""

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        **dict.fromkeys(_FULL.split(), full),
        "gemma2": partial(pattern, every=2, span_of=partial(window_of, otherwise=4096)),
        "gpt-oss": partial(pattern, every=2, span_of=needed_window),
        **dict.fromkeys(("cohere2", "exaone-moe"), partial(pattern, every=4, span_of=needed_window)),
        **dict.fromkeys(("mimo2", "step35"), listed),
        **dict.fromkeys(("olmo2", "afmoe"), partial(pattern, every=4)),
        "exaone4": exaone4,
        "gemma3": partial(pattern, every=6),
        "plamo3": partial(pattern, every=8),
        "llama4": partial(pattern, every=4, span_of=llama4_chunk, name="chunk"),
        "gemma3n": gemma3n,
        "gemma4": gemma4,
        "deepseek2": latent,
        "kimi-linear": kimi_linear,
        **dict.fromkeys(("qwen3next", "qwen35", "qwen35moe"), deltanet),
        "mamba": every_layer(mamba1),
        "mamba2": every_layer(mamba2),
        "jamba": with_states(mamba1),
        "granitehybrid": with_states(mamba2),
        "lfm2": lfm2,
        "lfm2moe": with_states(short_conv),
        "falcon-h1": falcon_h1,
        **dict.fromkeys(("nemotron_h", "nemotron_h_moe"), nemotron_h),
    }
)
