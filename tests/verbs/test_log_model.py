"""The model, the weights and the version that a log tells of. Logs are those of tests/vllm_start_ups.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Kvcalc, codes
from vllm_start_ups import BOTH, RANKS, V0_10_2, V0_19, V0_31

import kvcalc as package


def test_a_log_without_a_model_is_refused_with_the_command_that_names_it(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(RANKS))
    assert told.code == 2
    assert told.stdout == ""
    assert "capacity MODEL --from-log FILE" in told.stderr


@pytest.mark.parametrize("name", ["nobody/never-heard-of-it", "/home/someone/models/never-heard-of-it"])
def test_a_model_that_is_not_known_is_refused_and_its_path_not_repeated(kvcalc: Kvcalc, log: Any, name: str) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_31.replace("meta-llama/Meta-Llama-3-8B", name)))
    assert told.code == 2
    assert "capacity MODEL --from-log FILE" in told.stderr
    assert "someone" not in told.stderr


@pytest.mark.parametrize(
    "path",
    [
        "/home/someone/Meta-Llama-3-8B",
        "/root/.cache/huggingface/hub/models--meta-llama--Meta-Llama-3-8B/snapshots/0123456789abcdef",
        "meta-llama/Meta-Llama-3-8B-Instruct",
    ],
)
def test_a_model_is_found_by_a_path_or_a_like_name(kvcalc: Kvcalc, log: Any, path: str) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_31.replace("meta-llama/Meta-Llama-3-8B", path)), "--json")
    assert json.loads(told.stdout)["model"]["name"] == "llama-3-8b"
    assert "someone" not in told.stdout + told.stderr


def test_a_quantised_copy_has_its_models_layers_and_its_own_weights(log: Any) -> None:
    copy = V0_31.replace("meta-llama/Meta-Llama-3-8B", "somebody/phi-2-fp8-dynamic")
    result = package.capacity_from_log(log(copy), context=2048)
    assert result.model.name == "phi-2"
    assert {each.option: each.value for each in result.settings}["--weight-dtype"] == "fp8"
    assert any(each.code == "weights-by-name" for each in result.notes)


def test_a_name_tells_the_format_also_where_the_models_file_has_parts(log: Any) -> None:
    """Those of gemma-4 are all in bf16."""
    copy = V0_31.replace("meta-llama/Meta-Llama-3-8B", "somebody/gemma-4-E4B-it-NVFP4")
    quantised = copy + "(EngineCore pid=9) INFO non-default args: {'quantization': 'compressed-tensors'}\n"
    result = package.capacity_from_log(log(quantised))
    assert {each.option: each.value for each in result.settings}["--weight-dtype"] == "nvfp4"
    unnamed = package.capacity_from_log(log(quantised.replace("-it-NVFP4", "-it")))
    assert "weights-as-printed" in codes(unnamed.notes)


def test_weights_of_an_unknown_format_are_taken_as_printed(log: Any) -> None:
    text = V0_31 + "(EngineCore pid=9) INFO non-default args: {'quantization': 'a_new_method'}\n"
    result = package.capacity_from_log(log(text))
    weights = result.row("weights")
    assert weights is not None
    assert weights.difference == pytest.approx(0, abs=1e-9)
    assert any(each.code == "weights-as-printed" for each in result.notes)


def test_v0_beside_v1_has_its_own_defaults(log: Any) -> None:
    result = package.capacity_from_log(log(BOTH))
    settings = {each.option: each.value for each in result.settings}
    assert settings["max-num-seqs"] == "320"
    assert settings["max-num-batched-tokens"] == "32768"
    assert settings["use-v1"] == "false"
    assert settings["--gpu"] == "rtx4090"
    assert float(settings["--utilization"]) == pytest.approx(37.18 / 47.50, abs=1e-4)
    tokens = result.row("blocks, given the printed memory")
    assert tokens is not None
    assert tokens.difference == pytest.approx(0, abs=0.0005)


def test_a_version_is_taken_by_the_wording(log: Any) -> None:
    text = V0_10_2[V0_10_2.index("Free memory") :]
    result = package.capacity_from_log(log(text), "qwen3-8b", gpu="rtx4090")
    assert result.engine_version == "0.26.0"
    assert any("wording" in each.text for each in result.notes if each.code == "version-not-logged")


@pytest.mark.parametrize(("between", "version"), [("\nINFO ", "0.27.1"), (", ", "0.33.0")])
def test_tokens_and_concurrency_stand_on_one_line_since_0_28(log: Any, between: str, version: str) -> None:
    """v1/core/kv_cache_utils.py of vLLM: two lines up to 0.27.1, one from 0.28.0."""
    concurrency = "Maximum concurrency for 8,192 tokens per request: 58.02x"
    text = f"INFO Available KV cache memory: 58.02 GiB\nINFO GPU KV cache size: 475,296 tokens{between}{concurrency}\n"
    result = package.capacity_from_log(log(text), "llama-3-8b", gpu="h100")
    assert result.engine_version == version
    assert any("the newest with the wording" in each.text for each in result.notes)
    assert result.row("concurrency") is not None


def test_settings_that_nobody_says_are_assumed(log: Any) -> None:
    text = "INFO Available KV cache memory: 56.21 GiB\n"
    said = {each.option: each.source for each in package.capacity_from_log(log(text), "llama-3-8b").settings}
    assert said["--gpu"] == said["--tp"] == said["--context"] == "assumed"
    said = {each.option: each.source for each in package.capacity_from_log(log(V0_19)).settings}
    assert said["--gpu"] == said["--tp"] == said["--context"] == "log"


def test_weights_that_are_given_are_not_told_to_be_the_logs(log: Any) -> None:
    copy = V0_31.replace("meta-llama/Meta-Llama-3-8B", "somebody/phi-2-fp8-dynamic")
    given = package.capacity_from_log(log(copy), context=2048, weight_dtype="bf16")
    assert "weights-by-name" not in codes(given.notes)
