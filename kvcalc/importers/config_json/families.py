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
from kvcalc.importers.config_json.layer_lists import (
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


def _of(module: str, reader: str) -> Family:
    """A reader of another file, which is imported when a model needs it."""

    def read(config: Config) -> list[ImportedLayer]:
        family: Family = getattr(import_module(f"kvcalc.importers.config_json.{module}"), reader)
        return family(config)

    return read


def _all(names: str, family: Family) -> dict[str, Family]:
    return dict.fromkeys(names.split(), family)


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        **_all("gpt2 gptj gpt_neox codegen opt bloom persimmon baichuan", _with(full, all_heads)),
        **_all("llama phi phi-msft stablelm olmo olmo2 olmoe", _FULL),
        **_all("gemma internlm2 internlm3 granite granitemoe cohere seed_oss nemotron helium arcee", _FULL),
        **_all("apertus exaone nanochat glm glm4 glm4_moe ernie4_5 ernie4_5_moe bailing_moe deepseek", _FULL),
        **_all("solar_open hy_v3 qwen3_vl_text qwen3_vl_moe_text", _FULL),
        **_all("mistral mixtral ministral ministral3 phi3 phimoe starcoder2", _ALL),
        **_all("qwen2 qwen2_vl qwen2_vl_text qwen2_5_vl qwen2_5_vl_text qwen3", _IF_USED),
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
        **_all("deepseek_v2 deepseek_v3 kimi_k2 glm4_moe_lite mistral4 youtu axk1", _of("latent", "latent")),
        "longcat_flash": _of("latent", "latent_twice"),
        **_all("deepseek_v32 glm_moe_dsa", _of("latent", "indexed")),
        **_all("qwen3_next qwen3_5_text qwen3_5_moe_text", _of("linear_attention", "deltanet")),
        "kimi_linear": _of("linear_attention", "kimi_linear"),
        "bailing_hybrid": _of("linear_attention", "bailing_hybrid"),
        **_all("minimax minimax_text_01 minimax_m1", _of("linear_attention", "minimax")),
        **_all("lfm2 lfm2_moe", _of("linear_attention", "lfm2")),
        **_all("mamba falcon_mamba", _of("state_space", "mamba1")),
        "mamba2": _of("state_space", "mamba2"),
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
        **_all("step3p5 step3p7 step3p7_text", _of("mixed_heads", "step")),
        "mllama_text_model": _of("mixed_heads", "mllama"),
    }
)
