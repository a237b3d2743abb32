"""vLLM's own argument parser takes the lines that kvcalc emits for its version, and reads what was meant.

    make test-live

The parser is the one of `vllm serve` (vllm/engine/arg_utils.py); nothing is started.
"""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from write_vllm_vectors import VERSION

from kvcalc.verbs.launch.of_verbs import launched

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "llama-3-70b",
        {"batch": 32, "tp": 4, "cache_dtype": "fp8", "utilization": "0.95", "dtype": "fp16", "weight_dtype": "fp8"},
        {
            "tensor_parallel_size": 4,
            "max_model_len": 8192,
            "max_num_seqs": 32,
            "kv_cache_dtype": "fp8",
            "gpu_memory_utilization": 0.95,
            "dtype": "float16",
            "quantization": "fp8",
        },
    ),
    (
        "deepseek-v3",
        {"tp": 4, "dp": 2, "dp_attention": True, "ep": 8, "gpu": "b200", "mtp": 1},
        {
            "data_parallel_size": 2,
            "enable_expert_parallel": True,
            "speculative_config": {"method": "mtp", "num_speculative_tokens": 1},
        },
    ),
    ("llama-3.1-405b", {"tp": 8, "pp": 2}, {"pipeline_parallel_size": 2, "distributed_executor_backend": "ray"}),
    (
        "llama-3.1-8b",
        {"lora": 16, "lora_modules": "q_proj,v_proj", "max_loras": 2},
        {"lora_target_modules": ["q_proj", "k_proj", "v_proj"], "max_loras": 2},
    ),
    ("llama-3.1-8b", {"lora": 12, "max_loras": 4}, {"enable_lora": True, "max_lora_rank": 16, "max_loras": 4}),
    (
        "gemma-3-27b",
        {
            "tp": 2,
            "engine_option": {
                "max-num-batched-tokens": "4096",
                "block-size": "32",
                "enable-prefix-caching": "false",
                "disable-hybrid-kv-cache-manager": "true",
                "enforce-eager": "true",
                "performance-mode": "throughput",
                "moe-backend": "cutlass",
            },
        },
        {
            "max_num_batched_tokens": 4096,
            "block_size": 32,
            "enable_prefix_caching": False,
            "disable_hybrid_kv_cache_manager": True,
            "enforce_eager": True,
            "performance_mode": "throughput",
            "moe_backend": "cutlass",
        },
    ),
    ("llama-3-8b", {"engine_option": {"kv-cache-memory-bytes": "20GiB"}}, {"kv_cache_memory_bytes": 20 * 2**30}),
    ("deepseek-v2-lite", {"tp": 2, "dcp": 2}, {"decode_context_parallel_size": 2}),
]


@pytest.mark.parametrize(("model", "options", "read"), CASES)
def test_the_parser_reads_what_was_meant(model: str, options: dict[str, Any], read: dict[str, Any]) -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs  # behind the pretended card
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    line = launched("capacity", "vllm", model, {"context": 8192, **options, "engine": f"vllm@{VERSION}"}).text
    told, serve, rest = line.partition("vllm serve ")  # before it, a version that is not the newest
    assert (serve, told[:2]) in {("vllm serve ", ""), ("vllm serve ", ": ")}
    _, *words = shlex.split(rest)
    parsed = vars(AsyncEngineArgs.add_cli_args(FlexibleArgumentParser()).parse_args(words))
    assert {name: parsed[name] for name in read} == read
