"""The lines of vLLM's start-up log that are understood, 0.6 to 0.33, with the versions that print each and where.

`gpu_worker.py` is v1/worker/gpu_worker.py, `worker.py` the worker/worker.py of V0, of which 0.10.2 is the last.
"""

from __future__ import annotations

from kvcalc.logs.dialect import NVIDIA_CARD, log_line
from kvcalc.logs.vllm.figures import COUNT, GIB, VERSION, gib

LINES = (
    # who serves what
    log_line(
        "API server version",
        rf"API server version (?P<version>{VERSION})",
        "0.6 to 0.23",
        "entrypoints/openai/api_server.py, run_server",
        starts=True,
    ),
    log_line(
        "vLLM server version",
        rf"vLLM server version (?P<version>{VERSION}), serving model (?P<model>\S{{1,300}})",
        "0.15 to 0.33",
        "entrypoints/common/startup.py, log_version_and_model; elsewhere before",
        starts=True,
    ),
    log_line(
        "version ", rf"█ {{1,8}}version (?P<version>{VERSION})", "0.15 to 0.33", "the same, with a logo", starts=True
    ),
    log_line("model ", r"█ {1,8}model {1,8}(?P<model>\S{1,300})", "0.15 to 0.33", "the same"),
    log_line(
        "LLM engine (v",
        rf"Initializing an? (?:(?P<generation>V[01]) )?LLM engine \((?P<version>{VERSION})\) with config: "
        r"(?P<settings>.*)",
        "0.6 to 0.33",
        "v1/engine/core.py, EngineCore; engine/llm_engine.py, LLMEngine (V0); the settings: VllmConfig.__str__",
    ),
    log_line(
        "LLM engine (v",
        rf"Initializing an? (?:(?P<generation>V[01]) )?LLM engine \((?P<version>{VERSION})\)(?! with config: )",
        "0.6 to 0.33",
        "the same, where a page leaves out the settings",
    ),
    log_line(
        "Starting to load model",
        r"Starting to load model (?P<model>[^\s]{1,300}?)\.\.\.",
        "0.6 to 0.33",
        "v1/worker/gpu_model_runner.py, load_model; worker/model_runner.py",
    ),
    # what it was told
    log_line("non-default args", r"non-default args: (?P<settings>.*)", "0.9 to 0.33", "log_non_default_args"),
    log_line("args: Namespace(", r"args: Namespace\((?P<settings>.*)", "0.6 to 0.33", "the line after the version"),
    log_line("vllm serve", r"vllm serve (?P<command>.*)", "0.6 to 0.33", "the command line, where a log holds it"),
    log_line(
        "openai.api_server",
        r"-m vllm\.entrypoints\.openai\.api_server (?P<command>.*)",
        "0.6 to 0.33",
        "the command line, where a log holds it",
    ),
    log_line("Using max model len", rf"Using max model len (?P<context>{COUNT})", "0.9 to 0.33", "config/model.py"),
    log_line(
        "Auto-fit max_model_len: reduced",
        rf"reduced from {COUNT} to (?P<context>{COUNT}) to fit",
        "0.14 to 0.33",
        "v1/core/kv_cache_planning.py, _auto_fit_max_model_len; kv_cache_utils.py before 0.33",
    ),
    log_line(
        "max_num_batched_tokens=",
        rf"Chunked prefill is enabled with max_num_batched_tokens=(?P<batched_tokens>{COUNT})",
        "0.6 to 0.33",
        "config/scheduler.py, SchedulerConfig; config.py before 0.10",
    ),
    log_line(
        "compile_ranges_",
        rf"compile_ranges_(?:endpoints|split_points)'?: \[(?:\d{{1,9}}, ){{0,20}}(?P<batched_tokens>{COUNT})\]",
        "0.15 to 0.33",
        "config/vllm.py, _set_compile_ranges: the last is max_num_batched_tokens",
    ),
    log_line(
        "MoE backend out of",
        r"Using '(?P<moe_backend>[A-Z_\d]{1,40})' NvFp4 MoE backend out of potential backends",
        "0.16 to 0.33",
        "model_executor/layers/fused_moe/oracle/nvfp4.py, select_nvfp4_moe_backend",
    ),
    log_line(
        "FlashInfer",
        r"(?P<use_flashinfer_sampler>Using FlashInfer for top-p|FlashInfer is (?:not available|available, but it is))",
        "0.8 to 0.33",
        "v1/sample/ops/topk_topp_sampler.py, TopKTopPSampler",
    ),
    log_line(
        "mamba_ssm_cache_dtype to",
        r"Updating mamba_ssm_cache_dtype to '(?P<mamba_ssm_cache_dtype>\w{1,20})'",
        "0.11 to 0.33",
        "model_executor/models/config.py, NemotronHForCausalLMConfig",
    ),
    log_line(
        "to `--runner",
        r"Resolved `--runner auto` to `--runner (?P<runner>pooling)`",
        "0.10 to 0.33",
        "config/model.py, _get_runner_type",
    ),
    log_line(
        "as WSL is detected",
        r"Using 'pin_memory=False' as (?P<wsl>WSL) is detected",
        "0.6 to 0.33",
        "platforms/interface.py, is_pin_memory_available",
    ),
    log_line(
        "attention block size to",
        rf"Setting attention block size to (?P<block_size>{COUNT}) tokens",
        "0.10 to 0.33",
        "platforms/interface.py; model_executor/models/config.py to 0.19",
    ),
    log_line(
        "kv cache block size to",
        rf"(?:Forcing|Setting) kv cache block size to (?P<block_size>{COUNT})",
        "0.8 to 0.33",
        "platforms/cuda.py; platforms/interface.py from 0.19",
    ),
    log_line(
        "Num Sequences",
        rf"Chunked prefill tokens = (?P<batched_tokens>{COUNT})\. Num Sequences = (?P<batched_sequences>{COUNT})",
        "any",
        "Unsloth, which starts vLLM: unsloth_zoo/vllm_utils.py, load_vllm",
    ),
    # its card
    log_line("device_name=", r"device_name=(?P<device>[\w-]{3,60})", "0.6 to 0.33", "names of tuned kernels' files"),
    log_line(
        "NVIDIA ",
        NVIDIA_CARD,
        "any",
        "nvidia-smi and collect_env, where a log holds them",
    ),
    # the weights
    log_line(
        "oading took",
        rf"[Mm]odel loading took {gib('weights')}",
        "0.8 to 0.33",
        "v1/worker/gpu_model_runner.py, load_model; v1/worker/gpu/model_runner.py; worker/model_runner.py",
    ),
    log_line(
        "model weights took",
        rf"Loading model weights took {gib('weights')}",
        "0.6 to 0.9",
        "worker/model_runner.py, load_model: its GB are 2^30 bytes",
    ),
    log_line(
        "U blocks: ",
        rf"# GPU blocks: (?P<blocks>{COUNT})",
        "0.6 to 0.7",
        "executor/gpu_executor.py; v1/executor/uniproc_executor.py, ray_executor.py",
    ),
    # whether it compiles
    log_line(
        "Compiling a graph for",
        r"(?P<compiles>Compiling a graph for) ",
        "0.8 to 0.33",
        "compilation/backends.py, CompilerManager.compile",
    ),
    log_line(
        "Directly load",
        r"(?P<compiled_before>Directly load) (?:the compiled graph|AOT compilation)",
        "0.8 to 0.33",
        "compilation/backends.py, CompilerManager.compile; compilation/decorators.py",
    ),
    # the memory that is left
    log_line(
        "ree memory on device",
        rf"ree memory on device [\w:() ]{{0,20}}?\(?(?P<free>{GIB})/(?P<total>{GIB}) GiB\) on startup.{{0,120}}?"
        rf"GPU memory utilization(?: is)? \((?P<share>{GIB}), (?P<requested>{GIB}) GiB\)",
        "0.9 to 0.33",
        "gpu_worker.py, compile_or_warm_up_model; v1/worker/utils.py, request_memory",
    ),
    log_line(
        "Requested memory:",
        rf"Initial free memory: {gib('free')}; Requested memory: (?P<share>{GIB}) \(util\), {gib('requested')}",
        "0.10 to 0.33, at the level DEBUG",
        "gpu_worker.py, determine_available_memory",
    ),
    log_line(
        "GiB for weight",
        rf"Actual usage is {gib('weights')} for weight, {gib('activation')} for peak activation, "
        rf"{gib('non_torch')} for non-torch memory, and {gib('graphs')} for CUDAGraph memory",
        "0.10 to 0.26; 0.14 to 0.19 at the level DEBUG",
        "gpu_worker.py, compile_or_warm_up_model",
    ),
    log_line(
        "for consumed memory",
        rf"Actual usage is {gib('consumed')} for consumed memory \(weights \+ non-torch\), "
        rf"{gib('activation_with_graphs')} for peak activation, and {gib('graphs')} for CUDAGraph memory",
        "0.27 to 0.33: the estimate of CUDA graphs is part of the peak",
        "gpu_worker.py, compile_or_warm_up_model",
    ),
    log_line(
        "kv cache memory in use is",
        rf"kv cache memory in use is (?:(?P<kv_bytes>\d{{1,18}}) bytes|{gib('kv')})",
        "0.10 to 0.33",
        "the same line",
    ),
    log_line(
        "torch peak memory increase",
        rf"torch peak memory increase: {gib('activation')}; (?:non-torch forward increase memory: {gib('non_torch')}"
        rf"|total consumed \(from mem_get_info\): {gib('consumed')}); weights memory: {gib('weights')}",
        "0.9 to 0.33, at the level DEBUG",
        "utils/mem_utils.py, MemoryProfilingResult; utils.py before",
    ),
    log_line(
        "Available KV cache memory",
        rf"Available KV cache memory: {gib('kv')}",
        "0.9 to 0.33",
        "gpu_worker.py, determine_available_memory",
    ),
    log_line(
        "specified by kv_cache_memory_bytes",
        rf"Initial free memory {gib('free')}, reserved {gib('kv_given')} memory for KV Cache",
        "0.10 to 0.33",
        "gpu_worker.py, determine_available_memory",
    ),
    log_line(
        "KV cache memory reduced to",
        rf"KV cache memory reduced to {gib('kv')}",
        "0.26 to 0.33",
        "multimodal/gpu_ipc_memory.py, reserve_mm_ipc_gpu_memory",
    ),
    log_line(
        "stimated CUDA graph memory",
        rf"Estimated CUDA graph memory: {gib('graphs_estimate')} total",
        "0.18 to 0.33",
        "v1/worker/gpu_model_runner.py, profile_cudagraph_memory",
    ),
    log_line(
        "CUDA graph pool memory",
        rf"CUDA graph pool memory: {gib('graphs')} \(actual\), {gib('graphs_estimate')} \(estimated\)",
        "0.18 to 0.33",
        "gpu_worker.py, compile_or_warm_up_model",
    ),
    log_line(
        "The current --gpu-memory-utilization=",
        rf"The current --gpu-memory-utilization=(?P<share>{GIB}) is equivalent to "
        rf"--gpu-memory-utilization=(?P<share_without>{GIB}) without",
        "0.20 to 0.33",
        "gpu_worker.py, determine_available_memory",
    ),
    log_line(
        "and increase --gpu-memory-utilization from",
        rf"and increase --gpu-memory-utilization from (?P<share>{GIB}) to (?P<share_with>{GIB}) to maintain",
        "0.18 to 0.33, where graphs are not charged",
        "gpu_worker.py, determine_available_memory",
    ),
    log_line(
        "apturing finished in",
        rf"Graph capturing finished in \d{{1,9}} secs?, took {gib('graphs')}",
        "0.6 to 0.33",
        "v1/worker/gpu_model_runner.py, capture_model; worker/model_runner.py",
    ),
    log_line(
        "KV cache size:",
        rf"[A-Z]{{2,8}}(?: \+ host)? KV cache size: (?P<tokens>{COUNT}) tokens(?!,)",
        "0.8 to 0.27: the concurrency stands on the next line",
        "v1/core/kv_cache_utils.py",
    ),
    log_line(
        "KV cache size:",
        rf"[A-Z]{{2,8}}(?: \+ host)? KV cache size: (?P<tokens>{COUNT}) tokens,",
        "0.28 to 0.33: the concurrency stands on the same line",
        "v1/core/kv_cache_utils.py, update_kv_cache_capacity",
    ),
    log_line(
        "tokens per request:",
        rf"Maximum concurrency for (?P<context>{COUNT}) tokens per request: (?P<concurrency>\d{{1,12}}\.\d\d)x",
        "0.6 to 0.33",
        "v1/core/kv_cache_utils.py; executor/executor_base.py",
    ),
    # a start that fails
    log_line(
        "at least one request with the model",
        rf"(?P<refused>at least one request with the model.{{0,10}}max seq len \((?P<context>{COUNT})\), "
        rf"\(?{gib('needed')} KV cache is needed, which is larger than the available KV cache memory "
        rf"\({gib('kv')}\))",
        "0.7 to 0.33",
        "v1/core/kv_cache_utils.py, check_enough_kv_cache_memory",
    ),
    log_line(
        "No available memory for the cache blocks",
        r"(?P<refused>No available memory for the cache blocks)",
        "0.6 to 0.33",
        "the same; worker.py, raise_if_cache_size_invalid",
    ),
)
