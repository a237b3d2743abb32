"""Start-up logs of llama.cpp and of what is built on it: lines of its source with the figures of public logs."""

from __future__ import annotations

B8946 = """\
ggml_cuda_init: found 1 CUDA devices (Total VRAM: 24575 MiB):
  Device 0: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes, VRAM: 24575 MiB
build_info: b8946-0f1bb602d
main: loading model
common_params_fit_impl: projected to use 21483 MiB of device memory vs. 23154 MiB of free device memory
load_tensors: offloaded 65/65 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   682.03 MiB
load_tensors:        CUDA0 model buffer size = 14032.23 MiB
llama_context: n_ctx_train           = 262144
llama_context: n_ctx         = 200192
llama_context: n_batch       = 2048
llama_context: n_ubatch      = 512
llama_context: flash_attn    = enabled
llama_kv_cache:      CUDA0 KV buffer size =  6647.00 MiB
llama_kv_cache: size = 6647.00 MiB (200192 cells,  16 layers,  1/1 seqs), K (q8_0): 3323.50 MiB, V (q8_0): 3323.50 MiB
llama_memory_recurrent:      CUDA0 RS buffer size =   149.62 MiB
sched_reserve:      CUDA0 compute buffer size =   654.78 MiB
sched_reserve:  CUDA_Host compute buffer size =   411.29 MiB
main: server is listening on http://127.0.0.1:8080
"""
"""Qwen3.6-27B on an RTX 3090: stored file 56992954617."""

DRAFTING = """\
0.06.391.843 I load_tensors: offloaded 64/66 layers to GPU
0.06.391.848 I load_tensors:   CPU_Mapped model buffer size =  1164.63 MiB
0.06.391.849 I load_tensors:      Vulkan0 model buffer size = 17680.46 MiB
0.10.583.854 I llama_context: n_ctx         = 8192
0.10.583.854 I llama_context: n_ctx_seq     = 8192
0.10.583.856 I llama_context: kv_unified    = true
0.10.585.715 I llama_context: Vulkan_Host  output buffer size =     3.79 MiB
0.10.595.035 I llama_kv_cache:    Vulkan0 KV buffer size =   512.00 MiB
0.10.652.579 I llama_memory_recurrent:        CPU RS buffer size =    74.81 MiB
0.10.722.349 I llama_memory_recurrent:    Vulkan0 RS buffer size =  1720.69 MiB
0.10.722.378 I llama_memory_recurrent: size = 1795.50 MiB (     4 cells,  64 layers,  4 seqs  2 rs_seq), \
R (f32):   67.50 MiB, S (f32): 1728.00 MiB
0.10.838.848 I sched_reserve:    Vulkan0 compute buffer size =   618.44 MiB
0.10.838.852 I sched_reserve: Vulkan_Host compute buffer size =   313.47 MiB
0.10.946.605 I srv    load_model: creating MTP draft context against the target model '/home/someone/qwen.gguf'
0.10.946.675 I llama_context: n_ctx         = 8192
0.10.946.900 I llama_kv_cache:    Vulkan0 KV buffer size =    32.00 MiB
0.10.947.000 I llama_kv_cache: size =   32.00 MiB (  8192 cells,   1 layers,  4/1 seqs), \
K (f16):   16.00 MiB, V (f16):   16.00 MiB
"""
"""Qwen3.8-27B with an MTP layer, 4 slots that share cells, 2 tokens drafted: stored file 67354404634.

The last line is by shape.
"""

