"""Options of `llama-server` (common/arg.cpp, where each has its flags and its variable, set_env, beside it)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.logs.command_lines.base import NOTHING, OFF, CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SETTINGS = """
MODEL          -m --model LLAMA_ARG_MODEL
REPOSITORY     -hf -hfr --hf-repo LLAMA_ARG_HF_REPO
FILE           -hff --hf-file LLAMA_ARG_HF_FILE
n_ctx          -c --ctx-size LLAMA_ARG_CTX_SIZE
n_seq_max      -np --parallel LLAMA_ARG_N_PARALLEL
n_batch        -b --batch-size LLAMA_ARG_BATCH
ubatch-size    -ub --ubatch-size LLAMA_ARG_UBATCH
flash-attn     -fa --flash-attn LLAMA_ARG_FLASH_ATTN
kv-unified     -kvu --kv-unified LLAMA_ARG_KV_UNIFIED
swa-full       --swa-full LLAMA_ARG_SWA_FULL
kv_offload     -kvo --kv-offload LLAMA_ARG_KV_OFFLOAD
type_k         -ctk --cache-type-k LLAMA_ARG_CACHE_TYPE_K
type_v         -ctv --cache-type-v LLAMA_ARG_CACHE_TYPE_V
n-gpu-layers   -ngl --gpu-layers --n-gpu-layers LLAMA_ARG_N_GPU_LAYERS
n-cpu-moe      -ncmoe --n-cpu-moe LLAMA_ARG_N_CPU_MOE
cpu-moe        -cmoe --cpu-moe LLAMA_ARG_CPU_MOE
override-tensor -ot --override-tensor LLAMA_ARG_OVERRIDE_TENSOR
split_mode     -sm --split-mode LLAMA_ARG_SPLIT_MODE
tensor-split   -ts --tensor-split LLAMA_ARG_TENSOR_SPLIT
draft          -md --model-draft --spec-draft-model LLAMA_ARG_SPEC_DRAFT_MODEL LLAMA_ARG_MODEL_DRAFT
draft-hub      -hfd -hfrd --hf-repo-draft --spec-draft-hf LLAMA_ARG_SPEC_DRAFT_HF_REPO
draft-type     --spec-type LLAMA_ARG_SPEC_TYPE
draft-n        --spec-draft-n-max --draft --draft-n --draft-max LLAMA_ARG_SPEC_DRAFT_N_MAX LLAMA_ARG_DRAFT_MAX
draft-layers   -ngld --gpu-layers-draft --n-gpu-layers-draft --spec-draft-ngl LLAMA_ARG_N_GPU_LAYERS_DRAFT
draft-k        -ctkd --cache-type-k-draft --spec-draft-type-k LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_K
draft-v        -ctvd --cache-type-v-draft --spec-draft-type-v LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_V
"""
"""What each option stands for, its flags and its variable."""
_REFUSED = """
-ncffn --n-cpu-ffn LLAMA_ARG_N_CPU_FFN
--moe-cache-mib LLAMA_ARG_MOE_CACHE_MIB
--override-kv
--kv-unified-per-slot LLAMA_ARG_KV_UNIFIED_PER_SLOT
-otd --override-tensor-draft --spec-draft-override-tensor
-cmoed --cpu-moe-draft --spec-draft-cpu-moe
-ncmoed --n-cpu-moe-draft --spec-draft-n-cpu-moe --spec-draft-ncmoe
--ctx-size-draft LLAMA_ARG_CTX_SIZE_DRAFT
--spec-default
--lora
--lora-scaled
--rpc LLAMA_ARG_RPC
-mu --model-url LLAMA_ARG_MODEL_URL
-dr --docker-repo LLAMA_ARG_DOCKER_REPO
--models-dir LLAMA_ARG_MODELS_DIR
--models-preset LLAMA_ARG_MODELS_PRESET
--embedding --embeddings LLAMA_ARG_EMBEDDINGS
--rerank --reranking LLAMA_ARG_RERANKING
--embd-gemma-default --fim-qwen-1.5b-default --fim-qwen-3b-default --fim-qwen-7b-default
--fim-qwen-7b-spec --fim-qwen-14b-spec --fim-qwen-30b-default
--gpt-oss-20b-default --gpt-oss-120b-default --vision-gemma-4b-default --vision-gemma-12b-default
"""
"""What changes memory in a way that is not followed: tensors elsewhere, adapters, another model."""
_NOTED = """
-mm --mmproj LLAMA_ARG_MMPROJ
-mmu --mmproj-url LLAMA_ARG_MMPROJ_URL
--mmproj-auto LLAMA_ARG_MMPROJ_AUTO
--mmproj-offload LLAMA_ARG_MMPROJ_OFFLOAD
-mmdev --mmproj-device
--mtmd-batch-max-tokens LLAMA_ARG_MTMD_BATCH_MAX_TOKENS
--image-max-tokens LLAMA_ARG_IMAGE_MAX_TOKENS
--image-min-tokens LLAMA_ARG_IMAGE_MIN_TOKENS
-dev --device LLAMA_ARG_DEVICE
-devd --device-draft --spec-draft-device
-mg --main-gpu LLAMA_ARG_MAIN_GPU
-gan --grp-attn-n LLAMA_ARG_GRP_ATTN_N
--no-host LLAMA_ARG_NO_HOST
--op-offload
--pooling LLAMA_ARG_POOLING
--control-vector
--control-vector-scaled
-bs --backend-sampling LLAMA_ARG_BACKEND_SAMPLING
-fitt --fit-target LLAMA_ARG_FIT_TARGET
-fitc --fit-ctx LLAMA_ARG_FIT_CTX
"""
"""What may change memory beside the cache."""
_HARMLESS = """
-h --help --usage
-cl --cache-list
-t --threads
-tb --threads-batch
-td --threads-draft --spec-draft-threads
-tbd --threads-batch-draft --spec-draft-threads-batch
-C --cpu-mask
-Cr --cpu-range
-Cb --cpu-mask-batch
-Crb --cpu-range-batch
-n --predict --n-predict
-e --escape
-nr --no-repack
-dt --defrag-thold
-lm --load-mode
-lzm --lazy-mode
-fit --fit
-hft --hf-token
-v --verbose
-lv --verbosity
-s --seed
-l --logit-bias
-j --json-schema
-jf --json-schema-file
-lcs --lookup-cache-static
-lcd --lookup-cache-dynamic
-ctxcp --ctx-checkpoints --swa-checkpoints
-cms --checkpoint-min-step
-cram --cache-ram
-r --reverse-prompt
-sp --special
-cb --cont-batching
-nocb --no-cont-batching
-a --alias
-ag --agent
-no-ag --no-agent
-to --timeout
-rea --reasoning
-sps --slot-prompt-similarity
--cpu-strict --cpu-strict-batch --prio --prio-batch --poll --poll-batch --keep --perf --repack --mlock --mmap
--direct-io --check-tensors --control-vector-layer-range --offline --samplers --sampler-seq --sampling-seq
--ignore-eos --temperature --grammar --grammar-file --cache-idle-slots --context-shift --warmup --spm-infill --tags
--embd-normalize --reuse-port --path --cors-origins --cors-methods --cors-headers --cors-credentials --ui
--ui-config --ui-config-file --ui-mcp-proxy --mcp-servers-config --mcp-servers-json --sse-ping-interval
--cache-prompt --media-path --models-max --models-autoload --skip-chat-parsing --prefill-assistant --slot-save-path
--lora-init-without-apply --log-prompts-dir --draft-min --draft-n-min
--spec-draft-n-min --spec-draft-p-min --draft-p-min --spec-draft-p-split --draft-p-split
--spec-draft-backend-sampling --spec-draft-sampling --spec-synth-len --spec-synth-rates
"""
"""What changes no memory of a card."""
_MODELS = frozenset(each[2:].replace("-", "_") for each in _REFUSED.split() if each.endswith(("-default", "-spec")))
_SWITCHES = frozenset(
    {
        *_MODELS,
        *("kv_unified", "swa_full", "kv_offload", "cpu_moe", "embedding", "embeddings", "rerank", "reranking"),
        *("spec_default", "jinja", "metrics", "mlock", "mmap", "no_mmap", "verbose", "cont_batching", "warmup"),
        *("no_warmup", "no_context_shift", "context_shift", "mmproj_auto", "mmproj_offload", "no_host", "op_offload"),
        *("help", "cache_list", "perf", "escape", "no_repack", "repack", "check_tensors", "offline", "ignore_eos"),
        *("cache_idle_slots", "special", "spm_infill", "no_cont_batching", "reuse_port", "cors_credentials", "ui"),
        *("ui_mcp_proxy", "agent", "no_agent", "cache_prompt", "models_autoload", "skip_chat_parsing", "props"),
        *("prefill_assistant", "lora_init_without_apply", "cpu_moe_draft", "spec_draft_backend_sampling", "slots"),
        *("backend_sampling", "direct_io"),
        *(
            name
            for name in _REFUSED.replace("--", "").replace("-", "_").split()
            if name.endswith(("_default", "_spec"))
        ),
    }
)


def _rows(table: str) -> Iterator[list[str]]:
    return (row.split() for row in table.strip().splitlines())


def _named(flag: str) -> str:
    return flag.removeprefix("--").lower().replace("-", "_")


def _long(row: list[str]) -> list[str]:
    return [_named(each) for each in row if each.startswith("--")]


def _by_first(starts: str, *tables: str) -> Mapping[str, str]:
    """The first long name of each row, by its short flags or by its variable."""
    return MappingProxyType(
        {
            each: _long(row)[0]
            for table in tables
            for row in _rows(table)
            for each in row
            if each.startswith(starts) and not each.startswith("--")
        }
    )


_ALL = (_SETTINGS, _REFUSED, _NOTED, _HARMLESS)
READ = frozenset(word for table in _ALL[:3] for word in table.split() if word.startswith(("-", "LLAMA_ARG_")))
"""Flags and variables that say something of memory."""

LLAMA_SERVER = CommandLine(
    "llama-cpp",
    settings=MappingProxyType({name: row[0] for row in _rows(_SETTINGS) for name in _long(row)}),
    flags=MappingProxyType({**_by_first("-", *_ALL), "-nkvo": "no_kv_offload", "-no-kvu": "no_kv_unified"}),
    switches=_SWITCHES,
    refused=MappingProxyType(
        {
            name: OFF if name in {"n_cpu_ffn", "moe_cache_mib", *_SWITCHES} else NOTHING
            for row in _rows(_REFUSED)
            for name in _long(row)
        }
    ),
    noted=frozenset(name for row in _rows(_NOTED) for name in _long(row)),
    harmless=frozenset(name for row in _rows(_HARMLESS) for name in _long(row)),
    environment=_by_first("LLAMA_ARG_", _SETTINGS, _REFUSED, _NOTED),
    added=frozenset({"override_tensor"}),
)
