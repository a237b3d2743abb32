"""The card, the ranks, the sampler and the experts that a log tells of. Figures are those of public logs."""

from __future__ import annotations

from typing import Any

import pytest
from vllm_start_ups import RANKS, V0_6_6, V0_10_2, V0_19, V0_31

import kvcalc as package


def test_the_card_is_the_one_that_the_log_names_or_whose_memory_it_prints(log: Any) -> None:
    named = package.capacity_from_log(log(V0_19))
    assert named.gpus is not None
    assert named.gpus.gpu == "h100-sxm"
    assert not any(each.code == "card-taken" for each in named.notes)
    by_memory = package.capacity_from_log(log(V0_31))
    assert any(each.code == "card-taken" for each in by_memory.notes)
    small = package.capacity_from_log(log(V0_31.replace("78.8/79.25", "21.5/22.40"))).gpus
    assert small is not None
    assert small.memory_bytes == int(22.40 * 2**30)


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


BY_CACHE = """\
INFO [utils.py:302] non-default args: {'model': 'Qwen/Qwen2.5-3B-Instruct', 'dtype': 'half', 'max_model_len': 4096}
INFO 03-12 10:00:01 [scheduler.py:224] Chunked prefill is enabled with max_num_batched_tokens=2048.
(EngineCore pid=9) INFO 03-12 [core.py:101] Initializing a V1 LLM engine (v0.17.0) with config: quantization=None
(EngineCore pid=9) INFO 03-12 10:00:20 [gpu_model_runner.py:4500] Model loading took 5.79 GiB memory and 3.0 seconds
(EngineCore pid=9) INFO 03-12 10:00:30 [gpu_worker.py:436] Available KV cache memory: 14.74 GiB
(EngineCore pid=9) INFO 03-12 10:00:30 [kv_cache_utils.py:1711] GPU KV cache size: 429,328 tokens
"""
"""What github.com/KevinHuang8/Augment_QA, vllm.log prints, whose card it does not name."""


def test_a_card_that_a_log_does_not_name_is_told_by_the_memory_of_its_cache(log: Any) -> None:
    """It was compared with an H100, and 328 % off."""
    result = package.capacity_from_log(log(BY_CACHE))
    assert result.gpus is not None
    assert round((result.gpus.memory_bytes or 0) / 2**30) in {23, 24}
    row = result.row("tokens")
    assert row is not None
    assert abs(row.difference or 1) < 0.03
    (note,) = (each.text for each in result.notes if each.code == "card-taken")
    assert "which is then no test of the prediction; what share of its memory is used is assumed too; " in note
    assert "more would do" in note
    assert result.card_by_cache
    assert result.judged is result.row("tokens, given the printed memory")
    assert result.judged is not None
    assert not result.differs


def test_tokens_that_do_not_follow_from_the_printed_memory_differ_on_a_card_told_by_it(log: Any) -> None:
    """The card has whatever memory makes the tokens nearly right otherwise."""
    other = package.capacity_from_log(log(BY_CACHE.replace("429,328", "380,000")))
    assert other.verdict == "tokens, given the printed memory: 12.98% off, more than 5%"
    assert not package.capacity_from_log(log(BY_CACHE), gpu="rtx3090").card_by_cache


def test_a_card_of_a_name_that_is_not_known_is_of_the_maker_that_the_name_tells(log: Any) -> None:
    line = "INFO 03-12 10:00:02 [fused_moe.py:1] Using E=8,N=768,device_name=AMD_Instinct_MI999X.json\n"
    result = package.capacity_from_log(log(BY_CACHE.replace("(EngineCore", line + "(EngineCore", 1)))
    assert result.log.device == "AMD Instinct MI999X"
    assert result.scenario.gpu.vendor == "AMD"


def test_a_card_that_is_like_none_has_the_memory_that_its_cache_tells(log: Any) -> None:
    result = package.capacity_from_log(log(BY_CACHE.replace("14.74", "24.74").replace("429,328", "720,560")))
    assert result.gpus is not None
    assert result.gpus.gpu == "rtx3090"
    assert round((result.gpus.memory_bytes or 0) / 2**30, 1) == 34.7
    row = result.row("tokens")
    assert row is not None
    assert abs(row.difference or 1) < 0.01


def test_a_card_that_is_given_wins_over_what_the_cache_tells(log: Any) -> None:
    result = package.capacity_from_log(log(BY_CACHE), gpu="l40s")
    assert result.gpus is not None
    assert result.gpus.gpu == "l40s"


@pytest.mark.parametrize("version", ["0.1.dev1+gda1daf40b", "v0.1.dev1+g4d2a68d64.d20260816", "0.0.0.dev0"])
def test_a_build_without_tags_says_no_version(log: Any, version: str) -> None:
    """jethac/dgx-spark-hijinks, gemma4-12b: setuptools_scm found no tag, and the log is no older than any."""
    result = package.capacity_from_log(log(BY_CACHE.replace("v0.17.0", version)), gpu="rtx3090")
    assert result.log.version is None
    assert "version-not-logged" in {each.code for each in result.notes}


def test_blocks_that_a_server_was_told_explain_its_tokens(log: Any) -> None:
    told = BY_CACHE.replace("'dtype'", "'num_gpu_blocks_override': 128, 'dtype'").replace("429,328", "2,048")
    row = package.capacity_from_log(log(told), gpu="rtx3090").row("tokens")
    assert row is not None
    assert "num_gpu_blocks_override 128" in (row.why or "")


