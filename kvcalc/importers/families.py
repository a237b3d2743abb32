"""Which family reads a model_type: one line each. What is not here is refused."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.importers import hybrids, latent
from kvcalc.importers.heads import bigcode_heads, chatglm_heads, falcon_heads, usual_heads
from kvcalc.importers.layer_lists import full, pattern, window_if_used, window_on_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.importers.config import Config
    from kvcalc.importers.plan import Block, LayerPlan


def _with(
    spread: Callable[[Config, Block], list[LayerPlan]], heads: Callable[[Config], Block] = usual_heads
) -> Callable[[Config], list[LayerPlan]]:
    return lambda config: spread(config, heads(config))


_FULL, _ALL, _IF_USED = _with(full), _with(window_on_all), _with(window_if_used)

FAMILIES: Mapping[str, Callable[[Config], list[LayerPlan]]] = MappingProxyType(
    {
        **dict.fromkeys(("llama", "gptj", "phi", "phi-msft", "olmo2", "gemma", "internlm2", "minimax_m2"), _FULL),
        **dict.fromkeys(("granite", "cohere", "seed_oss"), _FULL),
        **dict.fromkeys(("mistral", "mixtral", "phi3", "starcoder2"), _ALL),
        **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"), _IF_USED),
        "qwen3_vl_moe_text": _FULL,
        "falcon": _with(full, falcon_heads),
        "chatglm": _with(full, chatglm_heads),
        "gpt_bigcode": _with(full, bigcode_heads),
        "gemma2": _with(partial(pattern, every=2)),
        "gemma3_text": _with(partial(pattern, every=6)),
        "gpt_oss": _with(partial(pattern, every=2)),
        "olmo3": _with(partial(pattern, every=4)),
        "exaone4": _with(partial(pattern, every=4)),
        "cohere2": _with(partial(pattern, every=4)),
        "deepseek_v2": latent.latent,
        "deepseek_v3": latent.latent,
        "deepseek_v32": latent.indexed,
        "glm_moe_dsa": latent.indexed,
        "qwen3_next": hybrids.deltanet,
        "qwen3_5_text": hybrids.deltanet,
        "qwen3_5_moe_text": hybrids.deltanet,
        "kimi_linear": hybrids.kimi_linear,
        "nemotron_h": hybrids.nemotron_h,
        "llama4_text": hybrids.llama4,
        "mimo_v2_flash": hybrids.mimo,
        "gemma4_text": hybrids.gemma4,
    }
)

NOT_EXPRESSED: Mapping[str, str] = MappingProxyType(
    {"deepseek_v4": "its compressed key-value entries are a kind of cache that kvcalc does not express yet"}
)
