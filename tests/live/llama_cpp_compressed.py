"""llama.cpp's own sizes of DeepSeek-V4's caches, of the cases in tests/engines/test_llama_cpp_compressed.py.

As llama_cpp_sizes.py says; `python tests/live/llama_cpp_compressed.py` from the repository, with tests on the path.
"""

from __future__ import annotations

import sys
from typing import Any

from llama_cpp_sizes import LlamaCpp

RATIOS = [0, 0, 4, 128, 4, 128, 4]
METADATA: dict[str, Any] = {
    "block_count": len(RATIOS),
    "context_length": 1_048_576,
    "embedding_length": 4096,
    "feed_forward_length": 2048,
    "attention.head_count": 64,
    "attention.head_count_kv": 1,
    "attention.layer_norm_rms_epsilon": 1e-6,
    "attention.key_length": 512,
    "attention.value_length": 512,
    "attention.q_lora_rank": 1024,
    "attention.output_lora_rank": 1024,
    "attention.output_group_count": 8,
    "attention.sliding_window": 128,
    "attention.compress_ratios": RATIOS,
    "attention.compress_rope_freq_base": 160_000.0,
    "attention.indexer.head_count": 64,
    "attention.indexer.key_length": 128,
    "attention.indexer.top_k": 512,
    "rope.dimension_count": 64,
    "rope.freq_base": 10_000.0,
    "hash_layer_count": 0,
    "hyper_connection.count": 4,
    "hyper_connection.sinkhorn_iterations": 20,
    "hyper_connection.epsilon": 1e-6,
    "expert_count": 256,
    "expert_used_count": 6,
    "expert_shared_count": 1,
    "expert_feed_forward_length": 2048,
    "expert_weights_scale": 1.5,
    "expert_weights_norm": True,
    "expert_gating_func": 4,
    "swiglu_clamp_exp": [10.0] * len(RATIOS),
}
CASES: list[tuple[int, dict[str, Any]]] = [
    (1000, {}),
    (4096, {}),
    (100_000, {"n_seq_max": 3}),
    (65_536, {"n_seq_max": 4, "kv_unified": True}),
    (32_768, {"k": "q8_0", "v": "q8_0", "n_ubatch": 1024}),
    (32_768, {"n_seq_max": 2, "swa_full": True}),
    (32_768, {"n_seq_max": 8, "k": "q4_0", "v": "q4_0"}),
    (32_768, {"n_rs_seq": 3}),
]
"""Tokens of all slots, and the context's parameters."""

if __name__ == "__main__":
    library = LlamaCpp()
    model = library.model("deepseek4", 129_280, METADATA)
    for tokens, parameters in CASES:
        sizes = library.sizes(model, tokens, **parameters)
        sys.stdout.write(f"{tokens} {parameters} {sizes.caches} {sizes.compute}\n")
