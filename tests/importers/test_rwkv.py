"""RWKV's config.json, as its authors and flash-linear-attention write it."""

from __future__ import annotations

from typing import Any

import pytest
from config_files import imported, kinds, refusal

FINCH: dict[str, Any] = {
    "model_type": "rwkv6",
    "hidden_size": 2560,
    "attention_hidden_size": 2560,
    "head_size": 64,
    "num_attention_heads": 64,
    "num_hidden_layers": 32,
    "intermediate_size": None,
    "vocab_size": 65536,
}
"""Of the 3B model, whose num_attention_heads is the width of a head."""

GOOSE: dict[str, Any] = {"model_type": "rwkv7", "hidden_size": 2048, "head_dim": 64, "num_hidden_layers": 24}


def state_bytes(values: dict[str, Any]) -> int:
    """What a sequence keeps, token shifts in two bytes and the rest in four."""
    found = 0
    for layer in imported(values).model.sequence():
        for tensor in (each for one in layer for each in one.attention.cached()):
            rows = 1 if tensor.rows is None else tensor.rows.value
            found += rows * tensor.row_elements * (4 if tensor.name == "state" else 2)
    return found


@pytest.mark.parametrize(
    ("values", "heads", "hidden", "layers"),
    [
        (FINCH, 40, 2560, 32),
        ({**FINCH, "model_type": "rwkv5"}, 40, 2560, 32),
        (
            {key: value for key, value in FINCH.items() if key not in {"head_size", "attention_hidden_size"}},
            40,
            2560,
            32,
        ),
        (
            {"model_type": "rwkv6", "hidden_size": 4096, "num_heads": 64, "expand_k": 1, "expand_v": 1, "n_layer": 32},
            64,
            4096,
            32,
        ),
        (GOOSE, 32, 2048, 24),
        ({**GOOSE, "value_dim": [2048] * 24, "num_heads": None}, 32, 2048, 24),
        ({**GOOSE, "head_dim": None, "num_heads": 32}, 32, 2048, 24),
    ],
)
def test_a_layer_keeps_a_matrix_for_each_head_and_two_inputs(
    values: dict[str, Any], heads: int, hidden: int, layers: int
) -> None:
    assert set(kinds(values)) == {f"rwkv {heads} x 64, shifts 2 x {hidden}"}
    assert state_bytes(values) == layers * (2 * hidden * 2 + heads * 64 * 64 * 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**FINCH, "hidden_size": 2560, "attention_hidden_size": 100}, "100 / 64 is no whole number"),
        (
            {"model_type": "rwkv6", "hidden_size": 2048, "num_heads": 4, "n_layer": 2},
            "expand_k and expand_v are not both 1",
        ),
        ({**GOOSE, "num_heads": 16, "head_dim": 64, "hidden_size": 2000}, "2000 / 64 is no whole number"),
        (
            {**{key: value for key, value in GOOSE.items() if key != "head_dim"}, "num_heads": 16},
            "it has no head_dim, whose default is 64, and num_heads asks for 128",
        ),
        ({**GOOSE, "value_dim": [4096] * 24}, "value_dim is not hidden_size"),
        ({**GOOSE, "attn": {"layers": [1], "num_heads": 8}}, "attn is {"),
    ],
)
def test_other_states_are_refused(values: dict[str, Any], message: str) -> None:
    assert message in refusal(values)


def test_num_heads_decides_beside_a_head_dim_of_null() -> None:
    assert set(kinds({**GOOSE, "head_dim": None, "num_heads": 16})) == {"rwkv 16 x 128, shifts 2 x 2048"}
    assert set(kinds({**GOOSE, "num_heads": 16})) == {"rwkv 32 x 64, shifts 2 x 2048"}
