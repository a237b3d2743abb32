"""The lines of TensorRT-LLM's start-up log that are understood, with the versions that print each and where.

A small pool is made first, for the run that finds out what is free; what is printed of it is void once that has run.
"""

from __future__ import annotations

from kvcalc.logs.dialect import NVIDIA_CARD, log_line
from kvcalc.logs.tensorrt_llm.figures import COUNT, gib

_UTIL = "tensorrt_llm/_torch/pyexecutor/_util.py, KvCacheCreator"
_MANAGER = "cpp/tensorrt_llm/batch_manager/kvCacheManager.cpp"
_OF_THE_FIRST_POOL = ("cache memory", "tokens", "blocks", "longest request")

LINES = (
    log_line(
        "TensorRT-LLM version",
        r"TensorRT-LLM version: (?P<version>\d{1,4}\.\d{1,4}[\w.]{0,40})",
        "any",
        "tensorrt_llm/__init__.py",
    ),
    log_line(
        "trtllm-serve ",
        r"trtllm-serve (?:serve )?(?P<command>(?!for\b|-*help).*)",
        "any",
        "the command line, where a log holds it",
    ),
    log_line("trtllm-serve for", r"trtllm-serve for model (?P<model>[\w./-]{3,200})", "any", "scripts that start it"),
    log_line(
        "/snapshots/",
        r"^(?P<model>/[\w./-]{0,200}models--[\w.-]{3,200}/snapshots/\w{6,64})$",
        "any: the folder of a model of the Hub, as it is loaded",
        "tensorrt_llm/llmapi/llm_utils.py",
    ),
    log_line(
        " args: {",
        r"TensorRT-LLM engine args: (?P<settings>\{.*)",
        "any; within Dynamo",
        "dynamo/trtllm/main.py",
    ),
    log_line("PyTorchConfig(", r"PyTorchConfig\((?P<settings>.*)", "1.0 to 1.1", "tensorrt_llm/_torch/pyexecutor"),
    log_line("LLM Args:", r"LLM Args: ?(?P<settings>\S.*)", "1.0 to 1.2", "tensorrt_llm/llmapi/llm.py"),
    log_line(
        "Memory used after loading",
        rf"Memory used after loading model weights \(inside torch\) in memory usage profiling: {gib('weights')}",
        "1.0 to 1.2",
        f"{_UTIL}, configure_kv_cache_capacity",
        anew=_OF_THE_FIRST_POOL,
    ),
    log_line(
        "Memory dynamically allocated",
        rf"Memory dynamically allocated during inference \(inside torch\) in memory usage profiling: "
        rf"{gib('temporary')}",
        "1.0 to 1.2",
        f"{_UTIL}, configure_kv_cache_capacity",
    ),
    log_line(
        "Memory used outside torch",
        rf"Memory used outside torch .{{0,60}}?in memory usage profiling: {gib('outside')}",
        "1.0 to 1.2",
        f"{_UTIL}, configure_kv_cache_capacity",
    ),
    log_line(
        "available KV cache memory when",
        rf"available KV cache memory when calculating max tokens: {gib('kv')}, fraction is set "
        rf"(?P<free_gpu_memory_fraction>0\.\d{{1,20}})(?:.{{0,80}}?device total memory {gib('total')})?",
        "1.0 to 1.2",
        f"{_UTIL}, _cal_max_memory",
        anew=_OF_THE_FIRST_POOL,
    ),
    log_line(
        "max tokens in paged kv cache: total",
        rf"Memory usage when calculating max tokens in paged kv cache: total: {gib('total')}",
        "up to 0.21; TensorRT engines",
        f"{_MANAGER}, calculateMaxNumBlocks",
    ),
    log_line(
        "primary blocks=",
        rf"tokens per block=(?P<block>{COUNT}), primary blocks=(?P<blocks>{COUNT})",
        "1.0 to 1.2",
        f"{_MANAGER}, KVCacheManager",
    ),
    log_line(
        "KV cache primary pool:",
        rf"Number of blocks in KV cache primary pool: (?P<blocks>{COUNT})",
        "up to 0.21",
        f"{_MANAGER}, calculateMaxNumBlocks",
    ),
    log_line(
        "Number of tokens per block",
        rf"Number of tokens per block: (?P<tokens_per_block>{COUNT})",
        "any",
        f"{_MANAGER}, allocatePools",
    ),
    log_line(
        "for max tokens in paged KV cache",
        rf"Allocated {gib('kv')} for max tokens in paged KV cache \((?P<tokens>{COUNT})\)",
        "any",
        f"{_MANAGER}, allocatePools",
        anew=("cache memory", "tokens"),
    ),
    log_line(
        "max_seq_len=",
        rf"\] max_seq_len=(?P<longest>{COUNT}), max_num_requests=(?P<max_num_requests>{COUNT})",
        "1.0 to 1.2",
        "tensorrt_llm/_torch/pyexecutor/py_executor_creator.py",
        anew=("longest request",),
    ),
    log_line("NVIDIA ", NVIDIA_CARD, "any", "nvidia-smi, where a log holds it"),
)
