"""The tables of rotations, from the keys that config.json has for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kvcalc.importers import import_config

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
GEMMA_3 = LLAMA | {"model_type": "gemma3_text", "head_dim": 64, "sliding_window": 512, "sliding_window_pattern": 2}
SCALED = {"rope_type": "linear", "factor": 8.0}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (LLAMA, (None, None)),
        (LLAMA | {"rope_scaling": SCALED}, (None, 8 * 4096)),
        (LLAMA | {"rope_scaling": {"type": "linear", "factor": 2.5}}, (None, 10_240)),
        (LLAMA | {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, (None, None)),
        (LLAMA | {"rope_scaling": {"rope_type": "default", "mrope_section": [8, 12, 12]}}, (None, 4 * 4096)),
        (LLAMA | {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.25}}, (16, None)),
        (LLAMA | {"partial_rotary_factor": 0.5}, (32, None)),
        (LLAMA | {"rotary_dim": 48}, (48, None)),
        (LLAMA | {"rotary_dim": 64}, (None, None)),
        # Sliding layers rotate by another base: a table more, as long as the model's positions.
        (GEMMA_3, (None, 2 * 4096)),
        (GEMMA_3 | {"rope_scaling": SCALED, "rope_local_base_freq": 10_000}, (None, 9 * 4096)),
        (GEMMA_3 | {"rope_parameters": {"full_attention": SCALED, "sliding_attention": {}}}, (None, 9 * 4096)),
        # What is no number says nothing.
        (LLAMA | {"rope_scaling": {"rope_type": "linear", "factor": "8"}}, (None, None)),
        (LLAMA | {"rope_scaling": {"rope_type": "linear", "factor": -1}}, (None, None)),
        (LLAMA | {"rope_scaling": ["linear"]}, (None, None)),
        (LLAMA | {"partial_rotary_factor": True}, (None, None)),
    ],
)
def test_tables_of_a_file(keys: dict[str, Any], expected: tuple[int | None, int | None]) -> None:
    model = import_config(json.dumps(keys), "config.json", "m").model

    assert (model.rotary_dim, model.rotary_positions) == expected
