"""use_sliding_window, max_window_layers, layer_types: which layers slide, against transformers' own classes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kvcalc import KvcalcError
from kvcalc.importers import import_config

SHAPE: dict[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "sliding_window": 4096,
}
LISTED = ["sliding_attention", "full_attention", "sliding_attention"] * 2
CLASSES = {"qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text", "mimo": "qwen2"}
"""The class of a flat file, or the one that the family's published code builds on."""

IF_USED = [
    "qwen2",
    "qwen2_moe",
    "qwen2_vl_text",
    "qwen2_5_vl_text",
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen3",
    "smollm3",
    "mimo",
]

CASES: dict[str, dict[str, Any]] = {
    "off": {"use_sliding_window": False, "max_window_layers": 2},
    "absent": {"max_window_layers": 2},
    "on": {"use_sliding_window": True, "max_window_layers": 3},
    "on from the first": {"use_sliding_window": True, "max_window_layers": 0},
    "on beyond the last": {"use_sliding_window": True, "max_window_layers": 28},
    "on and listed": {"use_sliding_window": True, "max_window_layers": 3, "layer_types": LISTED},
    "off and listed as full": {"use_sliding_window": False, "layer_types": ["full_attention"] * 6},
    "on without a window": {"use_sliding_window": True, "max_window_layers": 3, "sliding_window": None},
}


def ours(values: dict[str, Any], **assumed: Any) -> list[int | None]:
    model = import_config(json.dumps(values), "config.json", "some-model", assumed).model
    return [each.span.tokens if each.span else None for layer in model.sequence() for each in layer]


def theirs(values: dict[str, Any]) -> list[int | None]:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = CONFIG_MAPPING[CLASSES.get(values["model_type"], values["model_type"])].from_dict(values)
    types = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    return [config.sliding_window if each == "sliding_attention" else None for each in types]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("model_type", IF_USED)
@pytest.mark.torch
def test_layers_slide_where_the_class_lets_them(model_type: str, case: str) -> None:
    values = {**SHAPE, **CASES[case], "model_type": model_type}
    if case == "on without a window" and model_type == "qwen2_moe":
        assert ours(values) == [None] * 6  # the class calls them sliding, over no window
        return
    assert ours(values) == theirs(values)


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.torch
def test_qwen3_moe_has_no_list(used: bool) -> None:
    values = {**SHAPE, "model_type": "qwen3_moe", "use_sliding_window": used}
    assert ours(values) == theirs(values)


@pytest.mark.parametrize("marks", [[1, 0, 1, 1, 0, 1], None])
@pytest.mark.parametrize("interval", [2, 4])
@pytest.mark.torch
def test_smollm3_slides_where_nothing_is_rotated(marks: list[int] | None, interval: int) -> None:
    values = {**SHAPE, "model_type": "smollm3", "use_sliding_window": True}
    values |= {"no_rope_layers": marks, "no_rope_layer_interval": interval}
    assert ours(values) == theirs(values)


@pytest.mark.parametrize("model_type", ["mistral", "phi3", "starcoder2", "qwen2", "qwen3_moe", "dots1", "gemma2"])
def test_a_window_of_zero_is_none_and_one_below_is_refused(model_type: str) -> None:
    used = {"use_sliding_window": True} if model_type.startswith("qwen") else {}
    values = {**SHAPE, "model_type": model_type, **used, "max_window_layers": 0}
    assert set(ours({**values, "sliding_window": 0})) == {None}
    with pytest.raises(KvcalcError, match="sliding_window is -1, with which the class would hide every token"):
        ours({**values, "sliding_window": -1})
    assert set(ours({**values, "sliding_window": -1}, sliding_window=None)) == {None}


def test_a_window_of_zero_and_layers_listed_as_sliding_contradict_each_other() -> None:
    values = {**SHAPE, "model_type": "gemma2", "layer_types": LISTED, "sliding_window": 0}
    with pytest.raises(KvcalcError, match="sliding_window is 0, not a whole number from 1"):
        ours(values)


@pytest.mark.parametrize("flag", [{"use_sliding_window": False}, {}])
@pytest.mark.parametrize("model_type", IF_USED)
@pytest.mark.torch
def test_layers_that_slide_without_a_window_contradict_each_other(model_type: str, flag: dict[str, bool]) -> None:
    values = {**SHAPE, **flag, "model_type": model_type, "layer_types": LISTED, "max_window_layers": 3}
    assert not any(theirs(values)) or model_type == "smollm3"
    with pytest.raises(KvcalcError, match="layer_types has layers that slide, and use_sliding_window is not true"):
        ours(values)
    assert ours(values, use_sliding_window=True) == [4096, None, 4096] * 2
    assert ours(values, layer_types=None) == [None] * 6


ALTERNATE = [
    "gemma2",
    "gpt_oss",
    "vaultgemma",
    "olmo3",
    "muse_glimmer_text",
    "gemma3_text",
    "cohere2",
    "afmoe",
    "exaone4",
]


@pytest.mark.parametrize("layers", [5, 6, 7, 8])
@pytest.mark.parametrize("model_type", ALTERNATE)
@pytest.mark.torch
def test_layers_alternate_without_a_list_as_the_class_lets_them(model_type: str, layers: int) -> None:
    values = {**SHAPE, "model_type": model_type, "num_hidden_layers": layers, "head_dim": 64}
    assert ours(values) == theirs(values)


def test_a_period_by_another_name_must_agree() -> None:
    values = {**SHAPE, "model_type": "cohere2", "sliding_window_pattern": 3}
    assert ours({**values, "layer_switch": 3}) == [4096, 4096, None] * 2
    with pytest.raises(KvcalcError, match="layer_switch is 2"):
        ours({**values, "layer_switch": 2})
