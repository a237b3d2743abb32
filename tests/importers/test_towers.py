"""Parameters of towers: as many as building the class counts, and as the catalogue states of published files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from built_classes import built_wrapper
from config_files import CATALOGUE, CONFIGS, imported
from each import for_each

from kvcalc import load_model
from kvcalc.importers.config_json.parameters.towers.wrappers import WRAPPERS

if TYPE_CHECKING:
    from kvcalc.model.model import Model

TEXT = {"num_hidden_layers": 2, "hidden_size": 1024, "tie_word_embeddings": False}
"""A small text model of each wrapper's own family."""

FAMILY: dict[str, dict[str, Any]] = {
    "qwen2_vl": {"num_attention_heads": 16, "num_key_value_heads": 4},
    "qwen2_5_vl": {"num_attention_heads": 16, "num_key_value_heads": 4},
    "qwen3_5": {"layer_types": ["linear_attention", "full_attention"]},
    "qwen3_5_moe": {"layer_types": ["linear_attention", "full_attention"]},
    "glm4v_moe": {"head_dim": 64},
    "gemma4": {"layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0},
    "kimi_k25": {"first_k_dense_replace": 1},
    "lfm2_vl": {"layer_types": ["conv", "full_attention"]},
    "exaone4_5": {"model_type": "exaone4", "sliding_window": None, "layer_types": ["full_attention"] * 2},
}
IMAGE: dict[str, dict[str, Any]] = {
    "qwen2_vl": {"depth": 2, "hidden_size": 1024},
    "qwen2_5_vl": {"depth": 2, "out_hidden_size": 1024},
    "qwen3_5": {"depth": 2, "out_hidden_size": 1024},
    "qwen3_5_moe": {"depth": 1, "out_hidden_size": 1024},
    "glm4v": {"depth": 2, "out_hidden_size": 1024, "attention_bias": True},
    "glm4v_moe": {"depth": 2, "out_hidden_size": 1024},
    "qwen3_vl": {"depth": 3, "out_hidden_size": 1024, "deepstack_visual_indexes": [0, 2]},
    "qwen3_vl_moe": {"depth": 2, "out_hidden_size": 1024, "deepstack_visual_indexes": [1]},
    "gemma3": {"num_hidden_layers": 2, "vision_use_head": False},
    "cohere2_vision": {"num_hidden_layers": 2, "vision_use_head": True, "hidden_size": 384},
    "aya_vision": {"num_hidden_layers": 2, "vision_use_head": False, "hidden_size": 384},
    "exaone4_5": {"depth": 2, "out_hidden_size": 1024},
    "paligemma": {"model_type": "siglip_vision_model", "num_hidden_layers": 2},
    "internvl": {"num_hidden_layers": 2, "attention_bias": True},
    "llava": {"model_type": "clip_vision_model", "num_hidden_layers": 2},
    "llava_next": {"model_type": "siglip_vision_model", "num_hidden_layers": 2, "vision_use_head": False},
    "llava_onevision": {"model_type": "pixtral", "num_hidden_layers": 2, "head_dim": 64},
    "gemma4": {"num_hidden_layers": 2, "num_key_value_heads": 6},
}
SOUND: dict[str, dict[str, Any]] = {
    "gemma4": {"num_hidden_layers": 2, "subsampling_conv_channels": [64, 16]},
    "qwen2_audio": {"encoder_layers": 2, "d_model": 640},
    "voxtral": {"num_hidden_layers": 2, "num_mel_bins": 80},
    "qwen3_asr": {"encoder_layers": 2, "output_dim": 1024, "num_mel_bins": 100},
}
AROUND: dict[str, dict[str, Any]] = {
    "llava": {"multimodal_projector_bias": False},
    "mistral3": {"multimodal_projector_bias": True, "spatial_merge_size": 3},
    "smolvlm": {"scale_factor": 4},
    "paligemma": {"projection_dim": 1024},
    "lfm2_vl": {"projector_bias": False, "projector_use_layernorm": False, "projector_hidden_size": 512},
    "cohere2_vision": {"alignment_intermediate_size": 512},
    "aya_vision": {"alignment_intermediate_size": 512},
}


def wrapped(model_type: str) -> dict[str, Any]:
    sounds_only = model_type in SOUND and model_type != "gemma4"
    parts = {} if sounds_only else {"vision_config": IMAGE.get(model_type, {"num_hidden_layers": 2})}
    parts |= {"audio_config": SOUND[model_type]} if model_type in SOUND else {}
    text = {**TEXT, **FAMILY.get(model_type, {})}
    return {
        "model_type": model_type,
        "tie_word_embeddings": False,
        "text_config": text,
        **parts,
        **AROUND.get(model_type, {}),
    }


@for_each("model_type", WRAPPERS)
@pytest.mark.torch
def test_a_wrapper_has_what_building_its_class_counts(model_type: str) -> None:
    file, parameters = built_wrapper(wrapped(model_type))
    model = imported(json.loads(file)).model
    assert model.parameters == parameters
    assert 0 < (model.tower_parameters or 0) < parameters


TOLD = [hub_id for hub_id, values in CONFIGS.items() if len(values.get("vision_config") or ()) > 3]
"""Published files with the sizes of their towers."""


def plain(hub_id: str) -> dict[str, Any]:
    values = {key: value for key, value in CONFIGS[hub_id].items() if key != "quantization_config"}
    text = {key: value for key, value in values["text_config"].items() if key != "quantization_config"}
    return {**values, "text_config": text}


def test_a_published_file_has_the_catalogue_s() -> None:
    counted = [hub_id for hub_id in TOLD if imported(plain(hub_id)).model.parameters is not None]
    assert len(counted) == 5
    for hub_id in counted:
        model, known = imported(plain(hub_id)).model, load_model(CATALOGUE[hub_id])
        assert (model.parameters, model.tower_parameters) == (known.parameters, known.tower_parameters)
        assert model.active_parameters == known.active_parameters


def without(**changes: Any) -> Model:
    """Of Qwen3-VL-235B with other keys; None takes one away."""
    values = plain("Qwen/Qwen3-VL-235B-A22B-Instruct")
    values = {key: value for key, value in {**values, **changes}.items() if value is not None}
    return imported(values).model


def test_what_is_not_known_for_sure_is_not_counted() -> None:
    sizes = CONFIGS["Qwen/Qwen3-VL-235B-A22B-Instruct"]["vision_config"]
    assert without().parameters == 235_670_022_896
    assert without(vision_config={"model_type": "qwen3_vl_moe"}).parameters is None
    assert without(vision_config={**sizes, "out_hidden_size": 2048}).parameters is None
    assert without(projector_config={"layers": 2}).parameters is None
    assert without(audio_config={"d_model": 1280}).parameters is None


def test_llava_has_one_of_several_encoders() -> None:
    def of(encoder: str, **around: Any) -> int | None:
        return imported(
            {**wrapped("llava"), **around, "vision_config": {"model_type": encoder, "hidden_size": 768}}
        ).model.parameters

    assert len({of("clip_vision_model"), of("siglip_vision_model"), of("pixtral")}) == 3
    assert of("dinov2") is None
    assert of("clip_vision_model", vision_feature_layer=[-2, -1]) is None


def test_copies_of_qwen2_vl_leave_out_what_its_class_has() -> None:
    """As large as the published model (8,291,375,616); of another width the class's tower would not fit."""
    qwen = {"model_type": "qwen2_vl", "hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28}
    qwen |= {"num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152_064, "tie_word_embeddings": False}
    stated = {"in_chans": 3, "model_type": "qwen2_vl", "spatial_patch_size": 14}
    assert imported({**qwen, "vision_config": stated}).model.parameters == 33_165_502_464 // 4
    assert imported({**qwen, "vision_config": {"model_type": "qwen2_vl"}}).model.parameters is None
    assert imported({**qwen, "hidden_size": 7168, "vision_config": stated}).model.parameters is None
