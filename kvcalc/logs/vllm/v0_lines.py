"""The lines that only V0 of vLLM printed, whose last version is 0.10.2: `worker.py` is worker/worker.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.logs.dialect import log_line
from kvcalc.logs.vllm.figures import COUNT, GIB, gib

if TYPE_CHECKING:
    from kvcalc.logs.dialect import LogLine


def _v0(anchor: str, pattern: str, versions: str, source: str) -> LogLine:
    return log_line(anchor, pattern, versions, source, generation="v0")


V0_LINES = (
    _v0(
        '"max_capture_size":',
        rf"a V0 LLM engine .{{0,20000}}\"max_capture_size\": ?(?P<batched_sequences>{COUNT})",
        "0.8 to 0.10",
        "config.py, VllmConfig: V0 captures graphs for as many sequences as a step has, rounded up to 8",
    ),
    _v0(
        "total_gpu_memory (",
        rf"total_gpu_memory \({gib('total')}\) x gpu_memory_utilization \((?P<share>{GIB})\) = {gib('requested')}",
        "0.6.5 to 0.10",
        "worker.py, determine_num_available_blocks",
    ),
    _v0("model weights take", rf"model weights take {gib('weights')}", "0.6.5 to 0.10", "the same"),
    _v0("non_torch_memory takes", rf"non_torch_memory takes {gib('non_torch')}", "0.6.5 to 0.10", "the same"),
    _v0(
        "activation peak memory takes",
        rf"activation peak memory takes {gib('activation')}",
        "0.6.5 to 0.10",
        "the same",
    ),
    _v0("reserved for KV Cache is", rf"reserved for KV Cache is {gib('kv')}", "0.6.5 to 0.10", "the same"),
    _v0(
        "Memory profiling results",
        rf"total_gpu_memory={gib('total')}.{{0,80}}peak_torch_memory={gib('peak_torch')}"
        rf".{{0,80}} non_torch_memory={gib('non_torch')} kv_cache_size={gib('kv')}"
        rf" gpu_memory_utilization=(?P<share>{GIB})",
        "0.6.4",
        "worker.py, determine_num_available_blocks",
    ),
    _v0(
        "CPU blocks: ",
        rf"# (?:cuda|rocm|hip) blocks: (?P<blocks>{COUNT}), # CPU",
        "0.7 to 0.11",
        "executor/executor_base.py, initialize_cache",
    ),
    _v0(
        "maximum number of tokens that can be",
        rf"(?P<refused>max seq len \((?P<context>{COUNT})\) is larger than the maximum number of tokens that can be "
        rf"stored in KV cache \({COUNT}\))",
        "0.6 to 0.10",
        "worker.py, raise_if_cache_size_invalid",
    ),
)
