"""Start-up logs of vLLM as its versions write them: the formats are those of its source.

The figures of V0_31 and BOTH are those of public logs. The others are made up, and prove nothing of vLLM.
"""

from __future__ import annotations

V0_6_6 = """\
INFO 01-02 10:00:00 api_server.py:712] vLLM API server version 0.6.6
INFO 01-02 10:00:00 api_server.py:713] args: Namespace(host='gpu-17.example', port=8000, \
model='meta-llama/Meta-Llama-3-8B', tokenizer=None, dtype='auto', kv_cache_dtype='auto', \
max_model_len=4096, tensor_parallel_size=1, block_size=16, \
gpu_memory_utilization=0.9, max_num_batched_tokens=None, max_num_seqs=256, quantization=None, api_key='sk-secret')
INFO 01-02 10:00:01 llm_engine.py:234] Initializing an LLM engine (v0.6.6) with config: \
model='meta-llama/Meta-Llama-3-8B', speculative_config=None, tokenizer='meta-llama/Meta-Llama-3-8B', \
dtype=torch.bfloat16, max_seq_len=4096, download_dir=None, load_format=LoadFormat.AUTO, tensor_parallel_size=1, \
pipeline_parallel_size=1, quantization=None, enforce_eager=False, kv_cache_dtype=auto, device_config=cuda, seed=0, \
enable_prefix_caching=False, chunked_prefill_enabled=False, use_cached_outputs=True,
INFO 01-02 10:00:09 model_runner.py:1099] Loading model weights took 14.9595 GB
INFO 01-02 10:00:12 worker.py:241] Memory profiling takes 3.20 seconds
INFO 01-02 10:00:12 worker.py:241] the current vLLM instance can use total_gpu_memory (23.53GiB) \
x gpu_memory_utilization (0.90) = 21.18GiB
INFO 01-02 10:00:12 worker.py:241] model weights take 14.96GiB; non_torch_memory takes 0.09GiB; \
PyTorch activation peak memory takes 1.26GiB; the rest of the memory reserved for KV Cache is 4.87GiB.
INFO 01-02 10:00:12 distributed_gpu_executor.py:57] # GPU blocks: 2493, # CPU blocks: 2048
INFO 01-02 10:00:12 distributed_gpu_executor.py:61] Maximum concurrency for 4096 tokens per request: 9.74x
INFO 01-02 10:00:40 model_runner.py:1535] Graph capturing finished in 21 secs, took 0.38 GiB
"""
"""worker/worker.py, determine_num_available_blocks; config.py, VllmConfig.__str__."""

BOTH = """\
==((====))==  Unsloth 2025.8.4: Fast Qwen2 patching. Transformers: 4.55.0. vLLM: 0.10.0.
   \\   /|    NVIDIA GeForce RTX 4090. Num GPUs = 1. Max memory: 47.499 GB. Platform: Linux.
Unsloth: Using conservativeness = 1.0. Chunked prefill tokens = 32768. Num Sequences = 320.
INFO 08-12 22:31:58 [llm_engine.py:228] Initializing a V0 LLM engine (v0.10.0) with config: \
model='unsloth/Qwen2.5-0.5B-Instruct-bnb-4bit', speculative_config=None, dtype=torch.bfloat16, max_seq_len=32768, \
tensor_parallel_size=1, pipeline_parallel_size=1, quantization=bitsandbytes, enforce_eager=False, kv_cache_dtype=auto, \
compilation_config={"level":0,"cudagraph_capture_sizes":[320,312,8,4,2,1],"max_capture_size":320}, \
use_cached_outputs=False,
INFO 08-12 22:32:09 [model_runner.py:1115] Model loading took 0.5151 GiB and 3.479114 seconds
INFO 08-12 22:32:11 [worker.py:295] Memory profiling takes 1.73 seconds
INFO 08-12 22:32:11 [worker.py:295] the current vLLM instance can use total_gpu_memory (47.50GiB) \
x gpu_memory_utilization (0.78) = 37.18GiB
INFO 08-12 22:32:11 [worker.py:295] model weights take 0.52GiB; non_torch_memory takes 0.08GiB; \
PyTorch activation peak memory takes 1.78GiB; the rest of the memory reserved for KV Cache is 34.81GiB.
INFO 08-12 22:32:11 [executor_base.py:113] # cuda blocks: 190100, # CPU blocks: 0
INFO 08-12 22:32:11 [executor_base.py:118] Maximum concurrency for 32768 tokens per request: 92.82x
"""
"""V0 of a version whose default is V1, on a share of the memory that two decimals do not tell: file 33122952765."""

