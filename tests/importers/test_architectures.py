"""What stands above the layers, by the class that a config.json names: counted as the class has it, or not known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from conftest import texts

import kvcalc
from kvcalc.errors import KvcalcError
from kvcalc.importers import import_config
from kvcalc.importers.config_json.parameters.anatomies import ANATOMIES

if TYPE_CHECKING:
    from conftest import Kvcalc

    from kvcalc.importers.imported_model import ImportedModel

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
LLAMA_3_8B, TABLE = 8_030_261_248, 128_256 * 4096
"""Parameters of Llama-3-8B as published, and of its embedding or its output head."""

NO_SHAPE = {
    "nemotron",
    "glm4_moe",
    "dots1",
    "hunyuan_v1_moe",
    "kimi_linear",
    "deepseek_v2",
    "lfm2_moe",
    "mimo_v2_flash",
    "ministral",
    "hunyuan_v1_dense",
    "bamba",
    "gemma3n_text",
    "dbrx",
    "longcat_flash",
    "glm4v_moe_text",
    "gpt_neo",
    "hunyuan_vl_text",
    "qwen4_exp_text",
}
"""Families whose class has no shape of its own or not one of two layers, or one that its config.json would not tell;
and LongCat-Flash's, which allocates matrices of experts that have none."""

MAPPINGS = {
    "MODEL_MAPPING": 107,
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING": 45,
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING": 36,
    "MODEL_FOR_QUESTION_ANSWERING_MAPPING": 21,
}
"""Tables of transformers 5.24.0, and how many of their classes at least belong to families that are counted."""


def imported(*architectures: Any, **changes: Any) -> ImportedModel:
    values = {**LLAMA, "architectures": list(architectures), **changes}
    return import_config(json.dumps(values), "config.json", "some-model")


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.torch
def test_every_class_of_a_family_is_counted_as_it_is_built(mapping: str) -> None:
    import torch
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    names = getattr(modeling_auto, f"{mapping}_NAMES")
    families = [each for each in ANATOMIES if each not in NO_SHAPE and each in names]
    assert len(families) >= MAPPINGS[mapping]
    for model_type in families:
        kind = CONFIG_MAPPING[model_type]
        config = kind(**own_shape(kind))
        with torch.device("meta"):
            model = getattr(modeling_auto, mapping)[kind](config)
        values = {**json.loads(config.to_json_string(use_diff=False)), "architectures": [type(model).__name__]}
        found = import_config(json.dumps({**values, "dtype": "bfloat16"}), "config.json", "some-model").model
        assert found.parameters == sum(each.numel() for each in model.parameters()), type(model).__name__


def own_shape(kind: Any) -> dict[str, Any]:
    return {str(kind.attribute_map.get("num_hidden_layers", "num_hidden_layers")): 2, "num_labels": 3}


@pytest.mark.torch
def test_no_causal_model_of_transformers_is_taken_for_something_else() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    named = {name for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() if name.endswith("ForCausalLM")}
    named -= {"Gemma4AssistantForCausalLM", "Gemma4UnifiedAssistantForCausalLM"}  # drafts of Gemma 4
    assert len(named) > 100
    for name in named:
        assert imported(name).model.parameters == LLAMA_3_8B


COUNTED = {
    "LlamaModel": LLAMA_3_8B - TABLE,
    "LlamaBidirectionalModel": LLAMA_3_8B - TABLE,
    "LlamaForSequenceClassification": LLAMA_3_8B - TABLE + 2 * 4096,
    "LlamaBidirectionalForSequenceClassification": LLAMA_3_8B - TABLE + 2 * 4096,
    "LlamaForTokenClassification": LLAMA_3_8B - TABLE + 2 * 4096 + 2,
    "LlamaForCausalLM": LLAMA_3_8B,
    "LLaMAForCausalLM": LLAMA_3_8B,
    "AquilaModel": LLAMA_3_8B,
    "InternLM2ForRewardModel": LLAMA_3_8B - TABLE + 4096,
    "Qwen2ForRewardModel": LLAMA_3_8B - TABLE + 4096 * 4096 + 4096 + 4096 + 1,
    "Qwen2ForProcessRewardModel": LLAMA_3_8B - TABLE + 4096 * 4096 + 4096 + 2 * 4096 + 2,
}


