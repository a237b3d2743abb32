"""vLLM's start-up log, 0.6 to 0.33: each line that is understood, with the versions that print it and where.

`gpu_worker.py` is v1/worker/gpu_worker.py, `worker.py` the worker/worker.py of V0, of which 0.10.2 is the last.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from kvcalc.logs.server_log import Dialect, Figure, Unit, Wording

_GIB = r"-?\d{1,7}(?:\.\d{1,20})?"
_COUNT = r"(?:\d{1,3}(?:,\d{3}){1,5}|\d{1,18})"
_VERSION = r"v?\d{1,4}\.\d{1,4}[\w.+-]{0,60}"


def _gib(group: str) -> str:
    return rf"(?P<{group}>{_GIB}) ?Gi?[Bb]"


def _size(name: str) -> Figure:
    """Rounded to two decimals, of which trailing zeros are left out (format_gib in utils/mem_utils.py)."""
    return Figure(name, Unit.GIB, decimals=2)


FIGURES = MappingProxyType(
    {
        "total": _size("total memory"),
        "free": _size("free memory"),
        "requested": _size("usable memory"),
        "weights": _size("weights"),
        "activation": _size("temporary"),
        "activation_with_graphs": _size("temporary and CUDA graphs"),
        "non_torch": _size("non-torch memory"),
        "consumed": _size("weights and non-torch memory"),
        "peak_torch": _size("weights and temporary"),
        "graphs_estimate": _size("CUDA graphs, estimated"),
        "graphs": _size("CUDA graphs"),
        "kv": _size("cache memory"),
        "kv_bytes": Figure("cache memory", Unit.BYTES),
        "kv_given": _size("cache memory, as given"),
        "needed": _size("cache of one request"),
        "blocks": Figure("blocks", Unit.BLOCKS),
        "block_size": Figure("block size", Unit.TOKENS),
        "tokens": Figure("tokens", Unit.TOKENS),
        "concurrency": Figure("concurrency", Unit.SEQUENCES, decimals=2),
        "context": Figure("longest request", Unit.TOKENS),
        "batched_tokens": Figure("tokens of a step", Unit.TOKENS),
        "batched_sequences": Figure("sequences of a step", Unit.SEQUENCES),
        "share": Figure("utilization", Unit.SHARE, decimals=2),
    }
)
"""By the name of the group that holds them in the patterns below."""


def _line(
    anchor: str, pattern: str, versions: str, source: str, *, starts: bool = False, generation: str = ""
) -> Wording:
    return Wording(anchor, re.compile(pattern), versions, source, starts, generation)


def _v0(anchor: str, pattern: str, versions: str, source: str) -> Wording:
    return _line(anchor, pattern, versions, source, generation="v0")


WORDINGS = (
    # who serves what
    _line(
        "API server version",
        rf"API server version (?P<version>{_VERSION})",
        "0.6 to 0.23",
        "entrypoints/openai/api_server.py, run_server",
        starts=True,
    ),
    _line(
        "vLLM server version",
        rf"vLLM server version (?P<version>{_VERSION}), serving model (?P<model>\S{{1,300}})",
        "0.15 to 0.33",
        "entrypoints/common/startup.py, log_version_and_model; elsewhere before",
        starts=True,
    ),
    _line(
        "version ", rf"█ {{1,8}}version (?P<version>{_VERSION})", "0.15 to 0.33", "the same, with a logo", starts=True
    ),
    _line("model ", r"█ {1,8}model {1,8}(?P<model>\S{1,300})", "0.15 to 0.33", "the same"),
    _line(
        "LLM engine (v",
        rf"Initializing an? (?:(?P<generation>V[01]) )?LLM engine \((?P<version>{_VERSION})\) with config: "
        r"(?P<settings>.*)",
        "0.6 to 0.33",
        "v1/engine/core.py, EngineCore; engine/llm_engine.py, LLMEngine (V0); the settings: VllmConfig.__str__",
    ),
    _line(
        "Starting to load model",
        r"Starting to load model (?P<model>[^\s]{1,300}?)\.\.\.",
        "0.6 to 0.33",
        "v1/worker/gpu_model_runner.py, load_model; worker/model_runner.py",
    ),
    # what it was told
    _line("non-default args", r"non-default args: (?P<settings>.*)", "0.9 to 0.33", "log_non_default_args"),
    _line("args: Namespace(", r"args: Namespace\((?P<settings>.*)", "0.6 to 0.33", "the line after the version"),
    _line("vllm serve", r"vllm serve (?P<command>.*)", "0.6 to 0.33", "the command line, where a log holds it"),
    _line(
        "openai.api_server",
        r"-m vllm\.entrypoints\.openai\.api_server (?P<command>.*)",
        "0.6 to 0.33",
        "the command line, where a log holds it",
    ),
    _line("Using max model len", rf"Using max model len (?P<context>{_COUNT})", "0.9 to 0.33", "config/model.py"),
    _line(
        "Auto-fit max_model_len: reduced",
        rf"reduced from {_COUNT} to (?P<context>{_COUNT}) to fit",
        "0.14 to 0.33",
        "v1/core/kv_cache_planning.py, _auto_fit_max_model_len; kv_cache_utils.py before 0.33",
    ),
    _line(
        "max_num_batched_tokens=",
        rf"Chunked prefill is enabled with max_num_batched_tokens=(?P<batched_tokens>{_COUNT})",
        "0.6 to 0.33",
        "config/scheduler.py, SchedulerConfig; config.py before 0.10",
    ),
    _line(
        "attention block size to",
        rf"Setting attention block size to (?P<block_size>{_COUNT}) tokens",
        "0.10 to 0.33",
        "platforms/interface.py; model_executor/models/config.py to 0.19",
    ),
    _line(
        "kv cache block size to",
        rf"(?:Forcing|Setting) kv cache block size to (?P<block_size>{_COUNT})",
        "0.8 to 0.33",
        "platforms/cuda.py; platforms/interface.py from 0.19",
    ),
    _line(
        "Num Sequences",
        rf"Chunked prefill tokens = (?P<batched_tokens>{_COUNT})\. Num Sequences = (?P<batched_sequences>{_COUNT})",
        "any",
        "Unsloth, which starts vLLM: unsloth_zoo/vllm_utils.py, load_vllm",
    ),
    _v0(
        '"max_capture_size":',
        rf"a V0 LLM engine .{{0,20000}}\"max_capture_size\": ?(?P<batched_sequences>{_COUNT})",
        "0.8 to 0.10",
        "config.py, VllmConfig: V0 captures graphs for as many sequences as a step has, rounded up to 8",
    ),
    # its card
    _line("device_name=", r"device_name=(?P<device>[\w-]{3,60})", "0.6 to 0.33", "names of tuned kernels' files"),
    _line(
        "NVIDIA ",
        r"(?P<device>NVIDIA (?:(?:GeForce|RTX|Tesla|Quadro|TITAN|PRO) ){0,3}[A-Z]*\d{1,4}[\w-]*"
        r"(?: (?:PRO|\d{2,4}(?:GB)?|HBM\w+|PCIe|NVL|Ti|Blackwell|Workstation|Server|Edition|Ada|Generation))*)",
        "any",
        "nvidia-smi and collect_env, where a log holds them",
    ),
    # the weights
    _line(
        "oading took",
        rf"[Mm]odel loading took {_gib('weights')}",
        "0.8 to 0.33",
        "v1/worker/gpu_model_runner.py, load_model; v1/worker/gpu/model_runner.py; worker/model_runner.py",
    ),
    _line(
        "model weights took",
        rf"Loading model weights took {_gib('weights')}",
        "0.6 to 0.9",
        "worker/model_runner.py, load_model: its GB are 2^30 bytes",
    ),
    # V0's profile, which stands on three lines
    _v0(
        "total_gpu_memory (",
        rf"total_gpu_memory \({_gib('total')}\) x gpu_memory_utilization \((?P<share>{_GIB})\) = {_gib('requested')}",
        "0.6.5 to 0.10",
        "worker.py, determine_num_available_blocks",
    ),
    _v0("model weights take", rf"model weights take {_gib('weights')}", "0.6.5 to 0.10", "the same"),
    _v0("non_torch_memory takes", rf"non_torch_memory takes {_gib('non_torch')}", "0.6.5 to 0.10", "the same"),
    _v0(
        "activation peak memory takes",
        rf"activation peak memory takes {_gib('activation')}",
        "0.6.5 to 0.10",
        "the same",
    ),
    _v0("reserved for KV Cache is", rf"reserved for KV Cache is {_gib('kv')}", "0.6.5 to 0.10", "the same"),
    _v0(
        "Memory profiling results",
        rf"total_gpu_memory={_gib('total')}.{{0,80}}peak_torch_memory={_gib('peak_torch')}"
        rf".{{0,80}} non_torch_memory={_gib('non_torch')} kv_cache_size={_gib('kv')}"
        rf" gpu_memory_utilization=(?P<share>{_GIB})",
        "0.6.4",
        "worker.py, determine_num_available_blocks",
    ),
    _line(
        "U blocks: ",
        rf"# GPU blocks: (?P<blocks>{_COUNT})",
        "0.6 to 0.7",
        "executor/gpu_executor.py; v1/executor/uniproc_executor.py, ray_executor.py",
    ),
    _v0(
        "CPU blocks: ",
        rf"# (?:cuda|rocm|hip) blocks: (?P<blocks>{_COUNT}), # CPU",
        "0.7 to 0.11",
        "executor/executor_base.py, initialize_cache",
    ),
    # V1's
    _line(
        "ree memory on device",
        rf"ree memory on device [\w:() ]{{0,20}}?\(?(?P<free>{_GIB})/(?P<total>{_GIB}) GiB\) on startup.{{0,120}}?"
        rf"GPU memory utilization(?: is)? \((?P<share>{_GIB}), (?P<requested>{_GIB}) GiB\)",
        "0.9 to 0.33",
        "gpu_worker.py, compile_or_warm_up_model; v1/worker/utils.py, request_memory",
    ),
    _line(
        "Requested memory:",
        rf"Initial free memory: {_gib('free')}; Requested memory: (?P<share>{_GIB}) \(util\), {_gib('requested')}",
        "0.10 to 0.33, at the level DEBUG",
        "gpu_worker.py, determine_available_memory",
    ),
    _line(
        "GiB for weight",
        rf"Actual usage is {_gib('weights')} for weight, {_gib('activation')} for peak activation, "
        rf"{_gib('non_torch')} for non-torch memory, and {_gib('graphs')} for CUDAGraph memory",
        "0.10 to 0.26; 0.14 to 0.19 at the level DEBUG",
        "gpu_worker.py, compile_or_warm_up_model",
    ),
    _line(
        "for consumed memory",
        rf"Actual usage is {_gib('consumed')} for consumed memory \(weights \+ non-torch\), "
        rf"{_gib('activation_with_graphs')} for peak activation, and {_gib('graphs')} for CUDAGraph memory",
        "0.27 to 0.33: the estimate of CUDA graphs is part of the peak",
        "gpu_worker.py, compile_or_warm_up_model",
    ),
    _line(
        "kv cache memory in use is",
        rf"kv cache memory in use is (?:(?P<kv_bytes>\d{{1,18}}) bytes|{_gib('kv')})",
        "0.10 to 0.33",
        "the same line",
    ),
    _line(
        "torch peak memory increase",
        rf"torch peak memory increase: {_gib('activation')}; (?:non-torch forward increase memory: {_gib('non_torch')}"
        rf"|total consumed \(from mem_get_info\): {_gib('consumed')}); weights memory: {_gib('weights')}",
        "0.9 to 0.33, at the level DEBUG",
        "utils/mem_utils.py, MemoryProfilingResult; utils.py before",
    ),
    _line(
        "Available KV cache memory",
        rf"Available KV cache memory: {_gib('kv')}",
        "0.9 to 0.33",
        "gpu_worker.py, determine_available_memory",
    ),
    _line(
        "specified by kv_cache_memory_bytes",
        rf"Initial free memory {_gib('free')}, reserved {_gib('kv_given')} memory for KV Cache",
        "0.10 to 0.33",
        "gpu_worker.py, determine_available_memory",
    ),
    _line(
        "KV cache memory reduced to",
        rf"KV cache memory reduced to {_gib('kv')}",
        "0.26 to 0.33",
        "multimodal/gpu_ipc_memory.py, reserve_mm_ipc_gpu_memory",
    ),
    _line(
        "stimated CUDA graph memory",
        rf"Estimated CUDA graph memory: {_gib('graphs_estimate')} total",
        "0.18 to 0.33",
        "v1/worker/gpu_model_runner.py, profile_cudagraph_memory",
    ),
    _line(
        "CUDA graph pool memory",
        rf"CUDA graph pool memory: {_gib('graphs')} \(actual\), {_gib('graphs_estimate')} \(estimated\)",
        "0.18 to 0.33",
        "gpu_worker.py, compile_or_warm_up_model",
    ),
    _line(
        "The current --gpu-memory-utilization=",
        rf"The current --gpu-memory-utilization=(?P<share>{_GIB}) is equivalent",
        "0.20 to 0.33",
        "gpu_worker.py, determine_available_memory",
    ),
    _line(
        "apturing finished in",
        rf"Graph capturing finished in \d{{1,9}} secs?, took {_gib('graphs')}",
        "0.6 to 0.33",
        "v1/worker/gpu_model_runner.py, capture_model; worker/model_runner.py",
    ),
    _line(
        "KV cache size:",
        rf"[A-Z]{{2,8}}(?: \+ host)? KV cache size: (?P<tokens>{_COUNT}) tokens(?!,)",
        "0.8 to 0.27: the concurrency stands on the next line",
        "v1/core/kv_cache_utils.py",
    ),
    _line(
        "KV cache size:",
        rf"[A-Z]{{2,8}}(?: \+ host)? KV cache size: (?P<tokens>{_COUNT}) tokens,",
        "0.28 to 0.33: the concurrency stands on the same line",
        "v1/core/kv_cache_utils.py, update_kv_cache_capacity",
    ),
    _line(
        "tokens per request:",
        rf"Maximum concurrency for (?P<context>{_COUNT}) tokens per request: (?P<concurrency>\d{{1,12}}\.\d\d)x",
        "0.6 to 0.33",
        "v1/core/kv_cache_utils.py; executor/executor_base.py",
    ),
    # a start that fails
    _line(
        "at least one request with the model",
        rf"(?P<refused>at least one request with the model.{{0,10}}max seq len \((?P<context>{_COUNT})\), "
        rf"\(?{_gib('needed')} KV cache is needed, which is larger than the available KV cache memory "
        rf"\({_gib('kv')}\))",
        "0.7 to 0.33",
        "v1/core/kv_cache_utils.py, check_enough_kv_cache_memory",
    ),
    _line(
        "No available memory for the cache blocks",
        r"(?P<refused>No available memory for the cache blocks)",
        "0.6 to 0.33",
        "the same; worker.py, raise_if_cache_size_invalid",
    ),
    _v0(
        "maximum number of tokens that can be",
        rf"(?P<refused>max seq len \((?P<context>{_COUNT})\) is larger than the maximum number of tokens that can be "
        rf"stored in KV cache \({_COUNT}\))",
        "0.6 to 0.10",
        "worker.py, raise_if_cache_size_invalid",
    ),
)

SETTINGS = MappingProxyType(
    {
        "model": "MODEL",
        "model_tag": "MODEL",
        "dtype": "--dtype",
        "quantization": "--weight-dtype",
        "kv_cache_dtype": "--cache-dtype",
        "max_model_len": "--context",
        "max_seq_len": "--context",
        "gpu_memory_utilization": "--utilization",
        "tensor_parallel_size": "--tp",
        "pipeline_parallel_size": "--pp",
        "data_parallel_size": "--dp",
        "decode_context_parallel_size": "--dcp",
        "enable_expert_parallel": "--ep",
        "max_num_seqs": "max-num-seqs",
        "max_num_batched_tokens": "max-num-batched-tokens",
        "block_size": "block-size",
        "enable_prefix_caching": "enable-prefix-caching",
        "disable_hybrid_kv_cache_manager": "disable-hybrid-kv-cache-manager",
        "enforce_eager": "enforce-eager",
        "kv_cache_memory_bytes": "kv-cache-memory-bytes",
        "kv_cache_memory": "kv-cache-memory-bytes",
        "mamba_ssm_cache_dtype": "--state-dtype",
        "performance_mode": "performance-mode",
        "num_speculative_tokens": "num-speculative-tokens",
        "num_spec_tokens": "num-speculative-tokens",
    }
)
"""engine/arg_utils.py, EngineArgs, and VllmConfig.__str__ of config/vllm.py, whose names differ in a few."""

FLAGS = MappingProxyType(
    {
        "-tp": "tensor_parallel_size",
        "-pp": "pipeline_parallel_size",
        "-dp": "data_parallel_size",
        "-dcp": "decode_context_parallel_size",
        "-ep": "enable_expert_parallel",
        "-q": "quantization",
    }
)

SUFFIXES = MappingProxyType(
    {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
)
"""utils/argparse_utils.py, human_readable_int: how numbers may be written on the command line."""

VLLM = Dialect(
    engine="vllm",
    figures=FIGURES,
    wordings=WORDINGS,
    settings=SETTINGS,
    nested=frozenset({"num_speculative_tokens", "num_spec_tokens"}),
    flags=FLAGS,
    process=re.compile(r"\((?P<name>(?:Vllm|Ray)?(?:Worker|EngineCore|APIServer)\w{0,60}(?: rank=\d{1,6})?) pid=\d"),
    typical=("Available KV cache memory: 21.3 GiB", "GPU KV cache size: 174,560 tokens"),
    first_rank_alone=(0, 13),
    suffixes=SUFFIXES,
)
"""Lines begin with their process: V0's and V1's workers (VllmWorker rank=0), Worker_TP0 and EngineCore_DP0 later.

info_once of vllm/logger.py, with the scope "local": not in 0.11, there in 0.13.
"""