V0_10_2 = """\
\x1b[1;36m(APIServer pid=1)\x1b[0;0m INFO 09-20 10:00:00 [api_server.py:1896] vLLM API server version 0.10.2
\x1b[1;36m(APIServer pid=1)\x1b[0;0m INFO 09-20 10:00:00 [utils.py:328] non-default args: \
{'model_tag': 'Qwen/Qwen3-8B', 'model': 'Qwen/Qwen3-8B', 'max_model_len': 1024, 'gpu_memory_utilization': 0.8}
\x1b[1;36m(APIServer pid=1)\x1b[0;0m INFO 09-20 10:00:01 [__init__.py:1815] Using max model len 1024
\x1b[1;36m(APIServer pid=1)\x1b[0;0m INFO 09-20 10:00:01 [scheduler.py:222] \
Chunked prefill is enabled with max_num_batched_tokens=2048.
\x1b[1;36m(EngineCore_DP0 pid=9)\x1b[0;0m INFO 09-20 10:00:02 [core.py:76] Initializing a V1 LLM engine (v0.10.2) \
with config: model='Qwen/Qwen3-8B', speculative_config=None, tokenizer='Qwen/Qwen3-8B', dtype=torch.bfloat16, \
max_seq_len=1024, tensor_parallel_size=1, pipeline_parallel_size=1, data_parallel_size=1, quantization=None, \
enforce_eager=False, kv_cache_dtype=auto, enable_prefix_caching=True, compilation_config={"level":3,"max_num_seqs":7}
\x1b[1;36m(EngineCore_DP0 pid=9)\x1b[0;0m INFO 09-20 10:00:09 [gpu_model_runner.py:2392] \
Model loading took 15.2683 GiB and 8.103123 seconds
\x1b[1;36m(EngineCore_DP0 pid=9)\x1b[0;0m INFO 09-20 10:00:19 [gpu_worker.py:298] Available KV cache memory: 2.13 GiB
\x1b[1;36m(EngineCore_DP0 pid=9)\x1b[0;0m INFO 09-20 10:00:19 [kv_cache_utils.py:864] GPU KV cache size: 15,504 tokens
\x1b[1;36m(EngineCore_DP0 pid=9)\x1b[0;0m INFO 09-20 10:00:19 [kv_cache_utils.py:868] \
Maximum concurrency for 1,024 tokens per request: 15.14x
\x1b[1;36m(EngineCore_DP0 pid=9)\x1b[0;0m INFO 09-20 10:00:29 [gpu_model_runner.py:3118] \
Graph capturing finished in 9 secs, took 0.68 GiB
\x1b[1;36m(EngineCore_DP0 pid=9)\x1b[0;0m INFO 09-20 10:00:29 [gpu_worker.py:391] \
Free memory on device (23.20123291015625/23.52569580078125 GiB) on startup. Desired GPU memory utilization is \
(0.8, 18.820556640625 GiB). Actual usage is 15.27 GiB for weight, 1.4 GiB for peak activation, \
0.02 GiB for non-torch memory, and 0.68 GiB for CUDAGraph memory. Replace gpu_memory_utilization config with \
`--kv-cache-memory=1400000000` to fit into requested memory, or `--kv-cache-memory=5900000000` to fully utilize gpu \
memory. Current kv cache memory in use is 2287070085 bytes.
"""
"""v1/worker/gpu_worker.py, compile_or_warm_up_model."""

V0_19 = """\
(APIServer pid=1) INFO 03-02 10:00:00 [utils.py:299] vLLM server version 0.19.0, \
serving model meta-llama/Meta-Llama-3-8B
(EngineCore pid=9) INFO 03-02 10:00:02 [core.py:103] Initializing a V1 LLM engine (v0.19.0) with config: \
model='meta-llama/Meta-Llama-3-8B', speculative_config=None, dtype=torch.bfloat16, max_seq_len=8192, \
tensor_parallel_size=1, pipeline_parallel_size=1, data_parallel_size=1, decode_context_parallel_size=1, \
quantization=None, enforce_eager=False, kv_cache_dtype=auto, device_config=cuda, enable_prefix_caching=True
(EngineCore pid=9) INFO 03-02 10:00:12 [gpu_model_runner.py:4821] \
Model loading took 14.96 GiB memory and 8.103123 seconds
(EngineCore pid=9) INFO 03-02 10:00:15 [gpu_model_runner.py:5956] Estimated CUDA graph memory: 0.74 GiB total
(EngineCore pid=9) DEBUG 03-02 10:00:15 [gpu_worker.py:425] Initial free memory: 78.66 GiB; \
Requested memory: 0.950000 (util), 75.22 GiB
(EngineCore pid=9) DEBUG 03-02 10:00:15 [gpu_worker.py:436] Memory profiling takes 4.21 seconds. \
Total non KV cache memory: 17.21GiB; torch peak memory increase: 2.0GiB; non-torch forward increase memory: 0.24GiB; \
weights memory: 14.96GiB.
(EngineCore pid=9) INFO 03-02 10:00:15 [gpu_worker.py:436] Available KV cache memory: 58.02 GiB
(EngineCore pid=9) INFO 03-02 10:00:15 [kv_cache_utils.py:1319] GPU KV cache size: 475,296 tokens
(EngineCore pid=9) INFO 03-02 10:00:15 [kv_cache_utils.py:1324] Maximum concurrency for 8,192 tokens per request: 58.02x
(EngineCore pid=9) INFO 03-02 10:00:15 [fused_moe.py:900] Using default MoE config. Config file not found at \
/home/someone/vllm/configs/E=64,N=1408,device_name=NVIDIA_H100_80GB_HBM3.json
"""

