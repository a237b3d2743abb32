"""A config.json that transformers' class has read and written again describes the same caches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import DATA

from kvcalc import KvcalcError
from kvcalc.importers import import_config

CONFIGS: dict[str, dict[str, Any]] = {
    hub_id: values
    for name in ("configs.json", "configs_written.json")
    for hub_id, values in json.loads((DATA / name).read_text(encoding="utf-8")).items()
}
NO_CLASS = {
    "baichuan",
    "bailing_moe",
    "chatglm",
    "deepseek_v41",
    "internlm2",
    "kimi_k3",
    "minimax_m3",
    "phi-msft",
    "step3_vl",
    "step3p7",
}
"""Model types whose code is published beside their checkpoints, or whose file here is refused."""


TOWER = {"model_type": "tower"}
"""What stands in the files here where the published ones have a vision or an audio tower."""


def caches(values: dict[str, Any], **assumed: Any) -> list[tuple[str, ...]]:
    model = import_config(json.dumps(values), "config.json", "some-model", assumed).model
    return [tuple(each.label for each in layer) for layer in model.sequence()]


def written_again(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    own = {key: {} if value == TOWER else value for key, value in values.items()}
    CONFIG_MAPPING[values["model_type"]].from_dict(own).save_pretrained(folder)
    again: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return again


@pytest.mark.parametrize("hub_id", [each for each in CONFIGS if CONFIGS[each]["model_type"] not in NO_CLASS])
@pytest.mark.torch
def test_what_transformers_writes_is_the_same_model(hub_id: str, tmp_path: Path) -> None:
    values = CONFIGS[hub_id]
    assert caches(written_again(values, tmp_path)) == caches(values)


GEMMA4: dict[str, Any] = {
    "model_type": "gemma4_text",
    "hidden_size": 5376,
    "num_hidden_layers": 6,
    "num_attention_heads": 32,
    "num_key_value_heads": 16,
    "head_dim": 256,
    "sliding_window": 1024,
    "dtype": "bfloat16",
    "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
}
SLIDES = ("gqa 32/16 x 256, window 1,024",)


@pytest.mark.torch
def test_a_layer_has_the_heads_that_per_layer_config_gives_it(tmp_path: Path) -> None:
    own = {**GEMMA4, "attention_k_eq_v": True, "per_layer_config": {"5": {"head_dim": 512, "num_key_value_heads": 4}}}
    assert caches(own) == [SLIDES] * 5 + [("gqa 32/4 x 512",)]
    assert caches(written_again(own, tmp_path)) == caches(own)
    earlier = {**GEMMA4, "attention_k_eq_v": True, "global_head_dim": 512, "num_global_key_value_heads": 4}
    assert caches(earlier) == caches(own)
    assert caches(own, per_layer_config=None) == [SLIDES] * 5 + [("gqa 32/16 x 512",)]


@pytest.mark.parametrize(
    ("keys", "last"),
    [
        ({"per_layer_config": {}}, "gqa 32/16 x 256"),
        ({"per_layer_config": {"05": {"head_dim": 128}}}, "gqa 32/16 x 128"),
        ({"per_layer_config": {"5": {"num_key_value_heads": 32}}, "global_head_dim": 512}, "mha 32 x 256"),
        ({"num_global_key_value_heads": 4}, "gqa 32/16 x 512"),
        ({"num_global_key_value_heads": 4, "attention_k_eq_v": True}, "gqa 32/4 x 512"),
    ],
)
@pytest.mark.torch
def test_gemma_4_reads_keys_as_its_class_does(keys: dict[str, Any], last: str) -> None:
    from transformers.models.gemma4.configuration_gemma4 import Gemma4TextConfig

    theirs = Gemma4TextConfig.from_dict({**GEMMA4, **keys}).per_layer_config[5]
    assert last.endswith(f" x {theirs.head_dim}")
    assert last.startswith(f"gqa 32/{theirs.num_key_value_heads}") or theirs.num_key_value_heads == 32
    assert caches({**GEMMA4, **keys})[5] == (last,)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"6": {}}, "per_layer_config has '6', which is none of 6 layers"),
        ({"x": {}}, "per_layer_config has 'x'"),
        ({"5": {}, "05": {}}, "per_layer_config has '05'"),
        ({"5": 7}, "5 is 7, no mapping"),
        ([1], "per_layer_config is [1], no mapping"),
        ({"5": {"skip": ["attention"]}}, "per_layer_config skips parts of layer 5"),
        ({"5": {"sliding_window": 512}}, "sliding_window is 512, which this family's layers do not have"),
        ({"5": {"n_kv_heads": 4}}, "n_kv_heads is 4, which this family's layers do not have"),
        ({"5": {"num_key_value_heads": 5}}, "5 KV heads do not divide 32 heads"),
    ],
)
def test_what_per_layer_config_may_not_say(said: Any, message: str) -> None:
    with pytest.raises(KvcalcError) as error:
        caches({**GEMMA4, "per_layer_config": said})
    assert message in str(error.value)


def test_per_layer_config_is_refused_where_the_family_does_not_read_it() -> None:
    llama = {key: value for key, value in GEMMA4.items() if key not in {"layer_types", "sliding_window"}}
    llama |= {"model_type": "llama", "per_layer_config": {"1": {"num_key_value_heads": 2}}}
    with pytest.raises(KvcalcError, match="per_layer_config=null takes it as absent"):
        caches(llama)
    assert (
        caches(llama, per_layer_config=None) == caches({**llama, "per_layer_config": {}}) == [("gqa 32/16 x 256",)] * 6
    )


def test_step_takes_sliding_heads_from_per_layer_config() -> None:
    step = {**GEMMA4, "model_type": "step3p5", "num_sliding_attention_heads": 48}
    own = {"per_layer_config": {str(index): {"num_attention_heads": 48} for index in range(5)}}
    assert caches({**step, **own}) == caches(step) == [("gqa 48/16 x 256, window 1,024",)] * 5 + [("gqa 32/16 x 256",)]


@pytest.mark.parametrize(("older", "newer"), [("mamba", "linear_attention"), ("attention", "full_attention")])
@pytest.mark.torch
def test_layer_types_have_older_names(older: str, newer: str) -> None:
    from transformers.configuration_utils import remap_legacy_layer_types

    assert remap_legacy_layer_types([older]) == [newer]
    for hub_id, values in CONFIGS.items():
        for key in ("layer_types", "layers_block_type"):
            if older in (types := values.get(key) or []):
                assert caches({**values, key: [newer if each == older else each for each in types]}) == caches(
                    values
                ), hub_id