B6182 = """\
build: 6182 (1fe00296f) with cc (GCC) 15.2.1 20250808 (Red Hat 15.2.1-1) for aarch64-redhat-linux
llama_model_load_from_file_impl: using device Vulkan0 (Apple M2 Pro (G14S B1)) - 7789 MiB free
llama_model_loader: loaded meta data with 35 key-value pairs and 459 tensors from ./gpt-oss-20b-mxfp4.gguf \
(version GGUF V3 (latest))
print_info: arch             = gpt-oss
print_info: n_ctx_train      = 131072
print_info: n_embd           = 2880
print_info: n_layer          = 24
print_info: n_head           = 64
print_info: n_head_kv        = 8
print_info: n_rot            = 64
print_info: n_swa            = 128
print_info: is_swa_any       = 1
print_info: n_embd_head_k    = 64
print_info: n_embd_head_v    = 64
print_info: n_ff             = 2880
print_info: n_expert         = 32
print_info: n_expert_used    = 4
print_info: n_ff_exp         = 2880
print_info: model params     = 20.91 B
print_info: general.name     = Gpt-Oss-20B
load_tensors: offloaded 24/25 layers to GPU
load_tensors:      Vulkan0 model buffer size =  4699.90 MiB
load_tensors:   CPU_Mapped model buffer size =  7218.45 MiB
llama_context: n_seq_max     = 1
llama_context: n_ctx         = 4096
llama_context: n_ctx_per_seq = 4096
llama_context: n_ubatch      = 512
llama_context: flash_attn    = 0
llama_context: kv_unified    = false
llama_kv_cache_unified_iswa: creating non-SWA KV cache, size = 4096 cells
llama_kv_cache_unified:    Vulkan0 KV buffer size =    96.00 MiB
llama_kv_cache_unified: size =   96.00 MiB (  4096 cells,  12 layers,  1/1 seqs), \
K (f16):   48.00 MiB, V (f16):   48.00 MiB
llama_kv_cache_unified_iswa: creating     SWA KV cache, size = 640 cells
llama_kv_cache_unified:    Vulkan0 KV buffer size =    15.00 MiB
llama_kv_cache_unified: size =   15.00 MiB (   640 cells,  12 layers,  1/1 seqs), \
K (f16):    7.50 MiB, V (f16):    7.50 MiB
llama_context:    Vulkan0 compute buffer size =   985.20 MiB
"""
"""gpt-oss-20b: https://github.com/ggml-org/llama.cpp/issues/16188."""

OLD = """\
INFO [                    main] build info | tid="1" timestamp=1749530316 build=3738 commit="fa90a986"
llama_model_loader: loaded meta data with 40 key-value pairs and 1131 tensors from /srv/someone/Qwen3-235B.gguf \
(version GGUF V3 (latest))
llama_model_loader: - kv   0:                       general.architecture str              = qwen3moe
llama_model_loader: - kv   2:                               general.name str              = Qwen3 235B A22B
llama_model_loader: - kv   8:                       qwen3moe.block_count u32              = 94
llama_model_loader: - kv   9:                    qwen3moe.context_length u32              = 40960
llama_model_loader: - kv  10:                  qwen3moe.embedding_length u32              = 4096
llama_model_loader: - kv  12:              qwen3moe.attention.head_count u32              = 64
llama_model_loader: - kv  13:           qwen3moe.attention.head_count_kv u32              = 4
llama_model_loader: - kv  17:              qwen3moe.attention.key_length u32              = 128
llama_model_loader: - kv  18:            qwen3moe.attention.value_length u32              = 128
llama_model_loader: - kv  25:                      tokenizer.ggml.tokens arr[str,151936]  = ["!", "#", ...
llm_load_print_meta: n_vocab          = 151936
llm_load_print_meta: n_embd           = 4096
Tensor blk.0.ffn_gate_exps.weight buffer type overriden to CPU
Tensor blk.1.ffn_gate_exps.weight buffer type overriden to CPU
llama_new_context_with_model: n_ctx      = 40960
llama_new_context_with_model: n_batch    = 4096
llama_new_context_with_model: n_ubatch   = 4096
llama_new_context_with_model: flash_attn = 1
llama_kv_cache_init:      CUDA0 KV buffer size =  3995.02 MiB
llama_new_context_with_model: KV self size  = 3995.00 MiB, K (q8_0): 1997.50 MiB, V (q8_0): 1997.50 MiB
"""
"""Qwen3-235B-A22B by ik_llama.cpp, as in its discussion 514; sizes by shape."""

