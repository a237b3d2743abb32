"""vLLM's rules in words, for people; the code that follows them stands in the files beside this one."""

from __future__ import annotations

from kvcalc.engines.option import Rule

INTERFACE = "vllm/v1/kv_cache_interface.py"
PLANNING = "vllm/v1/core/kv_cache_planning.py (before 0.33 kv_cache_utils.py)"
PRINTING = "vllm/v1/core/kv_cache_utils.py"

RULES = (
    Rule(
        "blocks of a request, layers that keep every token",
        "ceil(ceil(max-model-len / dcp) / block-size)",
        f"{INTERFACE}, FullAttentionSpec and MLAAttentionSpec.max_memory_usage_bytes",
    ),
    Rule(
        "blocks of a request, sliding windows",
        "ceil(min(window - 1 + tokens in flight, max-model-len) / block-size) + 1; from 0.28 drafted "
        "tokens - 1 more where several of the model's own layers draft",
        f"{INTERFACE}, SlidingWindowSpec.max_memory_usage_bytes",
    ),
    Rule(
        "blocks of a request, chunks",
        "ceil(min(chunk + tokens in flight, max-model-len) / block-size)",
        f"{INTERFACE}, ChunkedLocalAttentionSpec.max_memory_usage_bytes",
    ),
    Rule(
        "blocks of a request, states",
        "1; 2 where prefix caching keeps the state of the last whole block; more for drafted tokens",
        f"{INTERFACE}, MambaSpec.max_memory_usage_bytes",
    ),
    Rule(
        "blocks of a request, rings",
        "1, of index_kpool tokens; with drafted tokens beside latents of the next power of two of so many that holds "
        "both, beside heads of as many as hold both, each with 3 whole numbers of 8 bytes for its place",
        f"{INTERFACE}, CircularBufferSpec; vllm/models/glm5next/common/attention.py, Glm5NextTailCache; "
        "vllm/models/qwen4_exp/common/qsa_cache.py, QSAKeyStateCache",
    ),
    Rule(
        "blocks of a request, cross attention",
        "ceil(max-num-batched-tokens / block-size)",
        f"{INTERFACE}, CrossAttentionSpec; vllm/config/scheduler.py, max_num_encoder_input_tokens",
    ),
    Rule(
        "what drafts (--draft, --mtp)",
        "its layers are laid out with the model's, on the last stage and over the model's tp",
        "vllm/config/speculative.py; vllm/v1/spec_decode/draft_model.py, _raise_if_draft_tp_mismatch",
    ),
    Rule(
        "layers of a group",
        "as many as the kind with the fewest has, or the most where that is less than 1.5 times as many",
        f"{PLANNING}, get_kv_cache_groups",
    ),
    Rule(
        "bytes of a block",
        "the most that the layers of one group need, whichever group takes it",
        f"{PLANNING}, get_kv_cache_config_from_groups",
    ),
    Rule(
        "bytes of a block beside pooled index keys",
        "up to whole rows of latents (32 of them on Blackwell) and whole kernel blocks of keys",
        f"{PLANNING}, _get_kv_cache_bytes_per_block",
    ),
    Rule(
        "tokens of a block beside states",
        "alignment x ceil(bytes of a state / (alignment x bytes of a token and layer))",
        "vllm/platforms/interface.py, _align_hybrid_block_size",
    ),
    Rule("blocks held back", "1 null block on every rank", "vllm/v1/core/block_pool.py, BlockPool"),
    Rule("blocks of a rank", "as many as the rank with the fewest has", f"{PLANNING}, get_kv_cache_configs"),
    Rule(
        "compressed attention",
        "entries, an indexer's keys and windows are layers of their own; what waits is a window (DeepSeek-V4) or a "
        "ring in one block a request (V4.1: at least 8 rows, and those drafted + 2); blocks of 256 tokens, of V4.1 "
        "64 on Hopper and 128 on Blackwell, where entries are in nvfp4_ds_mla",
        "vllm/models/deepseek_v4/attention.py and compressor.py; vllm/models/deepseek_v41",
    ),
    Rule(
        "layers of a pipeline stage",
        "layers // pp; what is left goes to the stages before the last, one each, backwards",
        "vllm/distributed/utils.py, get_pp_indices",
    ),
    Rule(
        "concurrency, as printed",
        "blocks / blocks of a request",
        f"{PRINTING}, get_max_concurrency_for_kv_cache_config",
    ),
    Rule(
        "GPU KV cache size, as printed",
        "int(concurrency x max-model-len); before 0.20.1 blocks // groups x block-size x dcp",
        f"{PRINTING}, get_kv_cache_capacity",
    ),
)
"""The cache's, in the order in which they are applied."""

