"""The lines of llama.cpp's start-up log that are understood, with the builds that print each and where.

Function names change from build to build (llm_load_tensors, load_tensors; llama_new_context_with_model, llama_context,
sched_reserve; llama_kv_cache_init, llama_kv_cache_unified, llama_kv_cache), what stands behind them hardly does.
"""

from __future__ import annotations

from kvcalc.logs.dialect import log_line
from kvcalc.logs.llama_cpp.figures import COUNT, DEVICE, MIB

_CONTEXT = r"(?:llama_context|llama_new_context_with_model|llama_init_from_model)"
_TYPE = r"[a-z]\w{1,12}"

_OF_A_CONTEXT = (
    "cache memory",
    "states",
    "KV buffer",
    "RS buffer",
    "compute buffer",
    "cells",
    "layers with KV",
    "tokens",
)


LINES = (
    # who serves what
    log_line(
        "build",
        r"(?:build(?:_info)?: |build[:=] ?|version: )b?(?P<version>\d{3,6})\b",
        "any build",
        "common/common.cpp; tools/server/server.cpp",
        starts=True,
    ),
    log_line("main: loading model", r"main: loading model", "b2700 to b11549", "tools/server/server.cpp", starts=True),
    log_line(
        "loading draft model",
        r"(?P<draft>loading draft model)",
        "b3600 to b11549",
        "tools/server/server-context.cpp, load_model",
    ),
    log_line(
        "draft context",
        r"(?P<draft>creating \w+ draft context)",
        "b9000 to b11549: of a model with MTP layers",
        "tools/server/server-context.cpp, load_model",
    ),
    log_line(
        "llama-",
        r"llama-(?:(?P<served>server)|cli|completion)(?:\.exe)? (?P<command>-.*)",
        "any build",
        "the command line, where a log holds it",
    ),
    log_line(
        "loaded meta data with",
        r"loaded meta data with \d{1,6} key-value pairs and \d{1,6} tensors from (?P<model>.{1,300}?) \(version",
        "any build",
        "src/llama-model-loader.cpp",
        anew=("model buffer", *_OF_A_CONTEXT),
    ),
    log_line(
        "- kv ",
        r"- kv +\d{1,4}: +(?P<key>[\w.-]{1,120}) (?:[a-z]\w{1,8}|arr\[\w{1,8},\d{1,9}\]) += (?P<value>.*)",
        "any build",
        "src/llama-model-loader.cpp: the file's keys; more than 40 characters are cut off",
    ),
    log_line(
        "print_info: ",
        r"print_info: (?P<key>[\w. ]{1,40}?) += (?P<value>.*)",
        "b4500 to b11549",
        "src/llama-model.cpp, print_info",
    ),
    log_line(
        "llm_load_print_meta: ",
        r"llm_load_print_meta: (?P<key>[\w. ]{1,40}?) += (?P<value>.*)",
        "up to b4500",
        "src/llama.cpp, llm_load_print_meta",
    ),
    # its cards
    log_line(
        "compute capability",
        r"Device \d{1,3}: (?P<device>[^,]{3,80}), compute capability.{0,60}?(?:VRAM: (?P<vram>\d{1,9}) MiB)?$",
        "any build",
        "ggml/src/ggml-cuda/ggml-cuda.cu, ggml_cuda_init",
    ),
    log_line(
        " MiB free)",
        rf"- (?!CPU|BLAS){DEVICE} +: (?P<device>.{{2,80}}?) \((?P<vram>\d{{1,9}}) MiB, \d{{1,9}} MiB free\)$",
        "b9400 to b11549",
        "common/common.cpp, device_info",
    ),
    log_line(
        "using device ",
        rf"using device (?:{DEVICE}) \((?P<device>[^()]{{2,80}}(?:\([^()]{{0,40}}\)[^()]{{0,40}})?)\).{{0,60}}? - "
        r"(?P<free>\d{1,9}) MiB free",
        "b3900 to b11549",
        "src/llama.cpp, llama_prepare_model_devices",
    ),
    log_line("GPU name:", r"GPU name: +(?:MTL\d \()?(?P<device>Apple [\w ]{2,30})\)?", "any build", "ggml-metal"),
    log_line(
        "recommendedMaxWorkingSetSize",
        rf"recommendedMaxWorkingSetSize += +(?P<working_set>{MIB}) MB",
        "any build",
        "ggml/src/ggml-metal/ggml-metal-device.m",
    ),
    # the weights
    log_line(
        "layers to GPU",
        rf"offloaded (?P<on_cards>{COUNT})/(?P<of_layers>{COUNT}) layers to GPU",
        "any build",
        "src/llama-model.cpp, load_tensors",
    ),
    log_line(
        "buffer size",
        rf"load_tensors: +{DEVICE}(?: model)? buffer size = +(?P<model_buffer>{MIB}) MiB",
        "any build",
        "src/llama-model.cpp, load_tensors",
    ),
    log_line(
        "memory usage of mmproj",
        rf"estimated (?:worst-case )?memory usage of mmproj is (?P<mmproj>{MIB}) MiB",
        "builds of 2026, to b11549: weights and the compute buffer of towers, on all devices together",
        "tools/server/server-context.cpp, load_model",
    ),
    log_line(
        "buffer type over",
        r"ensor blk\.(?P<host_experts>\d{1,5})\.ffn_\w{0,20}exps\.\w{1,20} .{0,60}?buffer type over\w{1,8} to CPU",
        "any build, at the level DEBUG",
        "src/llama-model-loader.cpp",
    ),
    # a context
    log_line(
        "n_ctx ",
        rf"{_CONTEXT}: n_ctx += (?P<tokens>{COUNT})",
        "any build",
        "src/llama-context.cpp",
        anew=_OF_A_CONTEXT,
    ),
    log_line(
        "n_",
        rf"{_CONTEXT}: (?P<key>n_(?:ctx_seq|ctx_per_seq|seq_max|batch|ubatch|rs_seq|outputs_max)) += "
        r"(?P<value>\d{1,12})",
        "any build",
        "src/llama-context.cpp",
    ),
    log_line(
        "flash_attn",
        rf"{_CONTEXT}: (?P<key>flash_attn) += (?P<value>\w{{1,10}})",
        "any build",
        "src/llama-context.cpp",
    ),
    log_line(
        "kv_unified",
        r"llama_context: (?P<key>kv_unified) += (?P<value>\w{1,10})",
        "b6100 to b11549",
        "src/llama-context.cpp",
    ),
    log_line(
        "Flash Attention",
        r"Flash Attention (?:was |is |)(?:auto, set to |set to )?(?P<flash_attn>enabled|disabled)",
        "b6300 to b11549: where it was left to llama.cpp",
        "src/llama-context.cpp",
    ),
    log_line(
        "full-size SWA cache",
        r"using (?P<swa_full>full-size) SWA cache",
        "b5400 to b11549",
        "src/llama-kv-cache-iswa.cpp",
    ),
    log_line(
        " cells, ",
        rf"llama_kv_cache\w*: +size = +(?P<kv>{MIB}) MiB \( *(?P<cells>{COUNT}) cells, +(?P<layers_kv>{COUNT}) "
        rf"layers, +{COUNT}(?:/ *(?P<streams>{COUNT}))? seqs\), K \((?P<type_k>{_TYPE})\): +{MIB} MiB, "
        rf"V \((?P<type_v>{_TYPE})\): +{MIB} MiB",
        "b5300 to b11549; of each kind of cache",
        "src/llama-kv-cache.cpp",
    ),
    log_line(
        "KV self size",
        rf"KV self size += +(?P<kv>{MIB}) MiB, (?:K|c\^KV) \((?P<type_k>{_TYPE})\): +{MIB} MiB"
        rf"(?:, V \((?P<type_v>{_TYPE})\))?",
        "up to b5300; ik_llama.cpp",
        "src/llama.cpp, llama_new_context_with_model",
    ),
    log_line(
        "n_slots",
        r"initializing (?:slots)?, n_slots = (?P<n_seq_max>\d{1,6})",
        "b7000 to b11549",
        "tools/server/server-context.cpp, load_model",
    ),
    log_line(
        "new slot",
        r"new slot,? n_ctx(?:_slot)? = (?P<n_ctx_seq>\d{1,12})",
        "b3000 to b11549",
        "tools/server/server-context.cpp, load_model",
    ),
    log_line(
        "llama_memory_recurrent: size",
        rf"llama_memory_recurrent: +size = +(?P<states>{MIB}) MiB \( *{COUNT} cells, +{COUNT} layers, "
        rf"+(?P<n_seq_max>{COUNT}) seqs(?: +(?P<n_rs_seq>{COUNT}) rs_seq)?\)",
        "b5500 to b11549",
        "src/llama-memory-recurrent.cpp",
    ),
    log_line("KV buffer size", rf"{DEVICE} KV buffer size = +(?P<kv_buffer>{MIB}) MiB", "any build", "the same files"),
    log_line(
        "RS buffer size", rf"{DEVICE} RS buffer size = +(?P<rs_buffer>{MIB}) MiB", "b5500 to b11549", "the same files"
    ),
    log_line(
        "compute buffer size",
        rf"{DEVICE} compute buffer size = +(?P<compute>{MIB}) MiB",
        "any build",
        "src/llama-context.cpp, sched_reserve",
    ),
    log_line(
        "memory_breakdown_print: |   - ",
        rf"memory_breakdown_print: \|   - (?!Host\b){DEVICE} \((?P<device>[^|]{{2,80}}?)\) +\| +{COUNT} = +{COUNT} \+ "
        rf"\( *{COUNT} = +(?P<model_told>{COUNT}) \+ +(?P<context_told>{COUNT}) \+ +(?P<compute_told>{COUNT})\)",
        "b6800 to b11549, as it ends",
        "common/fit.cpp, common_memory_breakdown_print; src/llama-context.cpp, llama_memory_breakdown_print",
    ),
    # a start that fails
    log_line(
        "failed to allocate",
        r"(?P<refused>failed to allocate (?:\w+ buffer|compute|buffer)[^,]{0,80})",
        "any build",
        "src/llama-model.cpp; src/llama-context.cpp; ggml-alloc.c",
    ),
)