V0_31 = """\
(APIServer pid=1) INFO 11-02 10:00:00 [startup.py:38]
(APIServer pid=1) INFO 11-02 10:00:00 [startup.py:38]        █     █     █▄   ▄█
(APIServer pid=1) INFO 11-02 10:00:00 [startup.py:38]  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.31.0
(APIServer pid=1) INFO 11-02 10:00:00 [startup.py:38]   █▄█▀ █     █     █     █  model   meta-llama/Meta-Llama-3-8B
(APIServer pid=1) INFO 11-02 10:00:00 [startup.py:38]    ▀▀  ▀▀▀▀▀ ▀▀▀▀▀ ▀     ▀
(APIServer pid=1) INFO 11-02 10:00:00 [startup.py:96] non-default args: {'model_tag': 'meta-llama/Meta-Llama-3-8B', \
'max_model_len': 131072, 'max_num_batched_tokens': 2048, 'max_num_seqs': 256}
(EngineCore pid=9) INFO 11-02 10:00:09 [model_runner.py:408] Model loading took 15.0 GiB memory and 8.103123 seconds
(EngineCore pid=9) INFO 11-02 10:00:19 [gpu_worker.py:690] Available KV cache memory: 56.21 GiB
(EngineCore pid=9) INFO 11-02 10:00:19 [kv_cache_utils.py:2464] GPU KV cache size: 460,496 tokens, \
Maximum concurrency for 131,072 tokens per request: 3.51x
(EngineCore pid=9) INFO 11-02 10:00:29 [model_runner.py:1087] Graph capturing finished in 12 secs, took 0.23 GiB
(EngineCore pid=9) INFO 11-02 10:00:29 [gpu_worker.py:955] Free memory on device (78.8/79.25 GiB) on startup. \
Desired GPU memory utilization is (0.92, 72.91 GiB). Actual usage is 15.26 GiB for consumed memory \
(weights + non-torch), 1.44 GiB for peak activation, and 0.23 GiB for CUDAGraph memory. Replace \
gpu_memory_utilization config with `--kv-cache-memory=59000000000` (54.95 GiB) to fit into requested memory, or \
`--kv-cache-memory=65000000000` (60.54 GiB) to fully utilize gpu memory. Current kv cache memory in use is 56.21 GiB.
"""
"""The figures are those of a public log: stored file id 70682754770."""

RANKS = """\
(Worker_TP0 pid=10) INFO 03-02 10:00:12 [gpu_model_runner.py:4821] Model loading took 7.6 GiB memory and 8.1 seconds
(Worker_TP1 pid=11) INFO 03-02 10:00:12 [gpu_model_runner.py:4821] Model loading took 7.6 GiB memory and 8.2 seconds
(Worker_TP0 pid=10) INFO 03-02 10:00:15 [gpu_worker.py:436] Available KV cache memory: 60.51 GiB
(Worker_TP1 pid=11) INFO 03-02 10:00:15 [gpu_worker.py:436] Available KV cache memory: 60.47 GiB
(EngineCore pid=9) INFO 03-02 10:00:15 [kv_cache_utils.py:1319] GPU KV cache size: 990,752 tokens
"""

DOES_NOT_FIT = """\
(EngineCore pid=9) ERROR 03-02 10:00:15 [core.py:900] ValueError: To serve at least one request with the models's max \
seq len (131072), (16.0 GiB KV cache is needed, which is larger than the available KV cache memory (2.13 GiB). \
Based on the available memory, the estimated maximum model length is 17440. Try increasing `gpu_memory_utilization` or \
decreasing `max_model_len` when initializing the engine.
"""
