"""Start-up logs of TensorRT-LLM: lines of its source with the figures of public logs."""

from __future__ import annotations

SPARK = """\
/root/.cache/huggingface/hub/models--openai--gpt-oss-120b/snapshots/b5c939de8f754692c1647ca79fbf85e8c1e70f8a
[TensorRT-LLM] TensorRT-LLM version: 1.1.0rc3
[12/20/2025-04:20:19] [TRT-LLM] [I] PyTorchConfig(attn_backend='TRTLLM', kv_cache_dtype='auto')
[TensorRT-LLM][INFO] Number of tokens per block: 32.
[TensorRT-LLM][INFO] [MemUsageChange] Allocated 0.56 GiB for max tokens in paged KV cache (8224).
[12/20/2025-04:21:10] [TRT-LLM] [I] max_seq_len=8224, max_num_requests=64, max_num_tokens=8192, max_batch_size=64
[12/20/2025-04:21:50] [TRT-LLM] [I] Memory used after loading model weights (inside torch) in memory usage \
profiling: 63.52 GiB
[12/20/2025-04:21:51] [TRT-LLM] [I] Memory dynamically allocated during inference (inside torch) in memory usage \
profiling: 0.85 GiB
[12/20/2025-04:21:51] [TRT-LLM] [I] Memory used outside torch (e.g., NCCL and CUDA graphs) in memory usage \
profiling: 49.28 GiB
[12/20/2025-04:21:51] [TRT-LLM] [I] Peak memory during memory usage profiling (torch + non-torch): 113.65 GiB, \
available KV cache memory when calculating max tokens: 5.95 GiB, fraction is set 0.8999999761581421, kv size is \
73728. device total memory 119.70 GiB, , tmp kv_mem 0.56 GiB
[TensorRT-LLM][INFO] Number of tokens per block: 32.
[TensorRT-LLM][INFO] [MemUsageChange] Allocated 5.95 GiB for max tokens in paged KV cache (86720).
[12/20/2025-04:21:52] [TRT-LLM] [I] max_seq_len=86720, max_num_requests=64, max_num_tokens=8192, max_batch_size=64
"""
"""gpt-oss-120b on a DGX Spark, whose other programs had 49 GiB: stored file 2263047771."""

SMALL = """\
$ trtllm-serve HuggingFaceTB/SmolLM2-135M-Instruct --max_seq_len 2048
[TensorRT-LLM][INFO] Max KV cache blocks per sequence: 65 [window size=2049], tokens per block=32, primary \
blocks=13189, max sequence length=2049
[TensorRT-LLM][INFO] [MemUsageChange] Allocated 9.06 GiB for max tokens in paged KV cache (422048).
"""
"""SmolLM2-135M: stored file 61634826145."""
