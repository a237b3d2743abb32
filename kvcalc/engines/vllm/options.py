"""vLLM's options as text: each by the engine's own name, with the default of its documentation."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.engines.option import Option
from kvcalc.engines.option_values import AUTO, count, flag, or_auto
from kvcalc.errors import KvcalcError
from kvcalc.units import parse_count, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KERNEL_BLOCK = 16
KERNEL_BLOCKS = "vllm/v1/attention/backends/triton_attn.py and flash_attn.py, get_supported_kernel_block_sizes"

USAGES = ("server", "offline", "async")
BALANCED, THROUGHPUT, INTERACTIVITY = "balanced", "throughput", "interactivity"
NATIVE, LMCACHE = "native", "lmcache"
GENERATE, POOLING = "generate", "pooling"
CUTLASS = "cutlass"
FLASHINFER, TRITON = "flashinfer", "triton"
WITHOUT_MODEL = ("ngram", "suffix")
"""Methods that draft from the text itself (vllm/config/speculative.py, SpeculativeMethod)."""
DSPARK = "dspark"
"""Layers in the checkpoint of DeepSeek-V4 and V4.1 that draft a block of tokens at once."""
MOE_BACKENDS = (
    *(AUTO, CUTLASS, "triton", "triton_unfused", "batched_triton", "deep_gemm", "deep_gemm_mega_moe", "marlin"),
    *("flashinfer_trtllm", "flashinfer_cutlass", "flashinfer_cutedsl", "flashinfer_b12x", "b12x"),
    *("flashinfer_moe_ep_cutedsl", "flashinfer_moe_ep_mega_cutedsl", "flashinfer_moe_ep_mega_deep_gemm"),
    *("aiter", "aiter_mega_moe", "aiter_triton_mxfp4_bf16", "aiter_triton_mxfp4_mxfp4"),
    *("humming", "flydsl", "hpc", "rdna3", "emulation"),
)
"""Names of --moe-backend in 0.19, 0.29 and 0.31 to 0.33 (vllm/config/kernel.py, MoEBackend)."""
STEP_TOKENS = "Tokens that a step computes at most; auto: 2048, 8192 or 16384, by version, card and usage."
STEP_SEQUENCES = "Sequences that a step computes at most; auto: 128, 256 or 1024, by version, card and usage."
MOST_TOKENS = 10**9
MOST_BLOCK = 10**6
MOST_SPECULATIVE = 1000


def _one_of(*known: str) -> Callable[[str, str], str]:
    def read(text: str, what: str) -> str:
        if text not in known:
            raise KvcalcError(f"{what}: '{text[:40]}' is none of {', '.join(known)}")
        return text

    return read


def _moe_backend(text: str, what: str) -> str:
    """As the command line takes it (vllm/engine/arg_utils.py)."""
    return _one_of(*MOE_BACKENDS)(text.lower().replace("-", "_"), what)


def _block_size(text: str, what: str) -> int:
    size = parse_count(text, what, MOST_BLOCK)
    if size % KERNEL_BLOCK:
        raise KvcalcError(f"{what}: {size:,} is no multiple of {KERNEL_BLOCK}, as kernels need it ({KERNEL_BLOCKS})")
    return size


GIVEN_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "max-model-len": "--context",
        "gpu-memory-utilization": "--utilization",
        "tensor-parallel-size": "--tp",
        "pipeline-parallel-size": "--pp",
        "data-parallel-size": "--dp with --dp-attention",
        "decode-context-parallel-size": "--dcp",
        "enable-expert-parallel": "--ep",
        "kv-cache-dtype": "--cache-dtype",
        "dtype": "--dtype",
        "quantization": "--weight-dtype",
    }
)
"""Options of vLLM that kvcalc has as options of its own."""

OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "max-num-batched-tokens": Option(
            or_auto(count(MOST_TOKENS)),
            AUTO,
            STEP_TOKENS,
        ),
        "max-num-seqs": Option(
            or_auto(count(MOST_TOKENS)),
            AUTO,
            STEP_SEQUENCES,
        ),
        "block-size": Option(
            or_auto(_block_size),
            AUTO,
            "Tokens of a block, a multiple of 16; auto: the least that the attention backend takes.",
            source=KERNEL_BLOCKS,
        ),
        "enable-prefix-caching": Option(or_auto(flag), AUTO, "Whether blocks of equal prefixes are shared."),
        "disable-hybrid-kv-cache-manager": Option(
            or_auto(flag), AUTO, "Whether layers with windows or chunks keep every token."
        ),
        "enable-chunked-prefill": Option(
            or_auto(flag),
            AUTO,
            "From 0.19: whether a prompt may take several steps; without, a step has room for the longest request.",
            source="vllm/engine/arg_utils.py, _set_default_max_num_seqs_and_batched_tokens_args; "
            "vllm/config/scheduler.py, verify_max_model_len",
        ),
        "async-scheduling": Option(
            or_auto(flag),
            AUTO,
            "Whether a step is scheduled while another runs, whose tokens windows are then kept for too; auto: where "
            "the version can.",
            source="vllm/config/vllm.py, VllmConfig.__post_init__ and max_concurrent_batches",
        ),
        "enforce-eager": Option(flag, "false", "Whether there are no CUDA graphs."),
        "compiled-before": Option(
            or_auto(flag),
            AUTO,
            "Whether a start finds what an earlier one compiled, which takes less memory; auto: it compiles.",
            source="vllm/compilation/backends.py, CompilerManager.load",
        ),
        "usage": Option(
            _one_of(*USAGES), "server", "Whose defaults: the server's, the offline LLM class's, or AsyncLLMEngine's."
        ),
        "use-v1": Option(
            or_auto(flag),
            AUTO,
            "Whether its engine is V1, from 0.8 to 0.10 (VLLM_USE_V1); auto: by card and pipeline stages.",
        ),
        "use-flashinfer-sampler": Option(
            or_auto(flag),
            AUTO,
            "Whether FlashInfer, being installed, samples (VLLM_USE_FLASHINFER_SAMPLER); auto: by version and card.",
            source="vllm/v1/sample/ops/topk_topp_sampler.py, TopKTopPSampler",
        ),
        "moe-backend": Option(
            _moe_backend,
            AUTO,
            "From 0.17: what computes experts; cutlass holds more for those in nvfp4, others are counted alike.",
            source="vllm/config/kernel.py, MoEBackend; vllm/model_executor/layers/fused_moe/experts/cutlass_moe.py",
        ),
        "gdn-prefill-backend": Option(
            _one_of(AUTO, FLASHINFER, TRITON),
            AUTO,
            "What computes prompts of gated delta nets: from 0.33 FlashInfer exports states, which takes a block more, "
            "and Triton does not; auto: FlashInfer where the card has it.",
            source="vllm/model_executor/layers/mamba/gdn/qwen_gdn_linear_attn.py, _resolve_gdn_prefill_backend",
        ),
        "performance-mode": Option(
            _one_of(BALANCED, THROUGHPUT, INTERACTIVITY),
            BALANCED,
            "From 0.17: throughput doubles the defaults of tokens and sequences, interactivity captures more sizes.",
            source="vllm/engine/arg_utils.py, _set_default_max_num_seqs_and_batched_tokens_args",
        ),
        "kv-cache-memory-bytes": Option(
            or_auto(parse_size), AUTO, "Memory for the cache on each rank, instead of what is left."
        ),
        "kv-offloading-backend": Option(
            _one_of(NATIVE, LMCACHE),
            NATIVE,
            "What keeps caches in --host-memory: vLLM itself, or from 0.23 LMCache's server, of that size.",
            source="vllm/config/cache.py, KVOffloadingBackend",
        ),
        "runner": Option(
            _one_of(GENERATE, POOLING),
            GENERATE,
            "What it serves: tokens, or embeddings and the like (pooling), for which nothing is sampled.",
            source="vllm/config/model.py, RunnerOption; vllm/v1/worker/gpu_model_runner.py, profile_run",
        ),
        "language-model-only": Option(
            flag,
            "false",
            "From 0.15: whether towers are left out, as where --limit-mm-per-prompt is 0 for all that is no text (the "
            "flag of this name is in 0.17, not in 0.16).",
            source="vllm/model_executor/models/interfaces.py, _mark_tower_model",
        ),
        "skip-mm-profiling": Option(
            flag,
            "false",
            "Whether memory is profiled with text alone, so that towers have none set aside; it must be left free.",
            source="vllm/config/multimodal.py, skip_mm_profiling",
        ),
        "num-speculative-tokens": Option(count(MOST_SPECULATIVE, 0), "0", "Tokens that are drafted a step."),
        "speculative-method": Option(
            _one_of(AUTO, *WITHOUT_MODEL, DSPARK),
            AUTO,
            "What drafts them where no model does, nor layers that predict one token each: the text itself (from 0.26 "
            "to 0.32 steps then do not overlap), or from 0.26 DeepSeek-V4's layers that draft a block (dspark).",
            source="vllm/config/vllm.py, VllmConfig.__post_init__ (async_scheduling)",
        ),
    }
)
"""By the engine's own name."""