OLLAMA_ON_A_MAC = """\
time=2026-02-25T18:14:34.262+08:00 level=INFO source=device.go:251 msg="kv cache" device=Metal size="1.2 GiB"
ggml_metal_device_init: GPU name:   Apple M4
ggml_metal_device_init: recommendedMaxWorkingSetSize  = 26800.60 MB
llama_model_load_from_file_impl: using device Metal (Apple M4) (unknown id) - 25557 MiB free
llama_model_loader: loaded meta data with 23 key-value pairs and 283 tensors from /home/someone/blob \
(version GGUF V3 (latest))
llama_model_loader: - kv   0:                       general.architecture str              = chatglm
llama_model_loader: - kv   1:                               general.name str              = codegeex4-all-9b
llama_model_loader: - kv   2:                     chatglm.context_length u32              = 131072
llama_model_loader: - kv   3:                   chatglm.embedding_length u32              = 4096
llama_model_loader: - kv   4:                chatglm.feed_forward_length u32              = 13696
llama_model_loader: - kv   5:                        chatglm.block_count u32              = 40
llama_model_loader: - kv   6:               chatglm.attention.head_count u32              = 32
llama_model_loader: - kv   7:            chatglm.attention.head_count_kv u32              = 2
llama_model_loader: - kv  10:               chatglm.rope.dimension_count u32              = 64
llama_model_loader: - kv  15:                      tokenizer.ggml.tokens arr[str,151552]  = ["!", "#", ...
print_info: n_vocab          = 151552
load_tensors: offloaded 41/41 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   333.00 MiB
load_tensors: Metal_Mapped model buffer size =  4863.84 MiB
llama_context: n_seq_max     = 1
llama_context: n_ctx         = 32768
llama_context: n_ctx_seq     = 32768
llama_context: n_ubatch      = 512
llama_context: flash_attn    = auto
llama_context: kv_unified    = false
llama_kv_cache:      Metal KV buffer size =  1280.00 MiB
llama_kv_cache: size = 1280.00 MiB ( 32768 cells,  40 layers,  1/1 seqs), K (f16):  640.00 MiB, V (f16):  640.00 MiB
llama_context: Flash Attention was auto, set to enabled
llama_context:      Metal compute buffer size =   304.00 MiB
llama_context:        CPU compute buffer size =    72.01 MiB
"""
"""CodeGeeX4-9B by Ollama 0.17 on a Mac of 32 GB: stored file 2311416387."""