def test_a_setting_that_an_excerpt_lacks_is_told_by_its_tokens(log: Any) -> None:
    """phivan3008/meeting-translator, vllm_serve.log from its weights on: states are kept twice with prefix caching."""
    excerpt = (
        "INFO 08-12 04:45:57 [gpu_model_runner.py:5405] Model loading took 27.67 GiB memory and 23.71 seconds\n"
        "INFO 08-12 04:47:25 [gpu_worker.py:563] Available KV cache memory: 41.03 GiB\n"
        "INFO 08-12 04:47:25 [kv_cache_utils.py:2235] GPU KV cache size: 292,522 tokens\n"
        "INFO 08-12 04:47:25 [kv_cache_utils.py:2236] Maximum concurrency for 4,096 tokens per request: 71.42x\n"
    )
    result = package.capacity_from_log(log(excerpt), "qwen3.6-27b-fp8", gpu="h100")
    row = result.row("tokens, given the printed memory")
    assert row is not None
    assert "enable-prefix-caching=true" in (row.why or "")
    told = {"enable-prefix-caching": "true"}
    row = package.capacity_from_log(log(excerpt), "qwen3.6-27b-fp8", gpu="h100", engine_option=told).row(row.name)
    assert row is not None
    assert row.predicted == row.printed == 292_522


def test_a_value_that_is_tried_and_refused_refuses_no_log(log: Any) -> None:
    """Prefix caching before 0.26 keeps states by a chunk size that is not known of this model."""
    excerpt = (
        "INFO [api_server.py:1] vLLM API server version 0.13.0\n"
        "INFO [gpu_worker.py:1] Available KV cache memory: 9.02 GiB\n"
        "INFO [kv_cache_utils.py:1] GPU KV cache size: 183,744 tokens\n"
    )
    model = "nvidia-nemotron-3-nano-30b-a3b-bf16"
    row = package.capacity_from_log(log(excerpt), model, gpu="h100", context=8192).row("tokens")
    assert row is not None
    assert row.why == "the layout differs too"


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        ("878,208", "the rank with the least memory decides, and the log may print another's"),
        ("440,608", "the layout of the cache differs, not its memory"),
        ("890,000", "the layout of the cache differs, not its memory"),
    ],
)
def test_a_rank_whose_memory_is_not_printed_may_hold_less(log: Any, tokens: str, told: str) -> None:
    """60.51 GiB of one of two ranks are 881,232 tokens of 36 x 4 x 128 x 2 x 2 bytes."""
    excerpt = (
        "(Worker_TP0 pid=33) INFO [gpu_worker.py:1] Available KV cache memory: 60.51 GiB\n"
        f"(EngineCore pid=22) INFO [kv_cache_utils.py:1] GPU KV cache size: {tokens} tokens\n"
    )
    found = package.capacity_from_log(log(excerpt), "qwen3-8b", gpu="h100", tp=2, context=32768)
    row = found.row("tokens, given the printed memory")
    assert row is not None
    assert row.why == told


def test_the_workspace_of_experts_is_consumed_from_0_27_on(log: Any) -> None:
    """Qwen3-235B on four RTX PRO 6000 (stored file id 57923772900): 1 GiB of it, and 0.76 above what is consumed."""
    usage = (
        "INFO [api_server.py:1] vLLM API server version 0.28.0\n"
        "INFO [gpu_worker.py:1] Model loading took 55.19 GiB memory and 9 seconds\n"
        "INFO [gpu_worker.py:1] Free memory on device (94.41/95.01 GiB) on startup. Desired GPU memory utilization is "
        "(0.9, 85.51 GiB). Actual usage is 56.89 GiB for consumed memory (weights + non-torch), 0.76 GiB for peak "
        "activation, and 0.32 GiB for CUDAGraph memory. Current kv cache memory in use is 27.85 GiB.\n"
        "INFO [gpu_worker.py:1] Available KV cache memory: 27.85 GiB\n"
    )
    given: dict[str, Any] = {"gpu": "rtxpro6000-bw", "tp": 4, "context": 32768, "utilization": "0.9"}
    options = {"max-num-seqs": "32", "max-num-batched-tokens": "8192"}
    result = package.capacity_from_log(log(usage), "qwen3-235b-a22b-2507-fp8", **given, engine_option=options)
    peak, consumed = result.row("temporary and CUDA graphs"), result.row("weights and non-torch memory")
    assert peak is not None
    assert abs(peak.difference or 1) < 0.15
    assert consumed is not None
    assert abs(consumed.difference or 1) < 0.01


def test_a_card_under_wsl_is_told_by_all_of_its_memory(log: Any) -> None:
    """Windows tells 15.93 GiB of a card of 16, Linux 15.44: a Radeon was meant (stored file id 69218136759)."""
    lines = (
        "(EngineCore) INFO [core.py:113] Initializing a V1 LLM engine (v0.29.0) ...\n"
        "INFO [gpu_model_runner.py:1] Starting to load model Qwen/Qwen3-4B-Instruct-2507...\n"
        "WARNING 10-01 12:00:09 [interface.py:615] Using 'pin_memory=False' as WSL is detected.\n"
        "INFO [gpu_worker.py:1] Free memory on device (14.7/15.93 GiB) on startup. Desired GPU memory utilization is "
        "(0.7, 11.15 GiB). Actual usage is 8.59 GiB for consumed memory (weights + non-torch), 1.09 GiB for peak "
        "activation, and 0.23 GiB for CUDAGraph memory. Current kv cache memory in use is 1.45 GiB.\n"
    )
    result = package.capacity_from_log(log(lines))
    assert (result.log.version, result.scenario.gpu.name) == ("0.29.0", "rtx5060-ti-16gb")
    (note,) = (each.text for each in result.notes if each.code == "card-taken")
    assert note.endswith("more have as much (--gpu NAME sets it)")
    radeon = "INFO [fused_moe.py:1] config file for device_name=AMD_Radeon_RX_7999_XTX\n"
    assert package.capacity_from_log(log(lines + radeon)).scenario.gpu.vendor == "AMD"
