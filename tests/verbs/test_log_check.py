"""Printed figures beside predicted ones. The logs are those of tests/logs, the figures of public logs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Kvcalc
from vllm_start_ups import BOTH, DOES_NOT_FIT, RANKS, V0_6_6, V0_10_2, V0_19, V0_31

import kvcalc as package
from kvcalc.errors import KvcalcError

GIB = 2**30
SHIFTED = V0_31.replace("460,496", "360,496").replace("3.51x", "2.75x")


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """Writes a log and gives its path."""

    def write(text: str) -> str:
        path = tmp_path / "server.log"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def rows(printed: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(printed)["rows"]}


def test_a_start_that_compiled_nothing_explains_more_cache(kvcalc: Kvcalc, log: Any) -> None:
    """Llama 3 8B of 0.31 with 1.01 GiB of an embedding that a start makes as it compiles, or 0.24 without."""
    told = kvcalc("capacity", "--from-log", log(V0_31), "--gpu", "a100-80gb", "--json")
    assert "one that finds what it compiled before has" in rows(told.stdout)["cache memory"]["why"]


def test_each_figure_stands_beside_the_printed_one(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_31), "--gpu", "a100-80gb", "--json")
    assert told.code == 0, told.stderr
    found = rows(told.stdout)
    assert found["tokens"]["printed"] == 460496
    assert found["tokens"]["unit"] == "tokens"
    assert found["concurrency"]["printed"] == 3.51
    assert found["cache memory"]["printed"] == round(56.21 * GIB)
    assert found["cache memory"]["unit"] == "bytes"
    assert found["cache memory"]["as_printed"] == "56.21 GiB"
    for row in found.values():
        if row["printed"] and row["predicted"] is not None and isinstance(row["printed"], int):
            assert row["difference"] == pytest.approx(row["predicted"] / row["printed"] - 1, rel=1e-6, abs=1e-8)


def test_tokens_are_predicted_of_the_printed_memory_too(log: Any) -> None:
    """460,496 tokens in 56.21 GiB, as stored file 70682754770 has them."""
    found = package.capacity_from_log(log(V0_31), gpu="a100-80gb").row("tokens, given the printed memory")
    assert found is not None
    assert found.predicted_low is not None
    assert found.predicted_high is not None
    assert found.predicted_low <= 460496 <= found.predicted_high
    assert found.predicted_high - found.predicted_low < 200


def test_the_options_that_are_written_give_the_printed_tokens(kvcalc: Kvcalc, log: Any) -> None:
    result = package.capacity_from_log(log(V0_31), gpu="a100-80gb")
    assert result.exact.tokens == 460496
    words = result.exact.command.split()
    assert words[:3] == ["kvcalc", "capacity", "llama-3-8b"]
    assert json.loads(kvcalc(*words[1:], "--json").stdout)["tokens"] == 460496
    assert result.exact.parts[0::2] == ("--weights", "--temporary", "--overhead")


def test_the_parts_that_are_written_give_the_printed_tokens_too(kvcalc: Kvcalc, log: Any) -> None:
    result = package.capacity_from_log(log(V0_31), gpu="a100-80gb")
    assert result.exact.as_printed
    words = [*result.exact.command.split()[1:-2], *result.exact.parts, "--json"]
    assert json.loads(kvcalc(*words).stdout)["tokens"] == 460496


def test_what_does_not_give_the_printed_figures_is_not_told_to(kvcalc: Kvcalc, log: Any) -> None:
    """Two ranks hold twice the printed tokens in the printed memory, 8-bit formats too."""
    for options in (("--tp", "2"), ("--cache-dtype", "fp8")):
        told = kvcalc("capacity", "--from-log", log(V0_31), "--gpu", "a100-80gb", *options)
        assert "as printed with" not in told.stdout
        assert "nearest: --engine-option kv-cache-memory-bytes=" in told.stdout


def test_blocks_are_looked_for_where_no_tokens_are_printed(log: Any) -> None:
    """190,100 blocks in 34.81 GiB, as stored file 33122952765 has them."""
    result = package.capacity_from_log(log(BOTH))
    blocks = result.row("blocks")
    assert blocks is not None
    assert blocks.printed == 190100
    assert result.exact.as_printed
    assert result.exact.tokens == 190100 * 16


def test_more_than_five_percent_off_is_a_no(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(SHIFTED), "--gpu", "a100-80gb")
    assert told.code == 1
    assert "360,496" in told.stdout
    assert "more than 5%" in told.stderr


def test_blocks_are_judged_where_no_tokens_are_printed(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(BOTH.replace("190100", "100100")))
    assert told.code == 1
    assert "blocks: " in told.stderr
    assert "more than 5%" in told.stderr


def test_concurrency_is_judged_where_nothing_else_is_printed(kvcalc: Kvcalc, log: Any) -> None:
    text = SHIFTED.replace("GPU KV cache size: 360,496 tokens, ", "")
    told = kvcalc("capacity", "--from-log", log(text), "--gpu", "a100-80gb")
    assert told.code == 1
    assert "concurrency: " in told.stderr


def test_no_tokens_at_all_are_a_no(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_31.replace("460,496", "0")), "--gpu", "a100-80gb")
    assert told.code == 1
    assert "tokens: 0 printed" in told.stderr


def test_memory_alone_is_not_judged(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "llama-3-8b", "--from-log", log("INFO Available KV cache memory: 56.21 GiB\n"))
    assert told.code == 0
    assert "not judged: the log prints none of tokens, blocks, concurrency" in told.stdout


REFUSED = "ERROR ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`\n"


@pytest.mark.parametrize("text", [DOES_NOT_FIT, REFUSED])
def test_a_start_that_failed_is_told(kvcalc: Kvcalc, log: Any, text: str) -> None:
    told = kvcalc("capacity", "llama-3-8b", "--from-log", log(text), "--gpu", "h100")
    assert told.code == 1
    assert "the log says that the server did not start" in told.stderr
    assert "such a server is predicted to start" in told.stderr
    told = kvcalc("capacity", "llama-3-8b", "--from-log", log(text), "--gpu", "h100", "--utilization", "0.2")
    assert told.code == 0
    assert "is predicted not to start" in told.stdout


def test_a_start_after_one_that_failed_is_compared(log: Any) -> None:
    assert package.capacity_from_log(log(DOES_NOT_FIT + V0_31)).log.refused is None
    assert package.capacity_from_log(log(V0_31 + DOES_NOT_FIT)).log.refused is not None


def test_a_log_without_figures_has_nothing_to_compare(kvcalc: Kvcalc, log: Any) -> None:
    text = "INFO vLLM server version 0.19.0, serving model meta-llama/Meta-Llama-3-8B\n"
    told = kvcalc("capacity", "--from-log", log(text))
    assert told.code == 2
    assert told.stdout == ""
    assert "nothing to compare" in told.stderr
    assert "Available KV cache memory" in told.stderr


def test_two_figures_of_one_rank_are_told(log: Any) -> None:
    text = "INFO GPU KV cache size: 476,000 tokens\nINFO GPU KV cache size: 100,000 tokens\n"
    result = package.capacity_from_log(log(text), "llama-3-8b", gpu="h100")
    told = [each.text for each in result.notes if each.code == "printed-twice"]
    several = "the log prints tokens 476,000 and 100,000, perhaps of several starts"
    assert told == [f"{several}: 100,000, the least, is taken"]
    assert "printed-twice" not in codes(package.capacity_from_log(log(V0_31)))


def test_a_printed_zero_has_no_difference(kvcalc: Kvcalc, log: Any) -> None:
    text = V0_19.replace("non-torch forward increase memory: 0.24GiB", "non-torch forward increase memory: 0.0GiB")
    found = rows(kvcalc("capacity", "--from-log", log(text), "--json").stdout)
    assert found["non-torch memory"]["printed"] == 0
    assert found["non-torch memory"]["difference"] is None


def test_what_is_given_wins_over_the_log(log: Any) -> None:
    result = package.capacity_from_log(
        log(V0_31), "llama-3-70b", tp=4, utilization="0.5", engine_option={"max_num_seqs": "8"}, context="4Ki"
    )
    assert result.model.name == "llama-3-70b"
    assert result.deployment.tp == 4
    assert result.workload.context == 4096
    told = {each.option: (each.value, each.source) for each in result.settings}
    assert told["--utilization"] == ("0.5", "given")
    assert told["max-num-seqs"] == ("8", "given")
    assert told["max-num-batched-tokens"] == ("2048", "log")


def test_options_of_the_command_line_win_too(kvcalc: Kvcalc, log: Any) -> None:
    options = ("--engine-option", "max_num_seqs=8", "--reserve", "x=1GiB", "--gpu", "h100", "--utilization", "0.9")
    told = json.loads(kvcalc("capacity", "--from-log", log(V0_31), *options, "--json").stdout)
    settings = {each["option"]: (each["value"], each["source"]) for each in told["settings"]}
    assert settings["max-num-seqs"] == ("8", "given")
    assert settings["--utilization"] == ("0.9", "given")
    assert told["gpus"]["utilization"] == 0.9
    less = json.loads(kvcalc("capacity", "--from-log", log(V0_31), *options[:2], *options[4:], "--json").stdout)
    kept = {row["name"]: row["predicted"] for row in told["rows"]}
    assert {row["name"]: row["predicted"] for row in less["rows"]}["cache memory"] == kept["cache memory"] + GIB


def test_formulas_can_stand_beside_a_log(kvcalc: Kvcalc, log: Any) -> None:
    asked = ("--gpu", "h100", "--engine", "exact", "--json")
    told = json.loads(kvcalc("capacity", "--from-log", log(V0_31), *asked).stdout)
    assert told["deployment"]["engine"] == "exact"
    assert told["exact"]["pool"][0] == "--cache-memory"


def test_the_screen_has_figures_reasons_and_options(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_31), "--gpu", "a100-80gb", "--explain")
    assert "460,496" in told.stdout
    assert "within the rounding of the printed memory" in told.stdout
    assert "--engine-option kv-cache-memory-bytes=" in told.stdout
    assert "in numbers" in told.stdout
    page = kvcalc("capacity", "--from-log", log(V0_31), "--gpu", "a100-80gb", "--format", "markdown").stdout
    assert "| **tokens** | **460,496** |" in page


def test_the_card_is_the_one_that_the_log_names_or_whose_memory_it_prints(log: Any) -> None:
    named = package.capacity_from_log(log(V0_19))
    assert named.gpus is not None
    assert named.gpus.gpu == "h100-sxm"
    assert not any(each.code == "card-taken" for each in named.notes)
    by_memory = package.capacity_from_log(log(V0_31))
    assert any(each.code == "card-taken" for each in by_memory.notes)
    small = package.capacity_from_log(log(V0_31.replace("78.8/79.25", "21.5/22.40"))).gpus
    assert small is not None
    assert small.memory_bytes == int(22.40 * GIB)


GRAPHS = (
    "CUDA graph memory profiling is enabled (default since v0.21.0). The current --gpu-memory-utilization=0.9000 is "
)
BY_GRAPHS = {  # of public logs (99sono/DockerBuildFiles)
    "rtx5090": ("0.39", f"{GRAPHS}equivalent to --gpu-memory-utilization=0.8878 without CUDA graph memory profiling."),
    "gb10": ("0.43", f"{GRAPHS}equivalent to --gpu-memory-utilization=0.8965 without CUDA graph memory profiling."),
    "rtx5090 of 0.19": (
        "0.83",
        "and increase --gpu-memory-utilization from 0.8000 to 0.8260 to maintain the same effective KV cache size.",
    ),
}


@pytest.mark.parametrize("card", BY_GRAPHS)
def test_a_log_without_its_cards_memory_tells_it_by_the_graphs(log: Any, card: str) -> None:
    """The estimate is so much of the utilization, which vLLM says (v1/worker/gpu_worker.py)."""
    estimate, line = BY_GRAPHS[card]
    text = (
        "INFO [core.py:109] Initializing a V1 LLM engine (v0.20.0) with config: model='Qwen/Qwen3-8B', "
        "max_seq_len=4096, tensor_parallel_size=1, quantization=None\n"
        f"INFO [gpu_model_runner.py:6042] Estimated CUDA graph memory: {estimate} GiB total\n"
        f"INFO [gpu_worker.py:440] Available KV cache memory: 3.07 GiB\nINFO [gpu_worker.py:455] {line}\n"
    )
    result = package.capacity_from_log(log(text))
    assert result.gpus is not None
    assert result.gpus.gpu == card.partition(" ")[0]


def test_ranks_that_share_a_node_are_on_no_machine_of_one_gpu(log: Any) -> None:
    """A Jetson has 64 GiB too, and is one GPU."""
    printed = V0_6_6.replace("(23.53GiB)", "(63.98GiB)")
    alone = package.capacity_from_log(log(printed)).gpus
    eight = package.capacity_from_log(log(printed.replace("tensor_parallel_size=1", "tensor_parallel_size=8"))).gpus
    assert alone is not None
    assert eight is not None
    assert alone.gpu.startswith("jetson")
    assert eight.gpu == "mi210"


@pytest.mark.parametrize(("tokens", "gpu"), [(8192, "h100-sxm"), (2048, "a100-80-sxm")])
def test_of_cards_alike_the_one_is_taken_whose_defaults_the_log_prints(log: Any, tokens: int, gpu: str) -> None:
    """vLLM takes 8,192 tokens a step on an H100, and 2,048 on an A100 of the same memory."""
    line = f"INFO Chunked prefill is enabled with max_num_batched_tokens={tokens}.\n"
    text = V0_31.replace(", \\\n'max_num_batched_tokens'", "").replace("'max_num_batched_tokens': 2048, ", "") + line
    result = package.capacity_from_log(log(text))
    assert result.gpus is not None
    assert result.gpus.gpu == gpu


@pytest.mark.parametrize("key", ["compile_ranges_split_points", "compile_ranges_endpoints"])
def test_tokens_of_a_step_are_the_last_that_is_compiled_for(log: Any, key: str) -> None:
    """From 0.22 no line of its own tells them (stored file 54492899325)."""
    told = f"enable_prefix_caching=True, compilation_config={{'mode': 3, '{key}': [512, 4096], 'compile_sizes': []}}"
    text = V0_19.replace("enable_prefix_caching=True", told)
    settings = {each.option: each.value for each in package.capacity_from_log(log(text)).settings}
    assert settings["max-num-batched-tokens"] == "4096"


@pytest.mark.parametrize(
    ("line", "version", "taken"),
    [
        ("Using FlashInfer for top-p & top-k sampling.", "0.10.2", "true"),
        ("FlashInfer is not available. Falling back to the PyTorch-native implementation", "0.10.2", None),
        ("FlashInfer is not available. Falling back to the PyTorch-native implementation", "0.11.0", None),
        ("FlashInfer is available, but it is not enabled. Falling back to the PyTorch", "0.22.1", "false"),
        ("Using FlashInfer for top-p & top-k sampling.", "0.22.1", None),
    ],
)
def test_a_log_tells_whose_sampler_is_installed(log: Any, line: str, version: str, taken: str | None) -> None:
    """What the version takes anyhow is not told."""
    text = V0_10_2.replace("0.10.2", version)
    text += f"(EngineCore_DP0 pid=9) INFO 09-20 10:00:05 [topk_topp_sampler.py:49] {line}\n"
    settings = {each.option: each.value for each in package.capacity_from_log(log(text)).settings}
    assert settings.get("use-flashinfer-sampler") == taken


@pytest.mark.parametrize(
    ("line", "version", "taken"),
    [
        ("Using 'VLLM_CUTLASS' NvFp4 MoE backend out of potential backends: ['A', 'B'].", "0.20.0", "cutlass"),
        ("Using 'VLLM_CUTLASS' NvFp4 MoE backend out of potential backends: ['A', 'B'].", "0.16.0", None),
        ("Using 'MARLIN' NvFp4 MoE backend out of potential backends: ['A', 'B'].", "0.20.0", None),
        ("non-default args: {'moe_backend': 'cutlass'}", "0.20.0", "cutlass"),
    ],
)
def test_a_log_tells_what_computes_experts(log: Any, line: str, version: str, taken: str | None) -> None:
    text = V0_10_2.replace("0.10.2", version)
    text += f"(EngineCore_DP0 pid=9) INFO 09-20 10:00:05 [nvfp4.py:142] {line}\n"
    settings = {each.option: each.value for each in package.capacity_from_log(log(text)).settings}
    assert settings.get("moe-backend") == taken


def test_graphs_that_take_nothing_from_the_cache_are_not_predicted(log: Any) -> None:
    """vLLM 0.19 prints an estimate of CUDA graphs and leaves the pool as it is."""
    graphs = package.capacity_from_log(log(V0_19)).row("CUDA graphs, estimated")
    assert graphs is not None
    assert (graphs.predicted, graphs.difference) == (None, None)
    assert "takes nothing" in (graphs.why or "")


def test_ranks_are_counted_by_the_names_of_their_workers(log: Any) -> None:
    result = package.capacity_from_log(log(RANKS), "llama-3-8b")
    assert result.deployment.tp == 2
    cache = result.row("cache memory")
    assert cache is not None
    assert cache.as_printed == "60.47 GiB"
    assert "ranks print 60.47 GiB to 60.51 GiB" in (cache.why or "")


def test_of_pipeline_stages_the_one_that_prints_is_compared(log: Any) -> None:
    """llm-d-incubation/llm-d-planner#205, vLLM 0.19.0, two stages: the first prints, the last samples."""
    text = (
        "INFO vLLM server version 0.19.0, serving model meta-llama/Llama-3.1-8B-Instruct\n"
        "INFO Model loading took 7.51 GiB memory and 8.1 seconds\nINFO Available KV cache memory: 66.54 GiB\n"
        "INFO GPU KV cache size: 1,075,312 tokens\n"
    )
    given: dict[str, Any] = {"gpu": "h100", "utilization": 0.95, "context": 8192, "pp": 2}
    result = package.capacity_from_log(log(text), **given)
    for name, most in (("cache memory", 0.002), ("weights", 0.002), ("tokens", 0.005)):
        row = result.row(name)
        assert row is not None
        assert row.difference is not None
        assert abs(row.difference) < most
    assert result.exact.tokens == 1075312
    last = package.capacity_from_log(log(text.replace("INFO Avail", "(Worker_PP1 pid=8) INFO Avail")), **given)
    cache = last.row("cache memory")
    assert cache is not None
    assert cache.predicted is not None
    first = result.row("cache memory")
    assert first is not None
    assert first.predicted is not None
    assert cache.predicted < first.predicted


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
    assert "weights-as-printed" in codes(unnamed)


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
    assert "weights-by-name" not in codes(given)