OLLAMA_WITHOUT_FLASH_ATTENTION = """\
time=2026-05-20T19:18:01.985-03:00 level=INFO source=device.go:251 msg="kv cache" device=ROCm0 size="1.6 GiB"
llama_model_load_from_file_impl: using device ROCm0 (AMD Radeon RX 6600) (0000:12:00.0) - 7512 MiB free
llama_model_loader: loaded meta data with 34 key-value pairs and 288 tensors from /home/someone/blob \
(version GGUF V3 (latest))
llama_model_loader: - kv   0:                       general.architecture str              = gemma2
llama_model_loader: - kv   2:                               general.name str              = Gemma 2.0 2b It Transformers
llama_model_loader: - kv   7:                      gemma2.context_length u32              = 8192
llama_model_loader: - kv   8:                    gemma2.embedding_length u32              = 2304
llama_model_loader: - kv   9:                         gemma2.block_count u32              = 26
llama_model_loader: - kv  10:                 gemma2.feed_forward_length u32              = 9216
llama_model_loader: - kv  11:                gemma2.attention.head_count u32              = 8
llama_model_loader: - kv  12:             gemma2.attention.head_count_kv u32              = 4
llama_model_loader: - kv  14:                gemma2.attention.key_length u32              = 256
llama_model_loader: - kv  15:              gemma2.attention.value_length u32              = 256
llama_model_loader: - kv  19:            gemma2.attention.sliding_window u32              = 4096
llama_model_loader: - kv  22:                      tokenizer.ggml.tokens arr[str,256000]  = ["<pad>", "<eos>", ...
print_info: n_vocab          = 256000
load_tensors: offloaded 27/27 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   461.43 MiB
load_tensors:        ROCm0 model buffer size =  1548.29 MiB
llama_context: n_seq_max     = 2
llama_context: n_ctx         = 16384
llama_context: n_ctx_seq     = 8192
llama_context: n_ubatch      = 256
llama_context: flash_attn    = disabled
llama_context: kv_unified    = false
llama_kv_cache_iswa: using full-size SWA cache (ref: https://github.com/ggml-org/llama.cpp/pull/13194)
llama_kv_cache_iswa: creating non-SWA KV cache, size = 8192 cells
llama_kv_cache:      ROCm0 KV buffer size =   832.00 MiB
llama_kv_cache: size =  832.00 MiB (  8192 cells,  13 layers,  2/2 seqs), K (f16):  416.00 MiB, V (f16):  416.00 MiB
llama_kv_cache_iswa: creating     SWA KV cache, size = 8192 cells
llama_kv_cache:      ROCm0 KV buffer size =   832.00 MiB
llama_kv_cache: size =  832.00 MiB (  8192 cells,  13 layers,  2/2 seqs), K (f16):  416.00 MiB, V (f16):  416.00 MiB
llama_context:      ROCm0 compute buffer size =   252.25 MiB
llama_context:  ROCm_Host compute buffer size =    22.26 MiB
"""
"""Gemma-2-2B by Ollama on an RX 6600, two requests at a time: stored file 55586255430."""

FITTED = """\
time=2026-06-28T20:51:02.167+02:00 level=INFO source=llama_server.go:406 msg="starting llama-server" \
cmd="/usr/lib/ollama/llama-server --model /home/someone/blob -c 32768 -np 1 --flash-attn auto -b 512 -ub 512"
common_params_print_info: build 1 (74ade5274) with GNU 16.1.1 for Linux x86_64
device_info:
  - CPU     : AMD Ryzen 7 5700X 8-Core Processor (64220 MiB, 64220 MiB free)
  - CUDA0   : NVIDIA GeForce RTX 2060 (5738 MiB, 5141 MiB free)
srv    load_model: loading model '/home/someone/blob'
common_params_fit_impl:   - CUDA0 (NVIDIA GeForce RTX 2060): 15 layers,   4089 MiB used,   1052 MiB free
llama_model_loader: loaded meta data with 36 key-value pairs and 292 tensors from /home/someone/blob \
(version GGUF V3 (latest))
llama_model_loader: - kv   0:                       general.architecture str              = llama
llama_model_loader: - kv   2:                               general.name str              = Hermes 3 Llama 3.1 8B
llama_model_loader: - kv  13:                          llama.block_count u32              = 32
llama_model_loader: - kv  14:                       llama.context_length u32              = 131072
llama_model_loader: - kv  15:                     llama.embedding_length u32              = 4096
llama_model_loader: - kv  16:                  llama.feed_forward_length u32              = 14336
llama_model_loader: - kv  17:                 llama.attention.head_count u32              = 32
llama_model_loader: - kv  18:              llama.attention.head_count_kv u32              = 8
llama_model_loader: - kv  22:                           llama.vocab_size u32              = 128256
llama_model_loader: - kv  23:                 llama.rope.dimension_count u32              = 128
print_info: model params          = 8.03 B
llama_prepare_model_devices: using device CUDA0 (NVIDIA GeForce RTX 2060) (0000:2b:00.0) - 5141 MiB free
load_tensors: offloaded 15/33 layers to GPU
load_tensors:   CPU_Mapped model buffer size =  2676.44 MiB
load_tensors:        CUDA0 model buffer size =  2049.43 MiB
llama_context: n_seq_max     = 1
llama_context: n_ctx         = 32768
llama_context: n_ctx_seq     = 32768
llama_context: n_ubatch      = 512
llama_context: flash_attn    = auto
llama_context: kv_unified    = false
llama_kv_cache:        CPU KV buffer size =  2304.00 MiB
llama_kv_cache:      CUDA0 KV buffer size =  1792.00 MiB
llama_kv_cache: size = 4096.00 MiB ( 32768 cells,  32 layers,  1/1 seqs), K (f16): 2048.00 MiB, V (f16): 2048.00 MiB
sched_reserve: Flash Attention was auto, set to enabled
sched_reserve:      CUDA0 compute buffer size =   248.01 MiB
sched_reserve:  CUDA_Host compute buffer size =    48.01 MiB
"""
"""Llama-3.1-8B in q4_0 by Ollama 0.30, whose llama-server leaves 18 of 33 layers to the host: file 61471163053."""