@pytest.mark.parametrize("name", COUNTED)
def test_a_name_tells_what_is_above_the_layers(name: str) -> None:
    found = imported(name)
    assert found.model.parameters == COUNTED[name]
    assert found.model.tie_word_embeddings is (False if COUNTED[name] == LLAMA_3_8B else None)
    assert not found.notes


def test_labels_are_those_of_the_file() -> None:
    one = {"id2label": {"0": "LABEL_0"}}
    assert imported("LlamaForSequenceClassification", **one).model.parameters == 7_504_928_768
    assert imported("LlamaForSequenceClassification", num_labels=5).model.parameters == 7_504_924_672 + 5 * 4096
    assert imported("LlamaForSequenceClassification", num_labels=5, **one).model.parameters == 7_504_928_768


def test_a_tied_model_without_an_output_head_is_as_large() -> None:
    assert imported("LlamaModel", tie_word_embeddings=True).model.parameters == LLAMA_3_8B - TABLE


UNKNOWN = [
    "EagleLlamaForCausalLM",
    "llama_eagle3_ForCausalLM",
    "qwen3_dflashForCausalLM",
    "LlamaForCausalLMEagle",
    "Eagle3DeepseekV2ForCausalLM",
    "CosyVoice3Eagle3LlamaForCausalLM",
    "DFlashDraftModel",
    "QwenDFlareDraftModel",
    "DSparkDraftModel",
    "DominoDraftModel",
    "MedusaModel",
    "MLPSpeculatorPreTrainedModel",
    "MiMoMTPModel",
    "DeepSeekMTPModel",
    "Qwen3NextMTP",
    "DeepseekV3ForCausalLMNextN",
    "LlamaForRewardModelWithGating",
    "SomethingForRewardModel",
    "InternVLChatModel",
    "UltravoxModel",
    "MiniCPMO",
    "HydraModel",
    "LlamaForMultipleChoice",
    "",
]


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_a_name_does_not_tell_is_not_known(name: str) -> None:
    found = imported(name)
    assert found.model.parameters is None
    assert found.model.tie_word_embeddings is None
    assert [note for note in texts(found.notes) if name in note and "--parameters N or --weights SIZE" in note]


def test_names_that_are_none_or_several() -> None:
    assert imported().model.parameters == LLAMA_3_8B
    assert imported(architectures=None).model.parameters == LLAMA_3_8B
    assert imported(architectures="LlamaModel").model.parameters == LLAMA_3_8B - TABLE
    assert imported("LlamaForCausalLM", "MistralForCausalLM").model.parameters == LLAMA_3_8B
    assert imported("LlamaForCausalLM", "LlamaModel").model.parameters is None
    assert imported(5).model.parameters is None
    assert imported(architectures={"a": 1}).model.parameters is None


DRAFT = {**LLAMA, "num_hidden_layers": 1, "draft_vocab_size": 32_000}
EAGLE_3 = (
    3 * 4096 * 4096  # three hidden states to one
    + 2 * 4096 * (4096 + 2 * 1024)  # queries, keys and values, of the embedding beside the hidden state
    + 4096 * 4096
    + 3 * 4096 * 14336
    + 4 * 4096  # norms of the embedding, of the hidden state, after attention, and of the output
    + 32_000 * 4096
)


@pytest.mark.parametrize("name", ["LlamaForCausalLMEagle3", "Eagle3LlamaForCausalLM"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "phi3"])
def test_a_draft_of_eagle_3_is_counted_without_its_target_s_embedding(name: str, family: str) -> None:
    assert EAGLE_3 == 424_689_664
    found = imported(name, **{**DRAFT, "model_type": family})
    assert found.model.parameters == EAGLE_3
    assert f"--parameters {EAGLE_3 + TABLE} is with one of its own" in texts(found.notes)[0]