def codes(result: package.LogCheck) -> set[str]:
    return {each.code for each in result.notes}


def test_what_the_log_does_not_say_is_noted(log: Any) -> None:
    assert codes(package.capacity_from_log(log(RANKS), "llama-3-8b")) >= {"version-not-logged", "card-taken"}
    twice = package.capacity_from_log(log(V0_31 + V0_31))
    assert "several-starts" in codes(twice)
    assert twice.log.starts == 2
    named = V0_31.replace("meta-llama/Meta-Llama-3-8B", "someone/Llama-3-8B-Instruct")
    assert "model-by-name" in codes(package.capacity_from_log(log(named)))


def test_what_is_given_and_the_log_has_otherwise_is_told(log: Any) -> None:
    given: dict[str, Any] = {"tp": 2, "context": "4Ki", "utilization": "0.90", "gpu": "a100-80gb"}
    result = package.capacity_from_log(log(V0_19), "llama-3-70b", **given)
    told = [each.text for each in result.notes if each.code == "log-overridden"]
    assert told[0] == "the log has model llama-3-8b, llama-3-70b is taken"
    assert told[1] == "the log has gpu h100-sxm, --gpu a100-80-sxm is taken"
    assert set(told[2:]) == {
        "the log has tp 1, --tp 2 is taken",
        "the log has context 8192, --context 4Ki is taken",
        "the log has utilization 0.950000, --utilization 0.90 is taken",
    }
    own = package.capacity_from_log(log(V0_31), engine_option={"max_num_seqs": "8"})
    assert any(each.text.startswith("the log has max-num-seqs 256, ") for each in own.notes)


