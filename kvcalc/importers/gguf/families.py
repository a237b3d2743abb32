"""Which reader an architecture has: one line each. What is not here is refused.

Read from llama.cpp's load_arch_hparams of each architecture (src/models/<name>.cpp).
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.importers.gguf.compressed import deepseek4
from kvcalc.importers.gguf.latents import glm_dsa, hy_v4, hybrid_latent, indexed, latent, sliding_latent
from kvcalc.importers.gguf.layers import (
    PATTERN,
    SHARED,
    WINDOW,
    full,
    needed_window,
    num_layers,
    pattern,
    unused,
    window_of,
)
from kvcalc.importers.gguf.pooled import glm5_next, qwen4exp
from kvcalc.importers.gguf.states import (
    deltanet,
    every_layer,
    falcon_h1,
    lfm2,
    lightning,
    mamba1,
    mamba2,
    nemotron_h,
    plamo2,
    rwkv,
    short_conv,
    with_states,
)
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.importers.config import Config

    Family = Callable[[Config], list[ImportedLayer]]


def listed(config: Config) -> list[ImportedLayer]:
    """The file lists which layers slide."""
    config.need(PATTERN)
    return pattern(config, 0, span_of=needed_window)


def expanded(config: Config) -> list[ImportedLayer]:
    """MiniCPM3, PLM: llama.cpp keeps every head's key and value, made of the latent."""
    unused(config, "attention.kv_lora_rank", "attention.q_lora_rank")
    return full(config)


def looped(config: Config) -> list[ImportedLayer]:
    """Nanbeige: layers are passed num_loops times, and keep a cache for each."""
    loops = config.optional_count("num_loops")
    return full(config) * (1 if loops is None else loops.value)


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


def t5(config: Config) -> list[ImportedLayer]:
    """T5: the decoder's own keys and values, in as many layers as the encoder has (src/models/t5.cpp).

    Those of cross attention llama.cpp works out again at each step, from the encoder's output.
    """
    decoder = config.optional_count("decoder_block_count")
    if decoder is not None and decoder.value > num_layers(config):
        raise config.refusal(f"decoder_block_count is {decoder.value}, and llama.cpp keeps {num_layers(config)} layers")
    return full(config)


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
maincoder pangu-embedded plamo qwen refact grovemoe hunyuan_vl paddleocr chameleon cogvlm deepseek2-ocr graniteswitch
k2-horizon llama-embed talkie
"""
"""Of these llama.cpp uses no window; phi3's it reads and drops (https://github.com/ggml-org/llama.cpp/pull/13676)."""

_ENCODERS = """
bert clip eurobert gemma-embedding gemma-embedding2 jina-bert-v2 jina-bert-v3 modern-bert neo-bert nomic-bert
nomic-bert-moe t5encoder wavtokenizer-dec
"""
_DIFFUSION = "clef dream llada llada-moe rnd1"
NOTHING_KEPT: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(_ENCODERS.split(), "an encoder, which keeps no cache"),
        **dict.fromkeys(_DIFFUSION.split(), "a diffusion model, of which llama.cpp keeps no cache"),
    }
)
"""Architectures without a memory: llama_model::create_memory of src/llama-model.cpp."""

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        **dict.fromkeys(_FULL.split(), full),
        "gemma2": partial(pattern, every=2, span_of=partial(window_of, otherwise=4096)),
        "gpt-oss": partial(pattern, every=2, span_of=needed_window),
        **dict.fromkeys(("cohere2", "exaone-moe"), partial(pattern, every=4, span_of=needed_window)),
        **dict.fromkeys(("mimo2", "step35", "granite_swa", "spark2_5", "maple"), listed),
        "cohere2moe": partial(pattern, every=4, first=True, span_of=needed_window),
        **dict.fromkeys(("laguna", "smallthinker"), partial(pattern, every=4, first=True)),
        "muse-glimmer": partial(pattern, every=4, span_of=needed_window),
        "mellum": partial(pattern, every=4),
        **dict.fromkeys(("olmo2", "afmoe"), partial(pattern, every=4)),
        "exaone4": exaone4,
        "gemma3": partial(pattern, every=6),
        "plamo3": partial(pattern, every=8),
        "llama4": partial(pattern, every=4, span_of=llama4_chunk, name="chunk"),
        "gemma3n": gemma3n,
        "gemma4": gemma4,
        **dict.fromkeys(("deepseek2", "mistral4"), latent),
        **dict.fromkeys(("minicpm3", "plm"), expanded),
        **dict.fromkeys(("kimi-linear", "kimi-k3", "bailingmoe3"), hybrid_latent),
        "deepseek32": indexed,
        "deepseek4": deepseek4,
        "glm-dsa": glm_dsa,
        "hy_v4": hy_v4,
        "dots3note": sliding_latent,
        "nanbeige": looped,
        "t5": t5,
        "minimax-01": lightning,
        "plamo2": plamo2,
        **dict.fromkeys(("qwen3next", "qwen35", "qwen35moe"), deltanet),
        "qwen4exp": qwen4exp,
        "glm5-next": glm5_next,
        **dict.fromkeys(("rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"), every_layer(rwkv)),
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
