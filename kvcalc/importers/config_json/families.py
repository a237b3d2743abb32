"""Which family reads a model_type: one line each. What is not here is refused."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import (
    all_heads,
    bigcode_heads,
    chatglm_heads,
    falcon_heads,
    grouped_heads,
    nested_heads,
    usual_heads,
)
from kvcalc.importers.config_json.sliding_rules import RULES, after_dense_layers, by_place, half_windows
from kvcalc.importers.config_json.spellings import BART, BERT, T5
from kvcalc.importers.config_json.window_rules import (
    alternating,
    alternating_from_the_last,
    every_other_below,
    full,
    full_as_marked,
    pattern,
    window_from,
    window_if_used,
    window_on_all,
    window_on_all_if_used,
    without_rotation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.importers.config import Config
    from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer

    Family = Callable[[Config], list[ImportedLayer]]


def _with(
    spread: Callable[[Config, AttentionBlock], list[ImportedLayer]],
    heads: Callable[[Config], AttentionBlock] = usual_heads,
) -> Family:
    return lambda config: spread(config, heads(config))


_FULL, _ALL, _IF_USED = _with(full), _with(window_on_all), _with(window_if_used)


def _without(family: Family, *keys: str) -> Family:
    """A family whose keys of these names limit what is attended to, and not what is kept."""

    def read(config: Config) -> list[ImportedLayer]:
        config.ignore(*keys)
        return family(config)

    return read


def _of(module: str, reader: str) -> Family:
    """A reader of another file, which is imported when a model needs it."""

    def read(config: Config) -> list[ImportedLayer]:
        family: Family = getattr(import_module(f"kvcalc.importers.config_json.readers.{module}"), reader)
        return family(config)

    return read


def _all(names: str, family: Family) -> dict[str, Family]:
    return dict.fromkeys(names.split(), family)


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        **_all("gpt2 gptj gpt_neox codegen opt bloom persimmon baichuan", _with(full, all_heads)),
        **_all("biogpt ctrl git gpt_neox_japanese xglm", _with(full, all_heads)),
        "gpt_neo": _without(_with(full, all_heads), "attention_layers", "attention_types", "window_size"),
        "evolla": _without(_FULL, "aligner_num_add_layers"),
        "doge": _without(_FULL, "keep_window_size"),
        **_all("kosmos_2_text_model kosmos_2_5_text_model", _with(full, all_heads)),
        **_all("cpmant jetmoe", _FULL),
        **_all("llama phi phi-msft stablelm olmo olmo2 olmoe", _FULL),
        **_all("gemma internlm2 internlm3 granite granitemoe cohere seed_oss nemotron helium arcee", _FULL),
        **_all("apertus exaone nanochat glm glm4 glm4_moe ernie4_5 ernie4_5_moe bailing_moe deepseek", _FULL),
        **_all("solar_open hy_v3 qwen3_vl_text qwen3_vl_moe_text qwen3_omni_moe_text", _FULL),
        **_all("apertus1p5_text aria_text bitnet cosmos3_edge_text deepseek_ocr2_text diffllama", _FULL),
        **_all("emu3_text_model ernie4_5_vl_moe_text flex_olmo glm4v_text glm4v_moe_text glm_ocr_text", _FULL),
        **_all("granite4_vision_text granite_docling_text granitemoeshared hunyuan_vl_text hyperclovax", _FULL),
        **_all("iquestcoder jais2 molmo molmo2_text paddleocr_vl_text sarvam_moe chameleon telechat", _FULL),
        **_all("mistral mixtral ministral ministral3 phi3 phimoe starcoder2 voxtral_realtime_text", _ALL),
        **_all("qwen2 qwen2_vl qwen2_vl_text qwen2_5_vl qwen2_5_vl_text qwen3 qwen2_5_omni_text", _IF_USED),
        "qwen2_moe": _with(partial(window_if_used, rule=every_other_below)),
        "smollm3": _with(partial(window_if_used, rule=without_rotation)),
        "qwen3_moe": _with(window_on_all_if_used),
        "mimo": _IF_USED,
        "minimax_m2": _with(full_as_marked),
        "dots1": _with(window_from),
        "falcon": _with(full, falcon_heads),
        "chatglm": _with(full, chatglm_heads),
        "gpt_bigcode": _with(full, bigcode_heads),
        **_all("mpt dbrx", _with(full, nested_heads)),
        "step3_text": _with(full, grouped_heads),
        **_all("gemma2 gpt_oss vaultgemma", _with(partial(alternating, every=2))),
        "olmo3": _with(partial(alternating, every=4)),
        "muse_glimmer_text": _with(partial(alternating_from_the_last, every=4)),
        **_all("exaone4 exaone_moe cohere2 afmoe gemma3_text", _with(pattern)),
        **_all("deepseek_v3 kimi_k2 glm4_moe_lite mistral4 youtu youtu_llm axk1", _of("latent", "latent")),
        "deepseek_v2": _of("own_code", "deepseek_v2"),
        **_all("longcat_flash longcat_flash_ngram", _of("latent", "latent_twice")),
        "afm7": _of("own_code", "afm"),
        "baichuan_m1": _of("own_code", "baichuan_m1"),
        "bailing_moe_linear": _of("own_code", "bailing_linear"),
        "iquestloopcoder": _of("own_code", "iquest_loop"),
        **_all("gated_deltanet delta_net", _of("own_code", "delta_net")),
        "nanbeige": _of("own_code", "nanbeige"),
        "plamo": _of("own_code", "plamo"),
        "hrm_text": _of("own_code", "hrm"),
        "plamo3": _with(pattern),
        **_all("Klear lille-130m telechat3 phixtral minicpm qwen internlm aquila orion skywork", _FULL),
        "phi3small": _without(_FULL, "dense_attention_every_n_layers", "blocksparse_num_local_blocks"),
        "transformer": _ALL,
        **_all("deepseek_v32 glm_moe_dsa", _of("latent", "indexed")),
        "glm5_next_text": _of("pooled_index", "glm5_next"),
        "qwen4_exp_text": _of("pooled_index", "qwen4_exp"),
        "deepseek_v4": _of("compressed", "deepseek_v4"),
        "deepseek_v41_text": _of("compressed", "deepseek_v41"),
        **_all("minimax_m3 minimax_m3_vl_text", _of("sparse_heads", "minimax_m3")),
        **_all("qwen3_next qwen3_5_text qwen3_5_moe_text", _of("linear_attention", "deltanet")),
        "kimi_linear": _of("linear_attention", "kimi_linear"),
        "bailing_hybrid": _of("linear_attention", "bailing_hybrid"),
        **_all("minimax minimax_text_01 minimax_m1", _of("linear_attention", "minimax")),
        **_all("lfm2 lfm2_moe", _of("linear_attention", "lfm2")),
        **_all("mamba falcon_mamba", _of("state_space", "mamba1")),
        "mamba2": _of("state_space", "mamba2"),
        **_all("rwkv5 rwkv6", _of("rwkv", "rwkv")),
        "rwkv7": _of("rwkv", "rwkv7"),
        "jamba": _of("state_space", "jamba"),
        "granitemoehybrid": _of("state_space", "granite_hybrid"),
        "bamba": _of("state_space", "bamba"),
        "falcon_h1": _of("state_space", "falcon_h1"),
        "nemotron_h": _of("state_space", "nemotron_h"),
        "gemma3n_text": _of("shared_caches", "gemma3n"),
        "gemma4_text": _of("shared_caches", "gemma4"),
        **_all("hunyuan hunyuan_v1_dense hunyuan_v1_moe", _of("shared_caches", "hunyuan")),
        "nemotron-nas": _of("shared_caches", "nemotron_nas"),
        "llama4_text": _of("mixed_heads", "llama4"),
        "mimo_v2_flash": _of("mixed_heads", "mimo"),
        "laguna": _of("mixed_heads", "laguna"),
        "openelm": _of("mixed_heads", "openelm"),
        **dict.fromkeys(RULES, _with(by_place)),
        "cohere2_moe": _with(after_dense_layers),
        "modernbert-decoder": _with(half_windows, all_heads),
        **_all(BART, _of("encoder_decoder", "bart")),
        "prophetnet": _of("encoder_decoder", "bart"),
        **_all(BERT, _of("encoder_decoder", "bert")),
        **_all(T5, _of("encoder_decoder", "t5")),
        **_all("minicpm3 sarvam_mla", _of("latent", "latent")),
        **_all("axk2 hy_v4 hy_v4_vl_text", _of("latent", "indexed")),
        "dots3_note_text": _of("latent", "windowed"),
        "mistral_large4_text": _of("latent", "without_rotation"),
        "lara_mini": _of("mixed_layers", "lara"),
        "lfm3": _of("mixed_layers", "lfm3"),
        "olmo_hybrid": _of("mixed_layers", "olmo_hybrid"),
        **_all("inkling_text inkling2_text", _of("mixed_layers", "inkling")),
        "inkling2_loop_text": _of("mixed_layers", "inkling_loop"),
        "dory": _of("mixed_layers", "dory"),
        **_all("zamba zamba2", _of("mixed_layers", "zamba")),
        **_all("gemma4_unified_text diffusion_gemma_text", _of("shared_caches", "gemma4")),
        **_all("step3p5 step3p7 step3p7_text", _of("mixed_heads", "step")),
        "mllama_text_model": _of("mixed_heads", "mllama"),
    }
)
