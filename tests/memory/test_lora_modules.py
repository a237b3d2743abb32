"""Matrices that adapters are of, by class: those that transformers builds, and of which PEFT makes one pair each."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import kvcalc
from kvcalc.engines.linear_modules import modules_of_layer
from kvcalc.engines.module_names import NAMES
from kvcalc.importers import import_config

if TYPE_CHECKING:
    from kvcalc.model.model import Model

PRINTED = [
    ("phi-3.5-mini", {}, 25_165_824),
    ("llama-3.1-8b", {}, 41_943_040),
    ("deepseek-v3", {"lora_modules": "q_a_proj,q_b_proj,kv_a_proj_with_mqa,kv_b_proj,o_proj"}, 97_006_592),
    ("pythia-1.4b", {}, 12_582_912),
]
"""Parameters of rank 16 that peft 0.21.2 makes of classes of these shapes, target_modules all-linear or those."""


@pytest.mark.parametrize(("name", "options", "parameters"), PRINTED)
def test_adapters_have_the_parameters_that_peft_prints(name: str, options: dict[str, Any], parameters: int) -> None:
    plain = kvcalc.estimate(name, tp=1).memory.weights_bytes or 0
    assert (kvcalc.estimate(name, tp=1, lora=16, **options).memory.weights_bytes or 0) - plain == 2 * parameters


NO_CLASS = {
    *("glm4v_moe", "idefics3", "internvl", "internvl_chat", "kimi_vl", "llava", "llava_next", "mistral3", "qwen2_vl"),
    *("qwen2_5_vl", "qwen2_audio", "qwen2_5_omni", "qwen3_vl", "qwen3_vl_moe", "smolvlm", "voxtral", "glm4v", "phi3_v"),
    *("deepseek", "kimi_k2", "kimi_k25", "mimo", "minicpm", "baichuan", "bailing_moe", "chatglm", "internlm2", "qwen"),
    "gemma3",
}
"""Wrappers, whose text layers are another class's, and models with code of their own."""
SHAPES: dict[str, dict[str, Any]] = {
    **{name: {"head_dim": 128} for name in ("glm4_moe", "hunyuan_v1_dense", "ministral")},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 8},
    "nemotron": {"num_key_value_heads": 8},
    "dots1": {"n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 2},
    "gpt2": {"n_inner": 3072},
    "gpt_bigcode": {"n_inner": 3072},
    "gptj": {"n_inner": 16384},
    "codegen": {"n_inner": 16384},
}
"""Where a class has no shape of its own, or one that its config.json would not tell."""
UNTOLD: dict[str, dict[str, Any]] = {
    "bloom": {"intermediate_size": 4 * 64},
    "mpt": {"intermediate_size": 4 * 2048},
}
"""What a config.json does not say in the words of a model file: widths that a class has of itself."""
ROUTERS = {"gate", "router", "wg"}


@pytest.mark.torch
@pytest.mark.parametrize("model_type", sorted(NAMES.keys() - NO_CLASS))
def test_a_class_has_the_matrices_that_are_counted(model_type: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    automatic: Any = AutoModelForCausalLM
    kind: Any = CONFIG_MAPPING[model_type]
    layers = kind.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    config = kind(**{layers: 4}, **SHAPES.get(model_type, {}))
    with torch.device("meta"):
        built = automatic.from_config(config)
    theirs: Counter[str] = Counter()
    for path, module in built.named_modules():
        inside = any(part.isdigit() for part in path.split("."))
        if inside and (isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"):
            theirs[path.rpartition(".")[-1]] += sum(module.weight.shape)
    values = {**json.loads(config.to_json_string(use_diff=False)), "model_type": model_type, "dtype": "bfloat16"}
    model = import_config(json.dumps({**values, "architectures": [type(built).__name__]}), "config.json", "some").model
    model = replace(model, **UNTOLD.get(model_type, {}))
    assert {*NAMES[model_type].beside} <= theirs.keys()
    left = {*NAMES[model_type].beside, *(ROUTERS if model.is_mixture_of_experts else ())}
    assert counted(model) == {name: width for name, width in theirs.items() if name not in left}


def counted(model: Model) -> dict[str, int]:
    """Inputs and outputs of all matrices of a name, without routed experts and routers."""
    found: Counter[str] = Counter()
    for layer in range(model.num_layers):
        for each in modules_of_layer(model, layer):
            if each.experts is None and each.name not in ROUTERS:
                found[each.name] += each.inputs + sum(part.width for part in each.outputs)
    return dict(found)
