"""What is meant where a config.json leaves a key out: defaults of the classes that read them.

`class_defaults.json` has what transformers 5.24.0's classes state themselves (models/<name>/configuration_<name>.py);
`tests/importers/written_defaults.py --write` renews it. Here is what the classes work out or take otherwise.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kvcalc.importers.config_json.expert_defaults import EXPERT_DEFAULTS
from kvcalc.importers.config_json.spellings import respelled

if TYPE_CHECKING:
    from collections.abc import Mapping

_OTHERWISE: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "deepseek_v4": {"partial_rotary_factor": 0.125},
        "smollm3": {"no_rope_layer_interval": 4},
        "falcon": {"parallel_attn": True},
        "cohere2": {"sliding_window_pattern": 4},
        "gemma3_text": {"sliding_window_pattern": 6},
        "afmoe": {"global_attn_every_n_layers": 4},
        **{
            name: {"full_attention_interval": 4}
            for name in ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "qwen4_exp_text")
        },
        "step3p7_text": {"head_dim": 128},
        "gemma3n_text": {"altup_num_inputs": 4, "laurel_rank": 64},
        **{name: {"global_head_dim": 512} for name in ("gemma4_text", "gemma4_unified_text", "diffusion_gemma_text")},
        "llama4_text": {"no_rope_layer_interval": 4, "attention_chunk_size": 8192},
        "laguna": {"gating": True},
        "plamo3": {"sliding_window_pattern": 8},
        "iquestloopcoder": {"loop_num": 2, "loop_window_size": 64},
        "plamo": {"n_shared_head": 8},
        "gated_deltanet": {"num_heads": 6, "head_dim": 256, "expand_v": 2, "conv_size": 4},
        "qwen3_vl_vision": {"deepstack_visual_indexes": [8, 16, 24]},
        "internvl_vision": {"image_size": [448, 448], "patch_size": [14, 14]},
        "kimi_k25_vision": {"num_channels": 3},
        "gemma4_audio": {"subsampling_conv_channels": [128, 32]},
        "delta_net": {"num_heads": 16, "expand_k": 1, "expand_v": 1, "conv_size": 4},
    }
)

_READ_AS = {"kimi_k2": "deepseek_v3", "youtu_llm": "youtu", "longcat_flash_ngram": "longcat_flash"}
"""Types without a class, and those whose class engines read them with (vLLM, vllm/transformers_utils/config.py)."""

SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
    "max_position_embeddings",
)
"""What a text_config leaves out where it is the class's own, as transformers writes one; a file that is not nested has
it all. LLaVA's text_config has little more than its model_type."""


@cache
def _of_classes() -> Mapping[str, Mapping[str, Any]]:
    path = Path(__file__).with_name("class_defaults.json")
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def class_defaults(model_type: str, *, nested: bool = False) -> Mapping[str, Any]:
    """Those of the class that reads this model_type. Output heads are not tied unless it is listed.

    Args:
        model_type: of the text model.
        nested: whether it is in a text_config.
    """
    name = _READ_AS.get(model_type, model_type)
    own = respelled(_of_classes().get(name, {}), name)
    stated = {key: value for key, value in own.items() if nested or key not in SIZES}
    more = {**_OTHERWISE.get(name, {}), **EXPERT_DEFAULTS.get(model_type, {})}
    return {"tie_word_embeddings": False, **stated, **more}
