"""llama.cpp's start-up log: llama-server, llama-cli and what is built on them, from 2023's builds to b11549.

Ollama, LM Studio, koboldcpp and llama-cpp-python put its lines into their own logs as they are. Function names change
from build to build (llm_load_tensors, load_tensors; llama_new_context_with_model, llama_context, sched_reserve;
llama_kv_cache_init, llama_kv_cache_unified, llama_kv_cache), what stands behind them hardly does.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from kvcalc.logs.server_log import Dialect, Figure, Unit, Wording

_MIB = r"\d{1,9}(?:\.\d{1,6})?"
_COUNT = r"\d{1,12}"
_CONTEXT = r"(?:llama_context|llama_new_context_with_model|llama_init_from_model)"
_TYPE = r"[a-z]\w{1,12}"
_DEVICE = r"[A-Za-z]\w{1,40}(?:\[\w{1,40}\])?"


def _mib(name: str) -> Figure:
    return Figure(name, Unit.MIB, decimals=2)


FIGURES = MappingProxyType(
    {
        "kv": _mib("cache memory"),
        "states": _mib("states"),
        "kv_buffer": _mib("KV buffer"),
        "rs_buffer": _mib("RS buffer"),
        "compute": _mib("compute buffer"),
        "model_buffer": _mib("model buffer"),
        "cells": Figure("cells", Unit.TOKENS),
        "layers_kv": Figure("layers with KV", Unit.BLOCKS),
        "tokens": Figure("tokens", Unit.TOKENS),
        "vram": Figure("total memory", Unit.MIB),
        "working_set": Figure("working set", Unit.MB, decimals=2),
        "free": Figure("free memory", Unit.MIB),
        "on_cards": Figure("layers on cards", Unit.BLOCKS),
        "of_layers": Figure("layers", Unit.BLOCKS),
        "host_experts": Figure("layer with experts on the host", Unit.BLOCKS),
    }
)
"""By the name of the group that holds them in the patterns below. A buffer's process is its device."""

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


def _line(
    anchor: str, pattern: str, versions: str, source: str, *, starts: bool = False, anew: tuple[str, ...] = ()
) -> Wording:
    return Wording(anchor, re.compile(pattern), versions, source, starts, anew=anew)