def test_what_is_given_as_the_log_has_it_is_not_told(log: Any) -> None:
    given: dict[str, Any] = {"tp": 1, "context": "8Ki", "utilization": "0.95", "gpu": "h100"}
    assert "log-overridden" not in codes(package.capacity_from_log(log(V0_19), "llama-3-8b", **given))
    assert "log-overridden" not in codes(package.capacity_from_log(log(RANKS), "llama-3-8b", context=4096))


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("gpu_memory_utilization", "95", "--utilization"),
        ("tensor_parallel_size", "3", "--tp"),
        ("max_num_seqs", "0", "--engine-option"),
    ],
)
def test_an_error_of_a_setting_of_the_log_names_the_log(
    kvcalc: Kvcalc, log: Any, name: str, value: str, option: str
) -> None:
    path = log(V0_31 + f"INFO non-default args: {{'{name}': {value}}}\n")
    told = kvcalc("capacity", "--from-log", path)
    assert told.code == 2
    assert f"--from-log: the log's {name} {value}: " in told.stderr
    assert option not in told.stderr.split(value)[0]


def test_an_error_of_an_option_that_is_given_names_the_option(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_19), "--tp", "3")
    assert told.code == 2
    assert "the log's" not in told.stderr


def test_another_engine_than_the_logs_is_refused(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_31), "--engine", "llama-cpp")
    assert told.code == 2
    assert "--engine llama-cpp: the log is vllm's" in told.stderr


