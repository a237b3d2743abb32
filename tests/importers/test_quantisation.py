"""Quantised checkpoints: never counted in the dtype of computing, whichever file says so and in which words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from conftest import texts

from kvcalc import load_model
from kvcalc.catalogue import find_model
from kvcalc.importers import import_config

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Kvcalc

LLAMA: dict[str, Any] = {
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
PARAMETERS = 8_030_261_248

QUANTISED: dict[str, tuple[dict[str, Any], str]] = {
    "fp8": ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}, "fp8"),
    "GPTQ": ({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}, "gptq"),
    "AWQ": ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq"),
    "bitsandbytes": ({"quantization_config": {"load_in_4bit": True, "quant_method": "bitsandbytes"}}, "bitsandbytes"),
    "bitsandbytes, without flags": ({"quantization_config": {"quant_method": "bitsandbytes"}}, "bitsandbytes"),
    "ModelOpt": ({"quantization_config": {"quant_algo": "NVFP4", "kv_cache_quant_algo": None}}, "NVFP4"),
    "older compressed-tensors": ({"compression_config": {"quant_method": "sparseml"}}, "sparseml"),
    "MLX": ({"quantization": {"group_size": 64, "bits": 4}}, "4 bits"),
    "MLX, twice": ({key: {"bits": 8} for key in ("quantization", "quantization_config")}, "8 bits"),
    "MLX, beside null": ({"quantization": {"bits": 4}, "quantization_config": None}, "4 bits"),
    "a word": ({"quantization": "fp8"}, "fp8"),
    "a mark": ({"quantization": True}, "a method without a name"),
    "a list": ({"quantization_config": ["fp8"]}, "a method without a name"),
    "a method that ends a line": ({"quantization": {"quant_method": "x\nerror: y"}}, "a method without a name"),
}


def imported(changes: dict[str, Any]) -> Any:
    return import_config(json.dumps({**LLAMA, **changes}), "config.json", "some-model")


@pytest.mark.parametrize("case", QUANTISED)
def test_a_quantised_checkpoint_is_not_counted(case: str) -> None:
    changes, name = QUANTISED[case]
    found = imported(changes)
    assert found.model.parameters is None
    assert f"the checkpoint is quantised ({name})" in texts(found.notes)[0]
    assert f"--weights SIZE, or --parameters {PARAMETERS} --weight-dtype FORMAT" in texts(found.notes)[0]


@pytest.mark.parametrize("nothing", [None, {}, [], "", False, "none", {"quant_algo": None}])
def test_what_says_that_nothing_is_quantised_is_counted(nothing: Any) -> None:
    for key in ("quantization_config", "quantization", "compression_config"):
        found = imported({key: nothing})
        assert (found.model.parameters, found.notes) == (PARAMETERS, ())


def test_a_cache_alone_may_be_quantised() -> None:
    found = imported({"quantization_config": {"quant_algo": None, "kv_cache_quant_algo": "FP8"}})
    assert found.model.parameters == PARAMETERS
    assert texts(found.notes) == ("the checkpoint asks for a cache in fp8: --cache-dtype fp8",)


BESIDE = {
    "hf_quant_config.json": {
        "producer": {"name": "modelopt", "version": "0.29.0"},
        "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16},
    },
    "quantize_config.json": {"bits": 4, "group_size": 128, "desc_act": False, "sym": True},
    "quant_config.json": {"zero_point": True, "q_group_size": 128, "w_bit": 4, "version": "GEMM"},
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_config_json_reads_what_its_folder_reads(kvcalc: Kvcalc, tmp_path: Path, name: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**LLAMA, "quantization_config": None}))
    assert load_model(config).parameters == PARAMETERS
    (tmp_path / name).write_text(json.dumps(BESIDE[name]))
    by_file, by_folder = find_model(str(config)), find_model(str(tmp_path))
    assert by_file.model == by_folder.model
    assert by_file.notes == by_folder.notes
    assert by_file.model.parameters is None
    assert "quantised (NVFP4)" in texts(by_file.notes)[0] or "quantised (4 bits)" in texts(by_file.notes)[0]
    assert json.loads(kvcalc("estimate", str(config), "--json").stdout)["gpus"]["count"] is None


def test_a_file_beside_may_tell_of_the_cache_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "quantization_config": {"quant_method": "fp8"}}))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(BESIDE["hf_quant_config.json"]))
    notes = texts(find_model(str(tmp_path / "config.json")).notes)
    assert "quantised (fp8)" in notes[0]
    assert "the checkpoint asks for a cache in fp8: --cache-dtype fp8" in notes


def test_a_config_json_of_another_name_has_no_folder(tmp_path: Path) -> None:
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(BESIDE["hf_quant_config.json"]))
    (tmp_path / "other.json").write_text(json.dumps(LLAMA))
    assert load_model(tmp_path / "other.json").parameters == PARAMETERS


def test_bitsandbytes_with_both_flags_false_leaves_weights_as_they_are() -> None:
    neither = {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": False}
    assert imported({"quantization_config": neither}).model.parameters == PARAMETERS
    assert imported({"quantization_config": {**neither, "load_in_8bit": True}}).model.parameters is None
