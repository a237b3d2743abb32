"""Keys that a config.json leaves out mean what the model's class takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import written_defaults

from kvcalc.importers.config_json.defaults import class_defaults
from kvcalc.importers.config_json.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.mark.torch
def test_defaults_are_those_of_the_classes() -> None:
    kept = json.loads(written_defaults.PATH.read_text(encoding="utf-8"))
    assert kept == written_defaults.written(), "python tests/importers/written_defaults.py --write"


@pytest.mark.torch
def test_the_first_layers_are_dense_where_the_class_makes_them_so() -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    asked = [name for name in FAMILIES if class_defaults(name).get("first_k_dense_replace")]
    assert len(asked) > 8
    for name in asked:
        config: Any = CONFIG_MAPPING["deepseek_v3" if name == "kimi_k2" else name]
        if getattr(config, "first_k_dense_replace", None) is None:
            sparse = config(num_hidden_layers=8).mlp_layer_types.index("sparse")
            assert class_defaults(name)["first_k_dense_replace"] == sparse, name


def test_sizes_are_filled_in_within_a_text_config_only() -> None:
    flat: Mapping[str, Any] = class_defaults("llama")
    assert "hidden_size" not in flat
    assert class_defaults("llama", nested=True)["hidden_size"] == 4096
    assert class_defaults("whisper", nested=True)["num_hidden_layers"] == 4
