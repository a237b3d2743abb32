"""Options of `llama-server` (common/arg.cpp, where each has its flags and its variable, set_env, beside it)."""

from __future__ import annotations

from types import MappingProxyType

from kvcalc.logs.command_lines.base import NOTHING, OFF, CommandLine
from kvcalc.logs.llama_cpp.settings import FLAGS

LLAMA_SERVER = CommandLine(
    "llama-cpp",
    settings=MappingProxyType(
        {
            "model": "MODEL",
            "hf_repo": "REPOSITORY",
            "hf_file": "FILE",
            "ctx_size": "n_ctx",
            "parallel": "n_seq_max",
            "ubatch_size": "ubatch-size",
            "flash_attn": "flash-attn",
            "kv_unified": "kv-unified",
            "swa_full": "swa-full",
            "cache_type_k": "type_k",
            "cache_type_v": "type_v",
            "n_gpu_layers": "n-gpu-layers",
            "gpu_layers": "n-gpu-layers",
            "n_cpu_moe": "n-cpu-moe",
            "no_kv_offload": "no-kv-offload",
            "tensor_split": "tensor-split",
            "split_mode": "split mode",
            "spec_draft_n_max": "draft-n",
            "draft_max": "draft-n",
            "draft": "draft-n",
            "draft_n": "draft-n",
        }
    ),
    flags=MappingProxyType(
        {
            **FLAGS,
            "-hf": "hf_repo",
            "-hfr": "hf_repo",
            "-hff": "hf_file",
            "-sm": "split_mode",
            "-no-kvu": "no_kv_unified",
            "-cmoe": "cpu_moe",
            "-ot": "override_tensor",
            "-md": "model_draft",
            "-a": "alias",
            "-t": "threads",
            "-tb": "threads",
            "-n": "predict",
            "-fit": "fit",
            "-cb": "cont_batching",
            "-cram": "cache_ram",
            "-b": "batch_size",
            "-dev": "device",
            "-mg": "main_gpu",
            "-v": "verbose",
            "-lv": "log_verbosity",
        }
    ),
    switches=frozenset(
        {
            "kv_unified",
            "swa_full",
            "no_kv_offload",
            "cpu_moe",
            "jinja",
            "metrics",
            "mlock",
            "no_mmap",
            "verbose",
            "cont_batching",
            "no_warmup",
            "no_context_shift",
            "embeddings",
            "embedding",
            "reranking",
        }
    ),
    refused=MappingProxyType(
        {
            "cpu_moe": OFF,
            "override_tensor": NOTHING,
            "override_kv": NOTHING,
            "model_draft": NOTHING,
            "spec_type": NOTHING,
            "lora": NOTHING,
            "lora_scaled": NOTHING,
            "rpc": NOTHING,
            "model_url": NOTHING,
            "embeddings": OFF,
            "embedding": OFF,
            "reranking": OFF,
        }
    ),
    noted=frozenset({"mmproj", "device", "main_gpu", "batch_size", "grp_attn_n"}),
    environment=MappingProxyType(
        {
            "LLAMA_ARG_MODEL": "model",
            "LLAMA_ARG_HF_REPO": "hf_repo",
            "LLAMA_ARG_CTX_SIZE": "ctx_size",
            "LLAMA_ARG_N_PARALLEL": "parallel",
            "LLAMA_ARG_UBATCH": "ubatch_size",
            "LLAMA_ARG_FLASH_ATTN": "flash_attn",
            "LLAMA_ARG_CACHE_TYPE_K": "cache_type_k",
            "LLAMA_ARG_CACHE_TYPE_V": "cache_type_v",
            "LLAMA_ARG_N_GPU_LAYERS": "n_gpu_layers",
            "LLAMA_ARG_N_CPU_MOE": "n_cpu_moe",
            "LLAMA_ARG_TENSOR_SPLIT": "tensor_split",
        }
    ),
)
