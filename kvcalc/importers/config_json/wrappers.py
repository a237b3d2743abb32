"""Model types around a text model, and those that are known but whose cache kvcalc cannot express."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

WRAPPERS: Mapping[str, str | None] = MappingProxyType(
    {
        "gemma3": "gemma3_text",
        "gemma3n": "gemma3n_text",
        "gemma4": "gemma4_text",
        "llama4": "llama4_text",
        "mistral3": "mistral",
        "mllama": "mllama_text_model",
        "muse_glimmer": "muse_glimmer_text",
        "paligemma": "gemma",
        "llava": "llama",
        "llava_next": "llama",
        **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe")),
        **dict.fromkeys(("kimi_k25", "kimi_k3", "step3_vl", "step3p7", "glm4v", "glm4v_moe", "aya_vision")),
        **dict.fromkeys(("llava_onevision", "pixtral", "internvl", "kimi_vl")),
    }
)
"""Each with the model_type of a text_config that does not say its own. Only that part keeps a cache: what their towers
make of images or sound enters the text model as tokens (mllama's cross attention is in its text model)."""

_ENCODER = "an encoder and a decoder, whose caches kvcalc does not import"
_GATES = "made of gated linear recurrences, whose states kvcalc does not express yet"

NOT_EXPRESSED: Mapping[str, str] = MappingProxyType(
    {
        "deepseek_v4": "a model with compressed key-value entries, a kind of cache that kvcalc does not express yet",
        "glm5_next": "a model whose indexer pools keys over several tokens, which kvcalc does not express yet",
        "minimax_m3": "a model with a sparse attention of its own, whose cache is not published in full",
        **dict.fromkeys(("rwkv", "rwkv6", "rwkv7", "recurrent_gemma"), _GATES),
        **dict.fromkeys(("t5", "mt5", "umt5", "bart", "mbart", "whisper", "pegasus", "t5gemma"), _ENCODER),
        **dict.fromkeys(("bert", "roberta", "modernbert", "xlm-roberta"), "an encoder, which keeps no cache"),
    }
)
"""Why a model_type is refused, to go on after its name and 'is'."""