@pytest.mark.parametrize(("version", "step"), [("0.40.1", "vllm@0.33.0"), ("0.5.5", "vllm@0.6.0")])
def test_a_version_beyond_those_known_is_refused_with_the_step_that_works(
    kvcalc: Kvcalc, log: Any, version: str, step: str
) -> None:
    path = log(V0_31.replace("0.31.0", version))
    told = kvcalc("capacity", "--from-log", path)
    assert told.code == 2
    assert f"--engine {step} compares" in told.stderr
    assert kvcalc("capacity", "--from-log", path, "--engine", step).code in {0, 1}


def test_another_version_than_the_logs_is_told(log: Any) -> None:
    result = package.capacity_from_log(log(V0_31), engine="vllm@0.29")
    assert any("engine version 0.31.0" in each.text for each in result.notes if each.code == "log-overridden")
    assert "log-overridden" not in codes(package.capacity_from_log(log(V0_31), engine="vllm@0.31.0"))


def test_what_the_log_does_not_say_is_told(log: Any) -> None:
    given: dict[str, Any] = {"cache_dtype": "fp8", "engine_option": {"enforce-eager": "true"}}
    result = package.capacity_from_log(log(V0_31), **given)
    assert [each.data["settings"] for each in result.notes if each.code == "log-silent"] == [
        ("cache-dtype", "enforce-eager")
    ]
    assert "log-silent" not in codes(package.capacity_from_log(log(V0_31)))