WORDINGS = (
    # who serves what
    _line(
        "build",
        r"(?:build(?:_info)?: |build[:=] ?|version: )b?(?P<version>\d{3,6})\b",
        "any build",
        "common/common.cpp; tools/server/server.cpp",
        starts=True,
    ),
    _line("main: loading model", r"main: loading model", "b2700 to b11549", "tools/server/server.cpp", starts=True),
    _line(
        "loading draft model",
        r"(?P<draft>loading draft model)",
        "b3600 to b11549",
        "tools/server/server-context.cpp, load_model",
    ),
    _line(
        "draft context",
        r"(?P<draft>creating \w+ draft context)",
        "b9000 to b11549: of a model with MTP layers",
        "tools/server/server-context.cpp, load_model",
    ),
    _line(
        "llama-server",
        r"llama-server(?:\.exe)? (?P<command>-.*)",
        "any build",
        "the command line, where a log holds it",
    ),
    _line(
        "loaded meta data with",
        r"loaded meta data with \d{1,6} key-value pairs and \d{1,6} tensors from (?P<model>.{1,300}?) \(version",
        "any build",
        "src/llama-model-loader.cpp",
        anew=("model buffer", *_OF_A_CONTEXT),
    ),
    _line(
        "- kv ",
        r"- kv +\d{1,4}: +(?P<key>[\w.-]{1,120}) (?:[a-z]\w{1,8}|arr\[\w{1,8},\d{1,9}\]) += (?P<value>.*)",
        "any build",
        "src/llama-model-loader.cpp: the file's keys; more than 40 characters are cut off",
    ),
    _line(
        "print_info: ",
        r"print_info: (?P<key>[\w. ]{1,40}?) += (?P<value>.*)",
        "b4500 to b11549",
        "src/llama-model.cpp, print_info",
    ),
    _line(
        "llm_load_print_meta: ",
        r"llm_load_print_meta: (?P<key>[\w. ]{1,40}?) += (?P<value>.*)",
        "up to b4500",
        "src/llama.cpp, llm_load_print_meta",
    ),
    # its cards
    _line(
        "compute capability",
        r"Device \d{1,3}: (?P<device>[^,]{3,80}), compute capability.{0,60}?(?:VRAM: (?P<vram>\d{1,9}) MiB)?$",
        "any build",
        "ggml/src/ggml-cuda/ggml-cuda.cu, ggml_cuda_init",
    ),
    _line(
        "using device ",
        rf"using device (?:{_DEVICE}) \((?P<device>[^()]{{2,80}}(?:\([^()]{{0,40}}\)[^()]{{0,40}})?)\).{{0,60}}? - "
        r"(?P<free>\d{1,9}) MiB free",
        "b3900 to b11549",
        "src/llama.cpp, llama_prepare_model_devices",
    ),
    _line("GPU name:", r"GPU name: +(?:MTL\d \()?(?P<device>Apple [\w ]{2,30})\)?", "any build", "ggml-metal"),
    _line(
        "recommendedMaxWorkingSetSize",
        rf"recommendedMaxWorkingSetSize += +(?P<working_set>{_MIB}) MB",
        "any build",
        "ggml/src/ggml-metal/ggml-metal-device.m",
    ),
    # the weights
    _line(
        "layers to GPU",
        rf"offloaded (?P<on_cards>{_COUNT})/(?P<of_layers>{_COUNT}) layers to GPU",
        "any build",
        "src/llama-model.cpp, load_tensors",
    ),
    _line(
        "buffer size",
        rf"load_tensors: +{_DEVICE}(?: model)? buffer size = +(?P<model_buffer>{_MIB}) MiB",
        "any build",
        "src/llama-model.cpp, load_tensors",
    ),
    _line(
        "buffer type over",
        r"ensor blk\.(?P<host_experts>\d{1,5})\.ffn_\w{0,20}exps\.\w{1,20} .{0,60}?buffer type over\w{1,8} to CPU",
        "any build, at the level DEBUG",
        "src/llama-model-loader.cpp",
    ),
    # a context
    _line(
        "n_ctx ",
        rf"{_CONTEXT}: n_ctx += (?P<tokens>{_COUNT})",
        "any build",
        "src/llama-context.cpp",
        anew=_OF_A_CONTEXT,
    ),
    _line(
        "n_",
        rf"{_CONTEXT}: (?P<key>n_(?:ctx_seq|ctx_per_seq|seq_max|batch|ubatch|rs_seq)) += (?P<value>\d{{1,12}})",
        "any build",
        "src/llama-context.cpp",
    ),
    _line(
        "flash_attn",
        rf"{_CONTEXT}: (?P<key>flash_attn) += (?P<value>\w{{1,10}})",
        "any build",
        "src/llama-context.cpp",
    ),
    _line(
        "kv_unified",
        r"llama_context: (?P<key>kv_unified) += (?P<value>\w{1,10})",
        "b6100 to b11549",
        "src/llama-context.cpp",
    ),
    _line(
        "Flash Attention",
        r"Flash Attention (?:was |is |)(?:auto, set to |set to )?(?P<flash_attn>enabled|disabled)",
        "b6300 to b11549: where it was left to llama.cpp",
        "src/llama-context.cpp",
    ),
    _line(
        "full-size SWA cache",
        r"using (?P<swa_full>full-size) SWA cache",
        "b5400 to b11549",
        "src/llama-kv-cache-iswa.cpp",
    ),
    _line(
        " cells, ",
        rf"llama_kv_cache\w*: +size = +(?P<kv>{_MIB}) MiB \( *(?P<cells>{_COUNT}) cells, +(?P<layers_kv>{_COUNT}) "
        rf"layers, +{_COUNT}(?:/ *(?P<streams>{_COUNT}))? seqs\), K \((?P<type_k>{_TYPE})\): +{_MIB} MiB, "
        rf"V \((?P<type_v>{_TYPE})\): +{_MIB} MiB",
        "b5300 to b11549; of each kind of cache",
        "src/llama-kv-cache.cpp",
    ),
    _line(
        "KV self size",
        rf"KV self size += +(?P<kv>{_MIB}) MiB, (?:K|c\^KV) \((?P<type_k>{_TYPE})\): +{_MIB} MiB"
        rf"(?:, V \((?P<type_v>{_TYPE})\))?",
        "up to b5300; ik_llama.cpp",
        "src/llama.cpp, llama_new_context_with_model",
    ),
    _line(
        "n_slots",
        r"initializing (?:slots)?, n_slots = (?P<n_seq_max>\d{1,6})",
        "b7000 to b11549",
        "tools/server/server-context.cpp, load_model",
    ),
    _line(
        "llama_memory_recurrent: size",
        rf"llama_memory_recurrent: +size = +(?P<states>{_MIB}) MiB \( *{_COUNT} cells, +{_COUNT} layers, "
        rf"+(?P<n_seq_max>{_COUNT}) seqs(?: +(?P<n_rs_seq>{_COUNT}) rs_seq)?\)",
        "b5500 to b11549",
        "src/llama-memory-recurrent.cpp",
    ),
    _line("KV buffer size", rf"{_DEVICE} KV buffer size = +(?P<kv_buffer>{_MIB}) MiB", "any build", "the same files"),
    _line(
        "RS buffer size", rf"{_DEVICE} RS buffer size = +(?P<rs_buffer>{_MIB}) MiB", "b5500 to b11549", "the same files"
    ),
    _line(
        "compute buffer size",
        rf"{_DEVICE} compute buffer size = +(?P<compute>{_MIB}) MiB",
        "any build",
        "src/llama-context.cpp, sched_reserve",
    ),
    # a start that fails
    _line(
        "failed to allocate",
        r"(?P<refused>failed to allocate (?:\w+ buffer|compute|buffer)[^,]{0,80})",
        "any build",
        "src/llama-model.cpp; src/llama-context.cpp; ggml-alloc.c",
    ),
)