MEMORY_RULES = (
    Rule(
        "memory requested",
        "ceil(memory of the card x utilization), 0.92 where nobody says, up to 0.19 0.9; before 0.14 not rounded",
        "vllm/v1/worker/utils.py, request_memory; vllm/config/cache.py, gpu_memory_utilization",
    ),
    Rule(
        "memory of the cache",
        "memory requested - weights - temporary memory - overhead; kv-cache-memory-bytes instead, where it is given",
        "vllm/v1/worker/gpu_worker.py, determine_available_memory",
    ),
    Rule(
        "temporary memory",
        "the larger of sampling and a layer, + the experts' workspace from 0.14, + images; a pipeline stage that is "
        "not the last does not sample; without images and with tp 1, at least what compiling holds from 0.12: "
        "(vocabulary + 2 x max-num-batched-tokens) x hidden_size x bytes of an element",
        "vllm/v1/worker/gpu_model_runner.py, profile_run",
    ),
    Rule(
        "temporary memory, sampling",
        "max-num-seqs x vocabulary x bytes of a logit + max-num-batched-tokens x hidden_size x bytes of an element + "
        "...; with bf16 38 bytes of a logit where CUDA sorts, 50 for 2 to 127 rows; 14 with Triton (0.17) or "
        "FlashInfer (from 0.22); with runner V2 6, in 0.26 and from 0.28 2, from 0.33 14",
        "vllm/v1/sample/ops/topk_topp_sampler.py; vllm/v1/worker/gpu/sample/sampler.py",
    ),
    Rule(
        "temporary memory, a layer",
        "max-num-batched-tokens x (3 x intermediate_size / tp + 4 x hidden_size) x bytes of an element + 16 MiB, and "
        "what else is wider: experts before 0.14, states, a latent's context and what layers hold beside it",
        "vLLM's layers; 4 x hidden_size and 16 MiB are fitted on logs of 0.19 and hold in others",
    ),
    Rule(
        "overhead",
        "non-torch memory as observed, by version, card and ranks; from 0.27 to 0.30 what PyTorch keeps, 0.1 GiB (six "
        "machines), 0.05 with enforce-eager (three); CUDA graphs as estimated, fitted: from 0.20 about 0.021 GiB a "
        "layer on Hopper (35 logs) and 0.019 on others (eight), with runner V2 from 0.29 8 MiB a size (four), and "
        "0.021 GiB a layer more where NCCL sums over PCIe (five; before Blackwell, GeForce or more than 2 ranks); "
        "counters of runner V2, max-num-seqs x vocabulary x 4.125 bytes, from 0.27",
        "start-up logs; vllm/v1/worker/gpu_model_runner.py, profile_cudagraph_memory; "
        "vllm/v1/worker/gpu/sample/penalties.py",
    ),
)
"""The memory's: how much the cache gets."""

WEIGHT_RULES = (
    Rule(
        "weights, tables of rotations",
        "positions x rotated elements of a head x bytes of an element, one for all layers that rotate alike; none "
        "where the class is transformers' own (from 0.29, more from 0.32); with images four times the positions, but "
        "as many as tokens of Qwen3-VL, Qwen3.5 and Qwen4 from 0.32",
        "vllm/model_executor/layers/rotary_embedding/base.py, cos_sin_cache",
    ),
    Rule(
        "weights, experts in mxfp4",
        "Marlin (Ampere, Ada, Blackwell of RTX and GB10; Hopper before 0.13): rows to 128, hidden_size to 256; TRT-LLM "
        "(B100 to B300): rows to 256, from 0.29 128, hidden_size to 256; Triton (Hopper): rows to 64, then as its "
        "layouts swizzle them, and before 0.26 the scales twice",
        "vllm/model_executor/layers/fused_moe/oracle/mxfp4.py; vllm/third_party/triton_kernels/tensor_details",
    ),
    Rule(
        "weights, experts in nvfp4",
        "a rank's columns of an expert: on Blackwell to 128, where a gate goes beside them to 64 (before 0.26 to 16); "
        "Marlin on others, from 0.25 to 64, or to 128 where hidden_size is no multiple of 128",
        "vllm/model_executor/layers/fused_moe/oracle/nvfp4.py; quantization/utils/marlin_utils_fp4.py",
    ),
    Rule(
        "weights, latents",
        "where kv_b_proj is quantised, the same again in the model's dtype",
        "vllm/model_executor/layers/attention/mla_attention.py, process_weights_after_loading",
    ),
    Rule(
        "weights, embedding and output head",
        "rows to a multiple of 64, then divided over tp",
        "vllm/model_executor/layers/vocab_parallel_embedding.py",
    ),
    Rule(
        "weights, tables on pipeline stages",
        "embedding on the first, output head on the last; of Mixtral, Gemma, Qwen's experts, gpt-oss, Nemotron-H and "
        "others on every stage",
        "vllm/model_executor/models: VocabParallelEmbedding and ParallelLMHead",
    ),
    Rule(
        "weights, routers",
        "copied on every rank; in fp32 of MiniMax-M2, GLM-4.5, ERNIE-4.5, MiMo-V2, Step-3.5 and AFMoE",
        "vllm/model_executor/models: params_dtype of the gate",
    ),
    Rule(
        "weights, towers",
        "divided over tp, but whole on every rank of Gemma-3n and Gemma-4, and before 0.22 of Mistral's own format; "
        "from 0.33 on the first pipeline stage alone",
        "vllm/config/multimodal.py, mm_encoder_tp_mode; vllm/model_executor/models",
    ),
    Rule(
        "weights, tables of n-grams",
        "in pinned host memory, none on the card (engram_config.cpu_offload)",
        "vllm/config/engram.py; vllm/models/deepseek_v41/common/engram.py",
    ),
    Rule(
        "weights, ends of blocks",
        "a tensor of 10 MiB or more takes whole 2 MiB where at most 1 MiB is left of them",
        "torch, c10/cuda/CUDACachingAllocator.cpp, should_split; vllm/utils/mem_utils.py, DeviceMemoryProfiler",
    ),
)
"""What is loaded beyond a rank's share of the checkpoint."""