OLLAMA_OWN = """\
time=2025-09-11T00:42:09.800+02:00 level=INFO source=types.go:131 msg="inference compute" id=0 library=rocm variant="" \
compute=gfx1151 driver=6.12 name="AMD Radeon 8060S" total="64.0 GiB" available="63.8 GiB"
time=2025-09-11T00:42:49.544+02:00 level=INFO source=server.go:398 msg="starting runner" \
cmd="/usr/local/bin/ollama runner --ollama-engine --model /home/someone/blob --port 43263"
time=2025-09-11T00:42:49.558+02:00 level=INFO source=runner.go:1170 msg=load request="{Operation:commit LoraPath:[] \
Parallel:1 BatchSize:512 FlashAttention:true KvSize:8192 KvCacheType: NumThreads:16 GPULayers:37[ID:0 \
Layers:37(0..36)] MultiUserCache:false ProjectorPath: MainGPU:0 UseMmap:false}"
time=2025-09-11T00:42:49.588+02:00 level=INFO source=ggml.go:131 msg="" architecture=gptoss file_type=MXFP4 \
name=Gpt-Oss-120B description="" num_tensors=471 num_key_values=30
time=2025-09-11T00:42:50.484+02:00 level=INFO source=ggml.go:498 msg="offloaded 37/37 layers to GPU"
time=2025-09-11T00:42:50.484+02:00 level=INFO source=backend.go:310 msg="model weights" device=ROCm0 size="59.8 GiB"
time=2025-09-11T00:42:50.484+02:00 level=INFO source=backend.go:315 msg="model weights" device=CPU size="1.1 GiB"
time=2025-09-11T00:42:50.484+02:00 level=INFO source=backend.go:321 msg="kv cache" device=ROCm0 size="450.0 MiB"
time=2025-09-11T00:42:50.484+02:00 level=INFO source=backend.go:332 msg="compute graph" device=ROCm0 size="121.8 MiB"
"""
"""gpt-oss-120b by Ollama 0.11.10: stored file 56930313189, which has no names of model and card; these are ours."""

OLLAMA_OWN_STATES = """\
time=2026-04-09T23:17:18.000-07:00 level=INFO source=runner.go:1411 msg="starting ollama engine"
time=2026-04-09T23:17:20.651-07:00 level=INFO source=runner.go:1284 msg=load request="{Operation:commit LoraPath:[] \
Parallel:1 BatchSize:1024 FlashAttention:Enabled KvSize:32768 KvCacheType:q8_0 NumThreads:8 GPULayers:20[ID:GPU-2 \
Layers:20(28..47)] MultiUserCache:false ProjectorPath: MainGPU:0 UseMmap:false}"
time=2026-04-09T23:17:20.651-07:00 level=INFO source=device.go:240 msg="model weights" device=CUDA0 size="19.9 GiB"
time=2026-04-09T23:17:20.651-07:00 level=INFO source=ggml.go:494 msg="offloaded 20/49 layers to GPU"
time=2026-04-09T23:17:20.652-07:00 level=INFO source=device.go:245 msg="model weights" device=CPU size="28.3 GiB"
time=2026-04-09T23:17:20.652-07:00 level=INFO source=device.go:251 msg="kv cache" device=CUDA0 size="955.2 MiB"
time=2026-04-09T23:17:20.652-07:00 level=INFO source=device.go:256 msg="kv cache" device=CPU size="1.3 GiB"
time=2026-04-09T23:17:20.652-07:00 level=INFO source=device.go:262 msg="compute graph" device=CUDA0 size="918.1 MiB"
"""
"""Qwen3-Coder-Next by Ollama in April 2026, 20 layers on the card: stored file 55579426224."""