def test_a_draft_of_another_width_than_its_target() -> None:
    found = imported("LlamaForCausalLMEagle3", **DRAFT, target_hidden_size=8192)
    assert found.model.parameters == EAGLE_3 + 3 * 4096 * 4096
    whole = imported("LlamaForCausalLMEagle3", **{**DRAFT, "draft_vocab_size": None})
    assert whole.model.parameters == EAGLE_3 - 32_000 * 4096 + TABLE


P_EAGLE = {**DRAFT, "num_hidden_layers": 4}
OTHERS = 3 * (4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 14336 + 3 * 4096)
"""The second to the fourth layer, which read no embedding."""
LINES = 4096 + 2 * 1024
"""Rows of queries, keys and values."""


@pytest.mark.parametrize(
    ("name", "change", "more"),
    [
        ("PEagleDraftModel", {}, 3 * 4096),  # mask_hidden, as wide as what fc joins
        ("PeagleLlamaForCausalLM", {"target_hidden_size": 8192}, 3 * 4096 * 4096 + 3 * 8192),
        ("Eagle3MiniMaxM2ForCausalLM", {}, 0),
        ("Eagle3LlamaForCausalLM", {"attention_bias": True}, 4 * (LINES + 4096)),
        ("Eagle3Qwen3ForCausalLM", {}, 4 * 2 * 128),
        ("PeagleQwen3ForCausalLM", {"attention_bias": True}, 4 * (2 * 128 + LINES) + 3 * 4096),
    ],
)
def test_drafts_of_several_layers_are_counted(name: str, change: dict[str, Any], more: int) -> None:
    """vllm/model_executor/models of 0.33.0: llama_eagle3.py and qwen3_eagle3.py, whose first layer alone is wider."""
    assert imported(name, **{**P_EAGLE, **change}).model.parameters == EAGLE_3 + OTHERS + more


SERVED = """
EagleCohereForCausalLM EagleLlamaForCausalLM EagleLlama4ForCausalLM EagleMiniCPMForCausalLM LiLiCorrDraftModel
DFlash2DraftModel DFlash2BeamDraftModel MuseGlimmerAssistantModel DFlashMuseGlimmerAssistantModel DSparkDraftModel
DSparkV41DraftModel Qwen3DSparkModel Qwen3OmniDSparkModel Qwen3XPressModel DFlashQwen3XPressModel K3DSparkModel
MuseSparkDSparkModel DFlashLagunaForCausalLM Gemma4DSparkModel EagleMistralForCausalLM EagleMistralLarge3ForCausalLM
Eagle3DeepseekV2ForCausalLM Eagle3DeepseekV3ForCausalLM EagleDeepSeekMTPModel LingDSparkModel DSparkMiniMaxDraftModel
MiniMaxDFlash2DraftModel Lfm2DSparkDraftModel LlamaForCausalLMEagle Gemma4AssistantForCausalLM
Gemma4UnifiedAssistantForCausalLM
"""
"""Drafts with files of their own that are not counted: vllm/model_executor/models/registry.py of 0.33.0,
_SPECULATIVE_DECODING_MODELS, and EntryClass of sglang/srt/models of 0.5.23."""


@pytest.mark.parametrize("name", SERVED.split())
def test_other_drafts_that_engines_serve_are_refused_by_name(name: str, tmp_path: Any) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**LLAMA, **DRAFT, "architectures": [name]}), encoding="utf-8")
    with pytest.raises(KvcalcError, match=rf"--draft: .*{name}.*--draft-weights SIZE"):
        kvcalc.estimate("llama-3.1-8b", draft=file)
    assert kvcalc.estimate("llama-3.1-8b", draft=file, draft_weights="1GB").memory.per_rank.weights_bytes


IDS = {"eagle_aux_hidden_state_layer_ids": [1, 17, 33]}
LAYER_NORMS = {"use_input_layernorm_in_first_layer": True, "use_last_layernorm": True, "use_mtp_layernorm": False}
"""As drafts of NVIDIA have them."""


