"""SGLang's rules in words, for people; the code that follows them stands in the files beside this one."""

from __future__ import annotations

from kvcalc.engines.option import Rule

CONFIGURATOR = "sglang/srt/model_executor/pool_configurator.py"
KV_CACHE = "sglang/srt/mem_cache/kv_cache_configurator.py"
POOL = "sglang/srt/mem_cache/memory_pool.py"
ARGS = "sglang/srt/server_args.py (since 0.5.19 sglang/srt/arg_groups/memory_hook.py)"

RULES = (
    Rule(
        "memory of the pools",
        "free after loading - (1 - mem-fraction-static) x free before loading",
        f"{KV_CACHE}, _profile_available_bytes",
    ),
    Rule(
        "weights",
        "what they take of free memory: in segments of PyTorch's allocator, of which matrices of 1 to 10 MiB share "
        "those of 20 MiB; counted for the matrices of attention, feed-forward blocks and tables that take a byte an "
        "element or more",
        "sglang/srt/model_executor/model_runner.py, load_model; torch, c10/cuda/CUDACachingAllocator.cpp",
    ),
    Rule(
        "weights of latents (MLA)",
        "w_kc and w_vc beside kv_b_proj, in the dtype of computing; of fp8 with one scale a tensor, and on AMD's "
        "cards, in fp8. MiniCPM3 lets kv_b_proj go",
        "sglang/srt/models/deepseek_common/deepseek_weight_loader.py, post_load_weights; sglang/srt/models/minicpm3.py",
    ),
    Rule(
        "mem-fraction-static, where nobody gives it",
        "(memory of the card - reserved) / memory of the card, to three decimals; in MiB reserved is 512 + 1.5 x "
        "chunked-prefill-size + 2 x cuda-graph-max-bs + 128 x tp x pp + 8 x sizes of graphs of prefill (1536 with "
        "latents; since 0.5.10), and 3 to 4.5 x cuda-graph-max-bs x dp with dp-attention; at least 10240 on cards "
        "above 60 GiB. 0.4.8 to 0.5.2: by the card and the ranks; before: 0.88 to 0.79 by the ranks",
        f"{ARGS}, handle_gpu_memory_settings",
    ),
    Rule(
        "what drafts (--draft, --mtp), since 0.5.14",
        "a pool of as many tokens as the model's; for each of its layers a token is priced as one of the model's full "
        "layers, while layers of the model's own still hold copies of embedding and output head. Own layers of Qwen's "
        "models have no price, and lie in what is left free; those of MiMo, Nemotron-H and Kimi-K2.5 have one since "
        "0.5.20. max-running-requests is 48 where nobody says",
        f"{CONFIGURATOR}; sglang/srt/speculative/eagle_worker_v2.py, alloc_memory_pool",
    ),
    Rule(
        "mem-fraction-static with towers",
        "x 0.95 x (1 - 0.1 x (layers x hidden_size^2 of the tower / (24 x 1024^2) - 1)), the last from 0.8 to 1.05; "
        "not for DeepSeek-V4.1, whose vision_config is not kept",
        f"{ARGS}, adjust_mem_fraction_for_vlm",
    ),
    Rule(
        "chunked-prefill-size, where nobody gives it",
        "2048 below 20 GiB, 4096 below 60 (2048 below 35 before 0.5.20), 8192 below 160, else 16384; with dp-attention "
        "divided by dp",
        f"{ARGS}, handle_gpu_memory_settings",
    ),
    Rule(
        "cuda-graph-max-bs, where nobody gives it",
        "8 below 20 GiB; 48 below 35, 32 below 60, 256 below 160 (160, 160, 512 from tp 4 on); else 512",
        f"{ARGS}, handle_gpu_memory_settings",
    ),
    Rule(
        "compressed attention (DeepSeek-V4 since 0.5.15, V4.1 since 0.5.21)",
        "a pool of windows of 0.1 of the tokens (since 0.5.21 of max-running-requests, 256: (768 + 4 x 384 with a "
        "radix cache) each, two chunks and a page), with an entry of each layer and 8 states of ratio 4 per 128 "
        "tokens (256); entries and keys in groups of their ratio, V4.1's keys in 68 bytes; 128 states of ratio 128 and "
        "2 of ratio 2 for each request that may run and two more; an entry takes 584 bytes, of V4.1 since 0.5.23 on "
        "Blackwell, where a rank has all heads, 528 in windows and 288 elsewhere",
        f"{CONFIGURATOR}, DSV4PoolConfigurator; sglang/srt/arg_groups/deepseek_v4_hook.py, "
        "_default_dsv4_attention_backend",
    ),
    Rule(
        "tokens of the pool",
        "memory // bytes of a token in all layers, rounded down to pages; the least of all stages",
        f"{CONFIGURATOR}, DefaultPoolConfigurator.calculate_pool_sizes",
    ),
    Rule(
        "tokens of the pool of windows",
        "swa-full-tokens-ratio x tokens of the full pool, whatever the window; both share the memory",
        f"{CONFIGURATOR}, HybridSWAPoolConfigurator",
    ),
    Rule(
        "tokens of the pool of windows with disable-radix-cache and max-running-requests (since 0.5.22)",
        "(window + 128 + 2 x page-size) x max-running-requests + 2 x chunked-prefill-size + page-size, rounded up to "
        "pages, with one chunked-prefill-size where pp is above 1; the full pool has what is left. The window is one "
        "token less of gpt-oss, Gemma-4, Mellum, Muse",
        f"{CONFIGURATOR}, SWARequestCapPoolConfigurator",
    ),
    Rule(
        "which windows have a pool",
        "those of Llama-4, gpt-oss, MiMo-V2, Step-3.5, Gemma-4, Laguna and later classes, by version; others, Gemma-3 "
        "among them, keep every token",
        "sglang/srt/configs/model_config.py, is_hybrid_swa_model",
    ),
    Rule(
        "memory of the states",
        "memory x mamba-full-memory-ratio / (1 + mamba-full-memory-ratio), in whole slots; a slot more for padding, of "
        "the same memory since 0.5.17",
        f"{KV_CACHE}, _handle_max_mamba_cache",
    ),
    Rule(
        "states of drafted tokens (--draft, --mtp)",
        "(drafted tokens + 1) x requests, as many as may run and as slots of states allow, and the padding slot's; a "
        "slot takes the states' share of memory with its part of these",
        f"{KV_CACHE}, _handle_max_mamba_cache",
    ),
    Rule(
        "format of states",
        "fp32, of gated delta nets as mamba_ssm_dtype of the model's file says; mamba_ssm_cache_dtype, as Nemotron-H's "
        "file has it, is not read. What convolutions keep is bf16",
        "sglang/srt/configs/mamba_utils.py, mamba2_state_dtype",
    ),
    Rule(
        "slots of a sequence",
        "3 where equal prefixes are shared, 5 since 0.5.14 (AMD 0.5.16) of most classes where steps overlap; "
        "mamba-radix-cache-strategy says it; 1 with disable-radix-cache",
        f"{KV_CACHE}, _calculate_mamba_ratio",
    ),
    Rule("padding", "one page more in every buffer, beside the budget", f"{POOL}, MHATokenToKVPool"),
    Rule(
        "layers that share a cache",
        "rows of their own in the pool, as any other layer",
        "sglang/srt/configs/model_config.py, get_hybrid_layer_ids",
    ),
    Rule(
        "latents with an indexer",
        "576 elements and 132 bytes of the indexer's keys; in fp8 656 + 132 bytes, with the kernels of Blackwell 576 + "
        "132 since 0.5.10; pages of 64",
        f"{KV_CACHE}, calculate_mla_kv_cache_dim",
    ),
    Rule(
        "HiSparse (enable-hisparse; 0.5.23, latents with an indexer on Hopper, with disable-radix-cache)",
        "a token of the pool has latents, and index keys of host_to_device_ratio (2) tokens; as many tokens are held, "
        "their latents in host memory, of each rank, with a page more. A request has device_buffer_size (4096) tokens "
        "and a page on the device, one that is shorter its own; the longest prompt is whole there as it is read",
        "sglang/srt/mem_cache/allocator/hisparse.py; sglang/srt/managers/hisparse_coordinator.py",
    ),
    Rule(
        "page-size, where nobody gives it",
        "1; 64 with an indexer, and on B200 and its like with trtllm_mha (since 0.5.6) or trtllm_mla (DeepSeek-V3); "
        "128 there where values are not as wide as keys (fa4, since 0.5.17)",
        "sglang/srt/server_args.py (since 0.5.19 sglang/srt/arg_groups/overrides.py)",
    ),
    Rule(
        "layers of a pipeline stage",
        "layers // pp; what is left goes to the last stages, one each",
        "sglang/srt/distributed/utils.py, get_pp_indices",
    ),
    Rule(
        "sequences at once",
        "max-running-requests / dp; where nobody gives it 2048 to 4096 by the pool; no more than slots of states allow",
        f"{KV_CACHE}, resolve_max_num_reqs",
    ),
)
"""In the order in which they are applied."""
