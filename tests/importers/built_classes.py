"""transformers' classes of a model_type, and how many parameters they have where they are built."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

NOT_ASKED = {"model_type", "architectures", "quantization_config", "torch_dtype", "dtype", "time_step_limit"}
READ_AS = {"kimi_k2": "deepseek_v3", "minimax_m1": "minimax", "minimax_text_01": "minimax"}
"""Types without a class of their own, and one whose tensors are the same."""

OF_THEIR_OWN = {"mistral4": "Mistral4ForCausalLM"}
"""Classes that AutoModelForCausalLM does not give."""

TEXT_MODELS = {
    "muse_glimmer_text": "MuseGlimmerTextModel",
    "cosmos3_edge_text": "Cosmos3EdgeTextModel",
    "emu3_text_model": "Emu3TextModel",
    "granite4_vision_text": "Granite4VisionTextModel",
    "hunyuan_vl_text": "HunYuanVLTextModel",
    "paddleocr_vl_text": "PaddleOCRTextModel",
    "qwen2_5_omni_text": "Qwen2_5OmniThinkerTextModel",
    "qwen3_omni_moe_text": "Qwen3OmniMoeThinkerTextModel",
    "glm4v_moe_text": "Glm4vMoeTextModel",
    "glm4v_text": "Glm4vTextModel",
    "glm5_next_text": "Glm5NextTextModel",
    "glm_ocr_text": "GlmOcrTextModel",
    "granite_docling_text": "GraniteDoclingTextModel",
    "qwen2_vl_text": "Qwen2VLTextModel",
    "qwen2_5_vl_text": "Qwen2_5_VLTextModel",
    "qwen3_vl_text": "Qwen3VLTextModel",
    "qwen3_vl_moe_text": "Qwen3VLMoeTextModel",
}
"""Classes without an output head, which only the class around them has."""


def configuration_class(model_type: str) -> Any:
    """The class of its configuration."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return CONFIG_MAPPING[READ_AS.get(model_type, model_type)]


def configuration(values: dict[str, Any]) -> Any:
    """The class's reading of a file."""
    own = {key: value for key, value in values.items() if key not in NOT_ASKED}
    return configuration_class(values["model_type"])(**own)


def _named(name: str, config: Any) -> Any:
    """A class that transformers exports, or only its module does."""
    import transformers

    found = getattr(transformers, name, None)
    if found is None:
        module = type(config).__module__.replace("configuration_", "modeling_")
        found = getattr(import_module(module), name)
    return found(config)


def built_parameters(values: dict[str, Any], only: str = "") -> int:
    """Parameters of a model of this file, built without memory; only those of such names."""
    import torch
    import transformers
    from transformers.initialization import no_init_weights

    model_type = values["model_type"]
    name = {**OF_THEIR_OWN, **TEXT_MODELS}.get(model_type)
    with torch.device("meta"), no_init_weights():
        config = configuration(values)
        auto: Any = transformers.AutoModelForCausalLM
        model = auto.from_config(config) if name is None else _named(name, config)
        model.tie_weights()  # left out with the initial values
    parameters = sum(each.numel() for name, each in model.named_parameters() if re.search(only, name))
    if model_type == "longcat_flash":  # whose class allocates matrices of experts without weights
        parameters -= (
            config.num_layers * config.zero_expert_num * 2 * config.expert_ffn_hidden_size * config.hidden_size
        )
    has_no_head = not only and model_type in TEXT_MODELS and not getattr(config, "tie_word_embeddings", False)
    return int(parameters + (config.vocab_size * config.hidden_size if has_no_head else 0))


def built_wrapper(values: dict[str, Any]) -> tuple[str, int]:
    """The file that the class of a wrapper writes of these values, and its parameters."""
    import torch
    import transformers
    from transformers.initialization import no_init_weights

    config = configuration(values)
    with torch.device("meta"), no_init_weights():
        auto: Any = transformers.AutoModelForMultimodalLM
        model = auto.from_config(config)
        model.tie_weights()  # left out with the initial values
    return str(config.to_json_string(use_diff=False)), sum(each.numel() for each in model.parameters())