OLDER_GRAPHS = """\
2026-09-22T15:43:57 load_tensors: offloaded 27/29 layers to GPU
2026-09-22T15:43:57 load_tensors:   CPU_Mapped model buffer size =   576.77 MiB
2026-09-22T15:43:57 load_tensors:      Vulkan0 model buffer size =  3883.68 MiB
2026-09-22T15:44:04 llama_context: n_ctx         = 8192
2026-09-22T15:44:04 llama_kv_cache:        CPU KV buffer size =    32.00 MiB
2026-09-22T15:44:04 llama_kv_cache:    Vulkan0 KV buffer size =   416.00 MiB
2026-09-22T15:44:04 sched_reserve:    Vulkan0 compute buffer size =   304.00 MiB
2026-09-22T15:44:04 llama_params_fit_impl: projected to use 4920 MiB of device memory
"""
"""Qwen2.5-7B on a card with 27 of 29 layers: stored file 68320729666."""

EMBEDDINGS_OF_LAYERS = """\
I load_tensors: offloaded 43/43 layers to GPU
I load_tensors:   CPU_Mapped model buffer size =  2208.00 MiB
I load_tensors:      Vulkan0 model buffer size =  2883.51 MiB
I llama_kv_cache:    Vulkan0 KV buffer size =   544.00 MiB
I llama_kv_cache: size =  544.00 MiB ( 65536 cells,   4 layers,  1/1 seqs), K (q8_0):  272.00 MiB, V (q8_0):  272.00 MiB
I llama_kv_cache:    Vulkan0 KV buffer size =    21.25 MiB
I llama_kv_cache: size =   21.25 MiB (  1024 cells,  20 layers,  1/1 seqs), K (q8_0):   10.62 MiB, V (q8_0):   10.62 MiB
I sched_reserve:    Vulkan0 compute buffer size =   186.30 MiB
"""
"""Gemma-4-E4B, whose tables of each layer stay with the host: stored file 71581386961."""

UNLIKE = """\
build: 5622 (97340b4c) with cc (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0 for x86_64-linux-gnu
llama_model_load_from_file_impl: using device CUDA0 (NVIDIA GeForce RTX 4090) - 9862 MiB free
llama_model_load_from_file_impl: using device CUDA1 (NVIDIA GeForce RTX 5090) - 31518 MiB free
load_tensors: offloaded 49/49 layers to GPU
llama_context: n_seq_max     = 1
llama_context: n_ctx         = 16384
llama_context: n_ctx_per_seq = 16384
llama_context: n_ubatch      = 512
llama_context: flash_attn    = 0
llama_kv_cache_unified:      CUDA0 KV buffer size =   384.00 MiB
llama_kv_cache_unified:      CUDA1 KV buffer size =  1152.00 MiB
"""
"""Qwen3-30B-A3B over two cards: stored file 17521272204."""

TWICE = (
    B8946.replace("6647.00", "0.00").replace("= 0.00 MiB (", "= 6647.00 MiB (")
    + B8946.partition("main: loading model")[2]
)
"""Planned before it is loaded: a buffer that is only planned is printed as nothing."""

