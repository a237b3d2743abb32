"""Model types around a text model, and those that are known but whose cache kvcalc cannot express."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def _all(names: str, what: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), what)


PREFIX_SEES_ALL = frozenset({"paligemma"})
"""Wrappers whose text model attends both ways within the prompt, whose keys and values are kept all the same."""

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
        **dict.fromkeys(("internvl_chat", "h2ovl_chat", "NVLM_D", "skywork_chat", "multi_modality", "deepseek_vl_v2")),
        **_all("idefics3 smolvlm voxtral maira2 vipllava video_llava llava_next_video perception_lm janus", "llama"),
        **_all("deepseek_vl deepseek_vl_hybrid", "llama"),
        **_all("qwen2_audio ovis2 got_ocr2 fast_vlm audioflamingo3 video_llama_3", "qwen2"),
        **_all("lighton_ocr qianfan_ocr qwen3_asr", "qwen3"),
        "idefics2": "mistral",
        "cohere2_vision": "cohere2",
        "exaone4_5": "exaone4",
        "lfm2_vl": "lfm2",
        "granite_speech": "granite",
        "shieldgemma2": "gemma3_text",
        "fuyu": "persimmon",
    }
)
"""Each with the model_type of a text_config that does not have its own. Only that part keeps a cache: what their towers
make of images or sound enters the text model as tokens (mllama's cross attention is in its text model)."""

TEXT_PARTS = ("text_config", "llm_config", "language_config")
"""Keys of the text model's part: InternVL and its kin have the second, DeepSeek-VL2 and Janus the last.

Sources: vLLM 0.33.0, vllm/transformers_utils/config.py (_CONFIG_ATTRS_MAPPING) and configs/deepseek_vl2.py."""

RENAMED: Mapping[str, str] = MappingProxyType({"exaone4_5_text": "exaone4"})
"""Text models that transformers' wrapper reads as another type."""

LIKE: Mapping[str, str] = MappingProxyType({"phi3_v": "phi3", "phi4mm": "phi3", "xverse": "llama"})
"""Types that are not read by themselves, and the one that their text model's code is taken from."""

_ENCODER = "an encoder and a decoder, whose caches kvcalc does not import"
_GATES = "made of gated linear recurrences, whose states kvcalc does not express yet"
_NO_CACHE = "an encoder, which keeps no cache"
_YAML = "write the model as YAML by hand (kvcalc models schema)"
_LINEAR = f"of flash-linear-attention, whose states kvcalc does not import; {_YAML}"
_SPARSE = "a model with a sparse attention of its own, whose cache is not published in full"

NOT_EXPRESSED: Mapping[str, str] = MappingProxyType(
    {
        "deepseek_v4": "a model with compressed key-value entries, a kind of cache that kvcalc does not express yet",
        "glm5_next": "a model whose indexer pools keys over several tokens, which kvcalc does not express yet",
        **_all("minimax_m3 minimax_m3_vl minimax_m3_vl_text", _SPARSE),
        **_all("rwkv rwkv6 rwkv7 recurrent_gemma hgrn hgrn2", _GATES),
        **_all("gla gsa delta_net gated_deltanet gated_deltaproduct retnet linear_attn lightnet samba sba", _LINEAR),
        **_all("t5 mt5 umt5 bart mbart whisper pegasus t5gemma longt5 marian m2m_100 speech_to_text", _ENCODER),
        **_all("bert roberta modernbert xlm-roberta albert electra distilbert deberta deberta-v2 mpnet", _NO_CACHE),
        **_all(
            "vit clip clip_vision_model clip_text_model siglip siglip_vision_model dinov2 wav2vec2 hubert", _NO_CACHE
        ),
    }
)
"""Why a model_type is refused, to go on after its name and 'is'."""
