"""Start-up logs of SGLang in the formats of its source. The figures are those of public logs, unless said otherwise."""

from __future__ import annotations

B200 = """\
[2026-04-27 02:35:54] server_args=ServerArgs(model_path='Qwen/Qwen3-8B', ...)
[2026-04-27 02:36:03] Init torch distributed ends. elapsed=0.27 s, mem usage=0.09 GB
[2026-04-27 02:36:04] Load weight begin. avail mem=177.57 GB
[2026-04-27 02:36:06] Load weight end. elapsed=1.97 s, type=Qwen3ForCausalLM, avail mem=162.30 GB, mem usage=15.28 GB.
[2026-04-27 02:36:06] Using KV cache dtype: torch.bfloat16
[2026-04-27 02:36:06] KV Cache is allocated. #tokens: 992896, K size: 68.18 GB, V size: 68.18 GB
[2026-04-27 02:36:06] Memory pool end. avail mem=25.26 GB
[2026-04-27 02:36:09] Capture cuda graph end. Time elapsed: 3.74 s. mem usage=0.60 GB. avail mem=23.54 GB.
[2026-04-27 02:36:27] Capture piecewise CUDA graph end. Time elapsed: 17.62 s. mem usage=2.32 GB. avail mem=21.22 GB.
[2026-04-27 02:36:28] max_total_num_tokens=992896, chunked_prefill_size=16384, ...
"""
"""Public file 52132052242, of 0.5.10 or soon after."""

HYBRID = """\
CUDA_VISIBLE_DEVICES=0,2 python -m sglang.launch_server --model-path 'Qwen/Qwen3.5-9B' --tp-size 2 \
--mem-fraction-static 0.8 --context-length 262144 --disable-piecewise-cuda-graph
[2026-04-14 16:08:44 TP1] Load weight begin. avail mem=22.93 GB
[2026-04-14 16:08:44 TP0] Load weight begin. avail mem=22.93 GB
[2026-04-14 16:08:49 TP1] Load weight end. elapsed=5.46 s, type=Qwen3_5ForConditionalGeneration, avail mem=14.08 GB, \
mem usage=8.85 GB.
[2026-04-14 16:08:49 TP0] Load weight end. elapsed=5.54 s, type=Qwen3_5ForConditionalGeneration, avail mem=14.08 GB, \
mem usage=8.85 GB.
[2026-04-14 16:08:49 TP0] Mamba Cache is allocated. max_mamba_cache_size: 186, conv_state size: 0.10GB, \
ssm_state size: 4.38GB
[2026-04-14 16:08:49 TP1] Mamba Cache is allocated. max_mamba_cache_size: 186, conv_state size: 0.10GB, \
ssm_state size: 4.38GB
[2026-04-14 16:08:49 TP0] KV Cache is allocated. #tokens: 327310, K size: 2.50 GB, V size: 2.50 GB
[2026-04-14 16:08:49 TP1] KV Cache is allocated. #tokens: 327310, K size: 2.50 GB, V size: 2.50 GB
[2026-04-14 16:09:08 TP0] max_total_num_tokens=327310, chunked_prefill_size=2048, max_prefill_tokens=16384, \
max_running_requests=62, context_len=262144, available_gpu_mem=3.79 GB
"""
"""Public file 53944457073, of a build between 0.5.9 and 0.5.12."""

OLDER = """\
[2025-07-14 05:48:43] Load weight end. type=LlamaForCausalLM, dtype=torch.bfloat16, avail mem=7.37 GB, \
mem usage=15.02 GB.
[2025-07-14 05:48:43] KV Cache is allocated. #tokens: 38141, K size: 2.33 GB, V size: 2.33 GB
[2025-07-14 05:48:43] Memory pool end. avail mem=1.46 GB
[2025-07-14 05:49:02] Capture cuda graph end. Time elapsed: 18.07 s. mem usage=0.11 GB. avail mem=0.83 GB.
[2025-07-14 05:49:02] max_total_num_tokens=38141, chunked_prefill_size=2048, max_prefill_tokens=16384, \
max_running_requests=2048, context_len=131072, available_gpu_mem=0.83 GB
"""
"""Public file 49361099215, of Llama-3.1-8B and about 0.4.9, without its settings."""

WINDOWS = """\
server_args=ServerArgs(model_path='google/gemma-4-E4B-it', mem_fraction_static=0.846, enable_strict_thinking=False, ...)
Load weight end. elapsed=2415.46 s, type=Gemma4ForConditionalGeneration, avail mem=97.30 GB, mem usage=15.56 GB.
SWAKVPool mem usage: 79.94 GB, swa size: 798276, full size: 997846
Capture target decode CUDA graph end. elapsed=22.18 s, mem usage=1.91 GB, avail mem=14.18 GB.
"""
"""Public file 66975556316, of a build of 2026; its settings are not printed there."""

COMPRESSED = """\
[2026-09-20 10:00:00] server_args=ServerArgs(model_path='deepseek-ai/DeepSeek-V4-Flash', tp_size=8, \
mem_fraction_static=0.8, max_running_requests=64, chunked_prefill_size=8192, swa_full_tokens_ratio=0.8, ...)
[2026-09-20 10:00:10 TP0] Load weight begin. avail mem=139.06 GB
[2026-09-20 10:01:10 TP0] Load weight end. elapsed=60.00 s, type=DeepseekV4ForCausalLM, quant=fp8, \
avail mem=118.80 GB, mem usage=20.26 GB.
[2026-09-20 10:01:11 TP0] DSV4 pool sizes: full=23533824, swa=164096, c4=5883456, c128=183858, c4_state=5128, \
c128_state=0
[2026-09-20 10:01:30 TP0] max_total_num_tokens=23533824, chunked_prefill_size=8192, max_prefill_tokens=16384, \
max_running_requests=64, context_len=1048576, available_gpu_mem=26.00 GB
"""
"""Lines of 0.5.23's source, with tokens as its DSV4PoolConfigurator computes them of that memory."""

LATENTS = """\
[2025-10-01 10:00:00] server_args=ServerArgs(model_path='deepseek-ai/DeepSeek-V3', tp_size=8, dp_size=8, \
enable_dp_attention=True, ep_size=8, kv_cache_dtype='fp8_e4m3', mem_fraction_static=0.8, page_size=64, \
enable_fp32_lm_head=False, grpc_mode=False)
[2025-10-01 10:00:09 DP0 TP0 EP0] KV Cache is allocated. #tokens: 524288, KV size: 17.16 GB
[2025-10-01 10:00:09 DP1 TP1 EP1] KV Cache is allocated. #tokens: 524288, KV size: 17.16 GB
[2025-10-01 10:00:30 DP0 TP0 EP0] max_total_num_tokens=524288, chunked_prefill_size=1024, max_prefill_tokens=16384, \
max_running_requests=512, context_len=163840, available_gpu_mem=20.00 GB
"""
"""The pool is that of public file 3294227893; the rest is made up in the format of 0.5.4."""
