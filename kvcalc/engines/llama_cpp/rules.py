"""llama.cpp's rules in words, for people; the code that follows them stands in the files beside this one."""

from __future__ import annotations

from kvcalc.engines.option import Rule

KV = "src/llama-kv-cache.cpp"
CONTEXT = "src/llama-context.cpp"
MODEL = "src/llama-model.cpp"
FATTN = "ggml/src/ggml-cuda/fattn.cu"

RULES = (
    Rule(
        "cells of a slot",
        "context padded to 256; with kv-unified all slots share slots x context, padded once; before b8929 to 32 "
        "without flash attention",
        f"{CONTEXT}, n_ctx_seq; {KV}, n_stream",
    ),
    Rule(
        "cells of a layer with a window or chunk",
        "the least of the whole and (window x (slots where they share cells, else 1) + ubatch-size), padded likewise; "
        "with swa-full the whole",
        "src/llama-kv-cache-iswa.cpp, size_swa",
    ),
    Rule(
        "layers with windows",
        "as the file's architecture uses them: llama (Mistral), phi3, phimoe, starcoder2 and qwen2 keep all positions",
        "src/models, load_arch_hparams",
    ),
    Rule(
        "bytes of a cell",
        "KV heads x head_dim in the type of -ctk, and of V in that of -ctv, f16 unless given; blocks divide a head "
        "where flash attention runs",
        f"{KV}; {CONTEXT}, llama_init_from_model",
    ),
    Rule(
        "values without flash attention",
        "in all layers as wide as in the widest, since they are kept transposed; no type in blocks. Where llama.cpp "
        "turns flash attention off itself they are kept as they are, and transposed in the compute buffer",
        f"{KV}, n_embd_v_gqa_max; {CONTEXT}, llama_init_from_model; {MODEL}, create_memory",
    ),
    Rule(
        "latents (MLA)",
        "kv_lora_rank + qk_rope_head_dim in K's type and no V; from b10229 K's and V's types must be equal. A file "
        "without key_length_mla keeps the keys and values of every head",
        f"{KV}; {CONTEXT}, llama_init_from_model; src/models/deepseek2.cpp",
    ),
    Rule(
        "compressed attention (deepseek4)",
        "cells of windows as above; ceil(cells / compress_ratio) padded to 256 of entries and an indexer's keys, in "
        "K's type and without V; what waits in f32; each slot has its own, with kv-unified as many as all together",
        "src/llama-kv-cache-dsv4.cpp",
    ),
    Rule(
        "an indexer's keys",
        "index_head_dim in K's type, in a cache of their own; of DeepSeek-V3.2 from b10068, of GLM-5 from b10229, of "
        "GLM-5.2, whose layers share indexers, from b10566",
        "src/llama-kv-cache-dsa.cpp",
    ),
    Rule(
        "states",
        "slots x (1 + draft-n) x layers in f32, the inputs of convolutions too",
        "src/llama-memory-recurrent.cpp, n_rs_seq",
    ),
    Rule(
        "layers that draft (MTP)",
        "with draft-n a second context: all cells once more for each of them, in f16, and a second compute buffer, "
        "counted as large as the first",
        "tools/server/server-context.cpp, load_model",
    ),
    Rule(
        "layers that draft, of hybrids of Kimi delta attention (kimi-linear, bailingmoe3)",
        "have cells with the model's own, which nothing fills",
        f"{MODEL}, create_memory",
    ),
    Rule(
        "flash attention where it is left to llama.cpp",
        "on where CUDA has a kernel for the heads of every layer; from b10229 also where V is in blocks; before b8929 "
        "off",
        f"{FATTN}, ggml_cuda_get_best_fattn_kernel; {CONTEXT}",
    ),
    Rule(
        "towers for images or sound",
        "in a file of their own, which --mmproj or -hf loads, so not among the weights; Ollama's own engine has them "
        "there, in 16 bits",
        "convert_hf_to_gguf.py, --mmproj; common/arg.cpp, mmproj-auto",
    ),
    Rule(
        "layers on cards",
        "the last n-gpu-layers of the layers and the output head, which counts as one; token embeddings stay with the "
        "host, and a table that is the head too has a copy on the last card",
        f"{MODEL}, load_tensors",
    ),
    Rule(
        "layers of each card",
        "layer i of n lies on the first card whose share of all, added up, is above i / (n + 1)",
        f"{MODEL}, load_tensors, get_layer_buft_list",
    ),
    Rule(
        "experts on the host",
        "those of the first n-cpu-moe layers; the largest matrix of the host has a copy in the compute buffer of the "
        "first card",
        "common/arg.cpp; ggml/src/ggml-backend.cpp, op_offload",
    ),
    Rule(
        "compute buffer of a card",
        "ubatch-size x (2 x cells of each mask + 4 x the most that a layer holds) + copies of K and V in f16 where "
        "they are of another type; a layer holds 3 x feed-forward width (1 without a gate) + 4 x hidden_size, or what "
        "its attention or its experts do",
        "graphs of b11549 for a device that answers as CUDA's back end does (tests/live); fitted to none",
    ),
    Rule(
        "compute buffer of some classes",
        "Qwen3-VL 8 to 13 x hidden_size more (levels of an image's features), Gemma 3n 5 x hidden_size + 256 x layers, "
        "Gemma 4 E2B and E4B hidden_size + 2 x 256 x layers, "
        "Command R beside copies of K and V its feed-forward block too; Llama 4's shared expert and dense layers; of "
        "lightning attention 3 x num_heads x tokens of a sequence; RWKV-6 14 and -7 19 x hidden_size, with states; of "
        "Mamba-2, gated delta rules, Kimi delta attention and lightning attention states of all slots, mostly twice, "
        "which counts from some 8 slots; CogVLM logits of every token",
        "graphs of b11549 with the dims of 73 models (tests/live/write_llama_cpp_classes.py); when a state lies there "
        "twice is fitted",
    ),
    Rule(
        "compute buffer by other back ends",
        "ROCm's is CUDA's code; Vulkan has no copies of K and V, and computes gated delta rules in another order: the "
        "range of AMD's and Intel's cards has both. What SYCL's and Metal's kernels reserve beside a result, and "
        "several of Vulkan's cards in turn (17 % more than counted in one log), is not modelled",
        "get_alloc_size of ggml/src/ggml-cuda, ggml-vulkan, ggml-sycl and ggml-metal",
    ),
    Rule(
        "compute buffer with compressed attention (deepseek4)",
        "a range: 0.75 to 1.06 of ubatch-size x (3.2 x cells + 4 x (2.5 x num_heads x head_dim + 7 x hidden_size))",
        "fitted to graphs of b11549 with flash attention",
    ),
    Rule(
        "compute buffer of latents with an indexer (DeepSeek-V3.2, GLM-5)",
        "8 bytes for each token of a micro-batch and each cell (16 without flash attention), for two masks and scores; "
        "a layer holds 4 or 5 x hidden_size + num_heads x (2 x latent + qk_nope_head_dim) + 4 x index_topk; a range, "
        "to a quarter more",
        "src/models/deepseek32.cpp; as logs of GLM-5.2 printed, and graphs of b11549",
    ),
    Rule(
        "indexers that pool their keys (qwen4exp, glm5-next)",
        "a row for each cell, in K's type: key and pooled key of index_head_dim each, of latents a gate too; b11549 "
        "alone. Compute buffers, a range: ubatch-size x 7 (of latents 22.64 + index_head_dim / 32) x cells + a layer",
        "src/llama-memory-hybrid-idx.cpp; buffers fitted to graphs of b11549",
    ),
    Rule(
        "compute buffer of older builds",
        "up to b9409 masks in f32 beside f16, up to b9459 logits of every token of a micro-batch, up to b9488 no "
        "copies of K and V; up to b11063 one vector of hidden_size less",
        "https://github.com/ggml-org/llama.cpp/pull/23764, pull/23861, pull/23907; graphs of b8929 to b11063 likewise",
    ),
    Rule(
        "several cards",
        "each has four copies of its inputs where all layers lie on them",
        "GGML_SCHED_MAX_COPIES (ggml/src/ggml-backend.cpp)",
    ),
    Rule(
        "Ollama's own engine (ollama-new-engine)",
        "requests share cells, padded once to 256; a layer with a window keeps it (of gpt-oss and gemma-4 4,096 tokens "
        "at least) for each request, and a batch, or the whole context where that is no longer; graphs as observed",
        "Ollama 0.24, kvcache/causal.go, Init",
    ),
    Rule(
        "memory that is left free",
        "1 GiB of each card; what CUDA's context takes, 0.11 GiB (RTX 3060) to 0.69 GiB (RTX PRO 6000) in logs, is "
        "within it here, where llama.cpp's fitting has it beside",
        "common/common.h, fit_params_target; common/fit.cpp",
    ),
)
"""In the order in which a start meets them."""
