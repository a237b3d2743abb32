"""LMDeploy's rules in words, for people; the code that follows them stands in the files beside this one."""

from __future__ import annotations

from kvcalc.engines.option import Rule

MESSAGES = "lmdeploy/messages.py, TurbomindEngineConfig, PytorchEngineConfig"
BLOCK = "src/turbomind/kernels/attention/block.h; lmdeploy/pytorch/engine/cache_engine.py"
TURBOMIND = "src/turbomind/turbomind.cc, CreateEngine"
SLABS = "src/turbomind/memory/slab.h, SlabAllocator; src/turbomind/memory/object.cc, MemoryState"
EXECUTOR = "lmdeploy/pytorch/engine/executor/base.py"
BATCHES = "lmdeploy/utils.py, get_max_batch_size"

RULES = (
    Rule(
        "memory of the cache",
        "(memory of the card - weights - what the process takes) x cache-max-entry-count: a share of what is free, not "
        "of the card, taken before activations are allocated. Where the CPU has the same memory (GB10, Jetson) kvcalc "
        "refuses the card unless --gpu-memory says what is left",
        TURBOMIND,
    ),
    Rule(
        "memory of the cache (backend=pytorch)",
        "(free after loading - 2 x vocab_size x (max-prefill-token-num + 2 x max-batch-size)) x cache-max-entry-count; "
        "max-prefill-token-num is halved while 3 to 15 blocks are left; with fewer it does not start",
        f"{EXECUTOR}, _get_runtime_size, _get_num_gpu_blocks",
    ),
    Rule(
        "bytes of a token",
        "2 x key-value heads of a rank x head_dim x bytes of an element, over all layers; TurboMind's latents "
        "kv_lora_rank + qk_rope_head_dim, whole on every rank",
        BLOCK,
    ),
    Rule("heads of a rank", "max(1, num_key_value_heads / tp)", "lmdeploy/pytorch/config.py"),
    Rule(
        "quant-policy 8 and 4",
        "so many bits an element, and a scale and a zero of 16 bits for each head and token, of keys and of values",
        BLOCK,
    ),
    Rule(
        "blocks",
        "of cache-block-seq-len tokens in all layers. TurboMind has them in slabs: the least power of two from 32 MiB "
        "on that holds one, doubled until blocks fill 95 % of it or it is 1 GiB; what is beyond the last is not used",
        SLABS,
    ),
    Rule(
        "blocks (backend=pytorch)", "floor(memory of the cache / bytes of a block)", f"{EXECUTOR}, _get_num_gpu_blocks"
    ),
    Rule("windows", "every token is kept", "src/turbomind/models/llama/unified_attention_layer.cc"),
    Rule("max-batch-size", "1,024 on H100, H200, H800 and L20Y, 384 on A100 and A800, else 128", BATCHES),
)
