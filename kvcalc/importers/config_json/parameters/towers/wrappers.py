"""What a wrapper has beside its text model: encoders, and what joins them to it. A function for each kind.

Source: transformers 5.24.0, models/<name>/modeling_<name>.py; the tests build each class and count again.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kvcalc.importers.config_json.parameters.towers import audio, vision
from kvcalc.importers.config_json.parameters.towers.around import IMAGE, NEVER, SOUND, Around, value_of
from kvcalc.importers.config_json.parameters.towers.encoder import linear, merger, mlp, size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.importers.config import Config


def _qwen(
    count: Callable[[Config], int], model_type: str, width: str, least: int = NEVER
) -> Callable[[Around], int | None]:
    """Encoders that give the width of the text model themselves: their merger is a part of them.

    Fine-tuned copies of Qwen2-VL-7B leave out what its class has, that width among it: in_chans and spatial_patch_size,
    which it has not, stay.
    """

    def counted(around: Around) -> int | None:
        part = around.part(IMAGE, model_type, {width: around.text}, least)
        return None if part is None else count(part)

    return counted


def gemma3(around: Around) -> int | None:
    """A matrix and a norm after SigLIP."""
    part = around.part(IMAGE, "siglip_vision_model")
    return None if part is None else vision.siglip(part) + size(part, "hidden_size") * (around.text + 1)


def gemma4(around: Around) -> int | None:
    """A matrix after each encoder, of images and of sound."""
    part = around.part(IMAGE, "gemma4_vision", {"attention_bias": False})
    if part is None:
        return None
    total = vision.gemma4(part) + size(part, "hidden_size") * around.text
    if around.outer.get(SOUND) is None:
        return total
    sound = around.part(SOUND, "gemma4_audio")
    return None if sound is None else total + audio.gemma4(sound) + size(sound, "output_proj_dims") * around.text


def llava(around: Around) -> int | None:
    """Two matrices after CLIP, SigLIP or Pixtral's encoder."""
    stated = around.config.outer.get(IMAGE)
    named = str(stated.get("model_type", "clip_vision_model")) if isinstance(stated, dict) else ""
    count = _ENCODERS.get(named)
    part = None if count is None else around.part(IMAGE, named)
    if count is None or part is None or isinstance(value_of(around.outer, "vision_feature_layer"), list):
        return None
    return count(part) + mlp(size(part, "hidden_size"), around.text, bias=around.biased(default=True))


_ENCODERS: Mapping[str, Callable[[Config], int]] = {
    "clip_vision_model": vision.clip,
    "siglip_vision_model": vision.siglip,
    "pixtral": vision.pixtral,
}


def llava_next(around: Around) -> int | None:
    """The same, and what stands for the end of a line."""
    found = llava(around)
    return None if found is None else found + around.text


def mistral3(around: Around) -> int | None:
    """A norm, a matrix that merges patches, and two to the text model."""
    part = around.part(IMAGE, "pixtral")
    if part is None:
        return None
    width = size(part, "hidden_size")
    merged = around.size("spatial_merge_size", 2) ** 2 * width**2
    joined = mlp(width, around.text, bias=around.biased(default=False))
    return vision.pixtral(part) + width + merged + joined


def idefics3(around: Around) -> int | None:
    """A matrix of shuffled pixels."""
    part = around.part(IMAGE, "idefics3_vision")
    if part is None:
        return None
    inputs = size(part, "hidden_size") * around.size("scale_factor", 2) ** 2
    return vision.siglip(part) + inputs * around.text


def paligemma(around: Around) -> int | None:
    """A matrix."""
    part = around.part(IMAGE, "siglip_vision_model", {"projection_dim": around.text})
    return None if part is None else vision.siglip(part) + linear(size(part, "hidden_size"), around.text)


def kimi(around: Around) -> int | None:
    """A norm, and two matrices of what is merged, 2 x 2."""
    part = around.part(IMAGE, "kimi_k25_vision")
    if part is None:
        return None
    width = size(part, "hidden_size")
    return vision.kimi(part) + 2 * width + merger(4 * width, around.text)


_INTERN_FLAGS: Mapping[str, Any] = {
    "use_qk_norm": None,
    "use_mask_token": None,
    "use_absolute_position_embeddings": True,
    "use_mean_pooling": True,
    "norm_type": "layer_norm",
}
"""With others it has other tensors."""