SETTINGS = MappingProxyType(
    {
        "model": "MODEL",
        "n_ctx_seq": "n_ctx_seq",
        "n_ctx_per_seq": "n_ctx_seq",
        "n_seq_max": "n_seq_max",
        "streams": "streams",
        "parallel": "n_seq_max",
        "ctx_size": "n_ctx",
        "n_ubatch": "ubatch-size",
        "ubatch_size": "ubatch-size",
        "flash_attn": "flash-attn",
        "kv_unified": "kv-unified",
        "swa_full": "swa-full",
        "type_k": "type_k",
        "type_v": "type_v",
        "cache_type_k": "type_k",
        "cache_type_v": "type_v",
        "n_rs_seq": "draft-n",
        "n_gpu_layers": "n-gpu-layers",
        "gpu_layers": "n-gpu-layers",
        "n_cpu_moe": "n-cpu-moe",
        "no_kv_offload": "no-kv-offload",
        "tensor_split": "tensor-split",
    }
)
"""What llama.cpp calls them: its own options, or what kvcalc's batch and context are made of."""

FLAGS = MappingProxyType(
    {
        "-m": "model",
        "-c": "ctx_size",
        "-np": "parallel",
        "-ub": "ubatch_size",
        "-fa": "flash_attn",
        "-ctk": "cache_type_k",
        "-ctv": "cache_type_v",
        "-ngl": "n_gpu_layers",
        "-ncmoe": "n_cpu_moe",
        "-nkvo": "no_kv_offload",
        "-ts": "tensor_split",
        "-kvu": "kv_unified",
    }
)
"""common/arg.cpp."""

METADATA = MappingProxyType(
    {
        "arch": "general.architecture",
        "n_ctx_train": "context_length",
        "n_embd": "embedding_length",
        "n_layer": "block_count",
        "n_head": "attention.head_count",
        "n_head_kv": "attention.head_count_kv",
        "n_rot": "rope.dimension_count",
        "n_swa": "attention.sliding_window",
        "n_embd_head_k": "attention.key_length",
        "n_embd_head_v": "attention.value_length",
        "n_embd_head_k_mla": "attention.key_length_mla",
        "n_embd_head_v_mla": "attention.value_length_mla",
        "n_ff": "feed_forward_length",
        "n_expert": "expert_count",
        "n_expert_used": "expert_used_count",
        "n_ff_exp": "expert_feed_forward_length",
        "n_layer_dense_lead": "leading_dense_block_count",
        "n_lora_q": "attention.q_lora_rank",
        "n_lora_kv": "attention.kv_lora_rank",
        "ssm_d_conv": "ssm.conv_kernel",
        "ssm_d_inner": "ssm.inner_size",
        "ssm_d_state": "ssm.state_size",
        "ssm_dt_rank": "ssm.time_step_rank",
        "ssm_n_group": "ssm.group_count",
        "n_vocab": "vocab_size",
        "general.name": "general.name",
    }
)
"""Keys of GGUF, without the architecture, by what print_info calls them (src/llama-model.cpp)."""

LLAMA_CPP = Dialect(
    engine="llama-cpp",
    figures=FIGURES,
    wordings=WORDINGS,
    settings=SETTINGS,
    nested=frozenset(),
    flags=FLAGS,
    process=re.compile(rf"(?P<name>{_DEVICE})(?: model| KV| RS| compute)? buffer size ="),
    typical=("CUDA0 KV buffer size = 1024.00 MiB", "CUDA0 compute buffer size = 560.00 MiB"),
    metadata=METADATA,
    wraps=False,
    before=frozenset({"total memory", "free memory", "working set"}),
)