def test_a_huge_log_is_read_up_to_a_limit(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvcalc.logs.log_text.MAX_BYTES", len(V0_31.encode()))
    result = package.capacity_from_log(log(V0_31 + "INFO: 127.0.0.1 GET /health\n" * 1000))
    assert result.log.cut
    assert "log-cut" in codes(result)


def test_nothing_known_is_refused_with_what_was_looked_for(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "llama-3-8b", "--from-log", log("hello\n"))
    assert told.code == 2
    assert "Available KV cache memory" in told.stderr


@pytest.mark.parametrize("file", ["no-such-file.log", "."])
def test_a_file_that_cannot_be_read_is_refused(kvcalc: Kvcalc, file: str) -> None:
    told = kvcalc("capacity", "--from-log", file)
    assert told.code == 2
    assert "cannot be read" in told.stderr


def test_memory_for_the_cache_beside_a_log_is_refused(kvcalc: Kvcalc, log: Any) -> None:
    assert kvcalc("capacity", "--from-log", log(V0_31), "--cache-memory", "1GiB").code == 2


def test_the_log_is_not_written_over(kvcalc: Kvcalc, log: Any) -> None:
    path = log(V0_31)
    told = kvcalc("capacity", "--from-log", path, "-o", path)
    assert told.code == 2
    assert "is the log that is read" in told.stderr
    assert Path(path).read_text(encoding="utf-8") == V0_31


def test_standard_input_is_read(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(V0_31.encode()), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", stdin)
    assert kvcalc("capacity", "--from-log", "-", "--gpu", "a100-80gb").code == 0


def test_csv_has_a_line_for_each_figure(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_31), "--gpu", "a100-80gb", "--format", "csv")
    found = {row["name"]: row for row in csv.DictReader(io.StringIO(told.stdout))}
    assert found["tokens"]["printed"] == "460496"
    assert set(found["tokens"]) >= {"name", "unit", "printed", "predicted", "difference"}


HOSTILE = {
    "tensor_parallel_size": ["0", "-3", "999999999999", "1e9", "nan", "[]"],
    "gpu_memory_utilization": ["7", "-1", "0", "nan", "1e-9"],
    "max_model_len": ["0", "-1", "9" * 40, "x"],
    "kv_cache_dtype": ["'../../etc/passwd'", "'fp9'", "''"],
    "max_num_seqs": ["0", "9" * 30, "'y'"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in HOSTILE.items() for value in values])
def test_a_hostile_setting_is_refused_or_computed(kvcalc: Kvcalc, log: Any, name: str, value: str) -> None:
    line = f"INFO non-default args: {{'{name}': {value}}}\n"
    told = kvcalc("capacity", "--from-log", log(V0_31 + line), "--gpu", "a100-80gb")
    assert told.code in {0, 1, 2}
    assert "Traceback" not in told.stderr


def test_every_field_is_documented(kvcalc: Kvcalc, log: Any) -> None:
    section = (ROOT / "docs" / "json.md").read_text(encoding="utf-8").split("## `kvcalc capacity --from-log`\n")[1]
    section = section.split("\n## ")[0]
    printed = json.loads(kvcalc("capacity", "--from-log", log(V0_31), "--json").stdout)
    told = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
    assert told == set(printed)
    for name in ("log", "exact"):
        assert all(f"`{name}.{key}`" in section for key in printed[name])
    for name in ("rows", "settings"):
        assert all(f"`{key}`" in section for key in printed[name][0])


def test_another_model_than_the_logs_may_be_a_value(log: Any) -> None:
    model = package.load_model("llama-3-8b")
    assert package.capacity_from_log(log(RANKS), model).model.name == "llama-3-8b"
    with pytest.raises(KvcalcError, match="no-such-model"):
        package.capacity_from_log(log(RANKS), "no-such-model")