def internvl(around: Around) -> int | None:
    """A norm of pixels that are shuffled 2 x 2, and two matrices."""
    part = around.part(IMAGE, "internvl_vision", _INTERN_FLAGS)
    if part is None or value_of(around.outer, "downsample_ratio") not in (None, 0.5):
        return None
    inputs = 4 * size(part, "hidden_size")
    return vision.intern(part) + 2 * inputs + mlp(inputs, around.text)


def lfm2(around: Around) -> int | None:
    """A norm of shuffled pixels, and two matrices."""
    part = around.part(IMAGE, "siglip2_vision_model")
    if part is None:
        return None
    inputs = size(part, "hidden_size") * around.size("downsample_factor", 2) ** 2
    inner = around.size("projector_hidden_size", 2560)
    bias, norm = (value_of(around.outer, name) is not False for name in ("projector_bias", "projector_use_layernorm"))
    joined = linear(inputs, inner, bias=bias) + linear(inner, around.text, bias=bias)
    return vision.siglip2(part) + joined + (2 * inputs if norm else 0)


def cohere2(around: Around) -> int | None:
    """Two matrices of shuffled pixels, the first of which is gated: half as wide afterwards."""
    part = around.part(IMAGE, "siglip_vision_model")
    if part is None:
        return None
    inputs = size(part, "hidden_size") * around.size("downsample_factor", 2) ** 2
    inner = around.size("alignment_intermediate_size", 36_864)
    return vision.siglip(part) + linear(inputs, inner) + linear(inner // 2, around.text)


def aya(around: Around) -> int | None:
    """The same after a norm, as wide as the text model unless the file says otherwise."""
    part = around.part(IMAGE, "siglip_vision_model")
    if part is None:
        return None
    inputs = size(part, "hidden_size") * around.size("downsample_factor", 2) ** 2
    inner = around.size("alignment_intermediate_size", around.text)
    return vision.siglip(part) + 2 * inputs + linear(inputs, inner) + linear(inner // 2, around.text)


def llama4(around: Around) -> int | None:
    """A matrix after the encoder's own adapter."""
    part = around.part(IMAGE, "llama4_vision_model")
    return None if part is None else vision.llama4(part) + size(part, "vision_output_dim") * around.text


def qwen2_audio(around: Around) -> int | None:
    """A matrix after Whisper's encoder."""
    part = around.part(SOUND, "qwen2_audio_encoder")
    return None if part is None else audio.whisper(part) + linear(size(part, "d_model"), around.text)


def voxtral(around: Around) -> int | None:
    """Two matrices of four positions of sound at a time."""
    part = around.part(SOUND, "voxtral_encoder")
    joined = 0 if part is None else mlp(size(part, "intermediate_size"), around.text, bias=False)
    return None if part is None else audio.whisper(part) + joined


def qwen3_asr(around: Around) -> int | None:
    """The encoder gives the width of the text model itself."""
    part = around.part(SOUND, "qwen3_asr_encoder", {"output_dim": around.text})
    return None if part is None else audio.qwen3_asr(part)


_QWEN3 = _qwen(vision.qwen3, "qwen3_vl_vision", "out_hidden_size")
_QWEN3_5 = _qwen(vision.qwen3, "qwen3_5_vision", "out_hidden_size")
_GLM = _qwen(vision.glm, "glm4v_vision", "out_hidden_size")

WRAPPERS: Mapping[str, Callable[[Around], int | None]] = MappingProxyType(
    {
        "qwen2_vl": _qwen(vision.qwen2, "qwen2_vl_vision", "hidden_size", least=2),
        "qwen2_5_vl": _qwen(vision.qwen2_5, "qwen2_5_vl_vision", "out_hidden_size"),
        **dict.fromkeys(("qwen3_vl", "qwen3_vl_moe"), _QWEN3),
        **dict.fromkeys(("qwen3_5", "qwen3_5_moe"), _QWEN3_5),
        **dict.fromkeys(("glm4v", "glm4v_moe"), _GLM),
        "gemma3": gemma3,
        "gemma4": gemma4,
        "llava": llava,
        **dict.fromkeys(("llava_next", "llava_onevision"), llava_next),
        "mistral3": mistral3,
        **dict.fromkeys(("idefics3", "smolvlm"), idefics3),
        "paligemma": paligemma,
        "kimi_k25": kimi,
        "internvl": internvl,
        "lfm2_vl": lfm2,
        "cohere2_vision": cohere2,
        "aya_vision": aya,
        "exaone4_5": _qwen(vision.exaone4_5, "exaone4_5_vision", "out_hidden_size"),
        "llama4": llama4,
        "qwen2_audio": qwen2_audio,
        "voxtral": voxtral,
        "qwen3_asr": qwen3_asr,
    }
)