AT_THE_END = """\
build: 8173 (2e7e63885) with Clang 19.1.5 for Windows x86_64
llama-server --model ./e/Qwen3.5-35B-A3B-Q4_K_M.gguf -ctk q8_0 -ctv q8_0 -ngl 999 --n-cpu-moe 24 --flash-attn on \
-c 48000 -t 20
llama_memory_breakdown_print: | memory breakdown [MiB]    | total   free     self   model   context   compute    \
unaccounted |
llama_memory_breakdown_print: |   - Vulkan0 (RTX 5070 Ti) | 15907 = 4641 + (10162 =  8845 +     750 +     566) + \
       1103 |
llama_memory_breakdown_print: |   - Host                  |                 12033 = 11931 +       0 +     102 \
               |
"""
"""Qwen3.5-35B-A3B, in part on an RTX 5070 Ti: all that is printed at the usual level, and the command. Stored file
61468982719; the build's commit is by shape."""

LIBRARY = """\
llama_context: n_ctx         = 512
llama_context: n_ubatch      = 512
llama_context: n_outputs_max = 512
llama_kv_cache:       MTL0 KV buffer size =     6.00 MiB
llama_kv_cache: size =    6.00 MiB (   512 cells,  24 layers,  1/1 seqs), K (f16):    3.00 MiB, V (f16):    3.00 MiB
sched_reserve: Flash Attention was auto, set to enabled
sched_reserve:       MTL0 compute buffer size =   300.25 MiB
sched_reserve:        CPU compute buffer size =     4.51 MiB
"""
"""Qwen2.5-0.5B in an application that has logits of every token, on a Mac: stored file 18104723189, which says them as
n_outputs of the graph."""

BY_VULKAN = """\
0.00.720.282 I cmn  common_param: device_info:
0.01.308.033 I llama_prepare_model_devices: using device Vulkan0 (NVIDIA GeForce RTX 3080 Ti) (0000:01:00.0) - 11312 \
MiB free
build: 9849 (799fcc04a)
0.01.779.585 I load_tensors: offloaded 33/33 layers to GPU
0.01.779.588 I load_tensors:      Vulkan0 model buffer size =  5133.63 MiB
0.03.783.195 I llama_context: n_ctx         = 8192
0.03.783.195 I llama_context: n_ctx_seq     = 2048
0.03.783.196 I llama_context: n_ubatch      = 2048
0.03.783.197 I llama_context: kv_unified    = false
0.03.784.875 I llama_kv_cache:    Vulkan0 KV buffer size =   256.00 MiB
0.03.941.632 I llama_memory_recurrent:    Vulkan0 RS buffer size =   201.00 MiB
0.03.941.640 I llama_memory_recurrent: size =  201.00 MiB (     4 cells,  32 layers,  4 seqs  0 rs_seq), R (f32): \
   9.00 MiB, S (f32):  192.00 MiB
0.03.958.334 I sched_reserve:    Vulkan0 compute buffer size =   392.44 MiB
0.04.267.028 I srv    load_model: initializing, n_slots = 4, n_ctx_slot = 2048, kv_unified = 'false'
0.04.267.076 I slot   load_model: id  0 | task -1 | new slot, n_ctx = 2048
"""
"""Qwen3.5-9B, four slots of their own, micro-batches of 2,048: stored file 67518522227."""

NAMED = """\
build: 11258 (4d3f2a1c0)
llama-server -m /home/someone/Qwen3.6-27B-NVFP4.gguf -np 1
llama_prepare_model_devices: using device CUDA0 (NVIDIA GeForce RTX 5090) (0000:01:00.0) - 31000 MiB free
load_tensors: offloaded 66/66 layers to GPU
load_tensors:   CPU_Mapped model buffer size =  2425.00 MiB
load_tensors:        CUDA0 model buffer size = 18865.37 MiB
llama_kv_cache:      CUDA0 KV buffer size = 12288.00 MiB
sched_reserve:      CUDA0 compute buffer size =   314.02 MiB
slot   load_model: id  0 | task -1 | new slot, n_ctx = 196608
"""
"""Qwen3.8-27B in NVFP4 on an RTX 5090: stored file 70867667190; its command and slot are by shape."""
