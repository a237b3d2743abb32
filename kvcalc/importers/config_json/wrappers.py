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

DECODERS = ("encoder-decoder", "vision-encoder-decoder", "speech-encoder-decoder", "musicgen", "musicgen_melody")
"""Wrappers of an encoder and a decoder, whose key is `decoder`."""

_OWN = """
apertus1p5 aria cohere_compass cosmos3_edge deepseek_ocr2 diffusion_gemma dots3_note ernie4_5_vl_moe gemma4_unified
glm5_next glm_ocr granite4_vision granite_docling hunyuan_vl hy_v4_vl inkling2 inkling2_loop mistral_large4 molmo2
muse_spark paddleocr_vl pp_formulanet qwen4_exp voxtral_realtime
"""
_TEXT = {name: f"{name}_text" for name in _OWN.split()}
"""Wrappers whose text model has their name with `_text`."""

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
        **dict.fromkeys(("kimi_k25", "kimi_k3", "step3_vl", "step3p7", "aya_vision")),
        "glm4v": "glm4v_text",
        "glm4v_moe": "glm4v_moe_text",
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
        **_all("glmasr omniasr", "llama"),
        **_all("musicflamingo pp_chart2table vibevoice vibevoice_asr", "qwen2"),
        **_all("fun_asr_nano moss_transcribe_diarize", "qwen3"),
        **_all("minicpm_ocr minicpmv4_6 minicpmv4_7", "qwen3_5_text"),
        **_all("nemo_speechlm nemotron_h_omni", "nemotron_h"),
        **_all("blip-2 instructblip instructblipvideo", "opt"),
        **_all("glm46v glmga", "glm4v_text"),
        **_TEXT,
        "granite_speech_plus": "granite",
        "cosmos3_omni": "qwen3_vl_text",
        "emu3": "emu3_text_model",
        "florence2": "bart",
        "hyperclovax_vision_v2": "hyperclovax",
        "inkling_mm_model": "inkling_text",
        "kosmos-2": "kosmos_2_text_model",
        "kosmos-2.5": "kosmos_2_5_text_model",
        "lfm3_vl": "lfm3",
        "minimax_m3_vl": "minimax_m3_vl_text",
        "pix2struct": "pix2struct_text_model",
        **dict.fromkeys((*DECODERS, "pi0", "qwen2_5_omni", "qwen3_omni_moe")),
        "qwen2_5_omni_thinker": "qwen2_5_omni_text",
        **dict.fromkeys(("llava_llama", "qwen3_asr_thinker", "deepseek_v41")),  # not transformers': their part says
        "qwen3_omni_moe_thinker": "qwen3_omni_moe_text",
    }
)
"""Each with the model_type of a text_config that does not have its own. Only that part keeps a cache: what their towers
make of images or sound enters the text model as tokens (mllama's cross attention is in its text model)."""

TEXT_PARTS = (
    *("text_config", "thinker_config", "llm_config", "language_config", "vlm_config", "llm_cfg", "decoder_config"),
)
"""Keys of what a wrapper wraps: InternVL and its kin have llm_config, DeepSeek-VL2 and Janus language_config, Qwen's
omni models a thinker around a text_config, Pi-0 a vision-language model, VILA llm_cfg, VibeVoice decoder_config.

Sources: vLLM 0.33.0, vllm/transformers_utils/config.py (_CONFIG_ATTRS_MAPPING) and configs/deepseek_vl2.py."""

LIKE: Mapping[str, str] = MappingProxyType(
    {
        "exaone4_5_text": "exaone4",
        **_all("phi3_v phi4mm phi4_multimodal phi3v", "phi3"),
        **_all("xverse Yi", "llama"),
        **_all("RefinedWeb RefinedWebModel", "falcon"),
        "dots_ocr": "qwen2",
        "mimo_v2": "mimo_v2_flash",
        "qwen3_asr_text": "qwen3",
    }
)
"""Types that are read as another one: the one that their text model's code is taken from."""

FLAT: Mapping[str, str] = MappingProxyType(
    {
        **_all("llava llava_llama", "llama"),
        "llava_mistral": "mistral",
        **_all("llava_qwen llava_qwen2 minicpmv minicpmo", "qwen2"),
        "glm4v": "glm4v_text",
    }
)
"""Types whose own code (LLaVA's, MiniCPM-V's, GLM-4.1V's before transformers 4.54) has the text model's keys beside
those of the tower, without a part."""

_ENCODER = "an encoder and a decoder, whose caches kvcalc does not import"
_GATES = "made of gated linear recurrences, whose states kvcalc does not express yet"
_NO_CACHE = "an encoder, which keeps no cache"
_YAML = "write the model as YAML by hand (kvcalc models schema)"
_LINEAR = f"of flash-linear-attention, whose states kvcalc does not import; {_YAML}"

_TWO = "a speech model of two decoders, each with a cache, which kvcalc does not import"
_RETRIEVES = "a retriever, which embeds whole texts and keeps no cache"
_PROMPT_STAYS = "made of windows that keep the whole prompt, which kvcalc does not express yet"
_POOLED = "a model whose indexer pools keys over several tokens, which kvcalc does not express yet"

NOT_EXPRESSED: Mapping[str, str] = MappingProxyType(
    {
        **_all("step5 step5_vl", _POOLED),
        **_all("rwkv recurrent_gemma hgrn hgrn2", _GATES),
        **_all("gla gsa gated_deltaproduct retnet linear_attn lightnet samba sba", _LINEAR),
        **_all("t5gemma t5gemma2 seamless_m4t seamless_m4t_v2", _ENCODER),
        **_all("csm moshi dia bark", _TWO),
        **_all("colpali colqwen2 colqwen2_5 colmodernvbert", _RETRIEVES),
        **_all("unlimited_ocr unlimited_ocr_text", _PROMPT_STAYS),
        "xlstm": "made of gated recurrences, whose states kvcalc does not express yet",
        "zaya": "made of attention that convolves its keys and delays a value, which kvcalc does not express yet",
        **_all(
            "albert distilbert deberta deberta-v2 modernbert mpnet xlm xlnet reformer flaubert nomic_bert", _NO_CACHE
        ),
        **_all(
            "vit clip clip_vision_model clip_text_model siglip siglip_vision_model dinov2 wav2vec2 hubert", _NO_CACHE
        ),
    }
)
"""Why a model_type is refused, to go on after its name and 'is'."""