@pytest.mark.parametrize(
    ("change", "more"),
    [
        ({"eagle_config": IDS}, 0),
        ({"eagle_config": {**IDS, **LAYER_NORMS, "use_aux_hidden_state": True}}, 0),
        ({"eagle_config": {"eagle_aux_hidden_state_layer_ids": [1, 17]}}, -4096 * 4096),
        ({"num_aux_hidden_states": 5}, 2 * 4096 * 4096),
        ({"fc_norm": True, "norm_output": True}, 3 * 4096),
        ({"norm_before_fc": True, "target_hidden_size": 2048}, -3 * 4096 * 2048 + 3 * 2048),
        ({"fc_norm": True, "eagle_config": {**IDS, "norm_before_fc": True}}, 6 * 4096),
    ],
)
def test_a_draft_reads_as_many_hidden_states_as_its_file_says(change: dict[str, Any], more: int) -> None:
    """vllm/model_executor/models/llama_eagle3.py: fc of all joined, and norms of each or of all before it."""
    assert imported("LlamaForCausalLMEagle3", **{**DRAFT, **change}).model.parameters == EAGLE_3 + more


@pytest.mark.parametrize(
    "change",
    [
        {"mlp_bias": True},
        {"use_qk_norm": True},
        {"eagle_config": {"use_aux_hidden_state": False}},
        {"eagle_config": {"use_mtp_layernorm": True}},
        {"eagle_config": {"another": 1}},
        {"eagle_config": {"eagle_aux_hidden_state_layer_ids": "1"}},
        {"eagle_config": [1]},
    ],
)
def test_drafts_of_other_shapes_are_not_counted(change: dict[str, Any]) -> None:
    assert imported("LlamaForCausalLMEagle3", **{**DRAFT, **change}).model.parameters is None


def test_a_draft_under_a_whole_model_s_name_is_told_of() -> None:
    found = imported("LlamaForCausalLM", **DRAFT)
    assert "draft_vocab_size is a draft's key: --assume architectures=LlamaForCausalLMEagle3" in texts(found.notes)[0]
    text = json.dumps({**DRAFT, "architectures": ["LlamaForCausalLM"]})
    assumed = {"architectures": "Eagle3LlamaForCausalLM"}
    assert import_config(text, "config.json", "some-model", assumed).model.parameters == EAGLE_3


@pytest.mark.parametrize("name", ["A\nerror: forged", "A\r\x1b[2J\u2028B", "model\x85type"])
def test_a_name_cannot_forge_a_line(kvcalc: Kvcalc, tmp_path: Any, name: str) -> None:
    for key, value in (
        ("architectures", [name]),
        ("model_type", name),
        ("layer_types", [name]),
        (f"kv {name} heads", 3),
    ):
        file = tmp_path / "config.json"
        file.write_text(json.dumps({**LLAMA, key: value}))
        run = kvcalc("models", "show", str(file))
        for line in (run.stdout + run.stderr).splitlines():
            assert line.isprintable()
            assert not line.startswith(("error: forged", "B", "type"))


def test_a_classifier_over_pipeline_stages_divides_evenly(kvcalc: Kvcalc, tmp_path: Any) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**LLAMA, "architectures": ["LlamaForSequenceClassification"], "num_labels": 1}))
    run = kvcalc("estimate", str(file), "--pp", "2", "--json")
    assert json.loads(run.stdout)["memory"]["per_rank"]["weights_bytes"] == 7_504_928_768


@pytest.mark.parametrize(
    "more",
    [
        {"vision_config": {"hidden_size": 8}},
        {"mm_vision_tower": "openai/clip-vit-large-patch14-336"},
        {"visual": {"width": 1664}},
        {"img_processor": {"name": "clip_vision_model"}},
        {"audio_processor": {"name": "cascades"}},
    ],
)
def test_what_stands_beside_a_text_model_is_not_counted_as_one(more: dict[str, Any]) -> None:
    found = imported("LlamaForCausalLM", **more)
    assert found.model.parameters is None
    at_least = "at least 8,030,261,248 for the text model; --parameters N or --weights"
    assert f"what {next(iter(more))} describes is not known, {at_least}" in texts(found.notes)[0]


def test_tokens_that_stand_for_images_are_no_tower() -> None:
    told = {"image_token_id": 128_000, "mm_tokens_per_image": 256, "vision_start_token_id": 5, "video_token_index": 3}
    assert imported("LlamaForCausalLM", **told).model.parameters == LLAMA_3_8B
