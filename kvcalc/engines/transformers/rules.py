"""What transformers keeps by version: when that changed, and the rules in words."""

from __future__ import annotations

import re

from kvcalc.engines.option import Rule

VERSIONS = (
    "4.56.0",
    "4.57.0",
    "5.0.0",
    "5.2.0",
    "5.5.0",
    "5.10.4",
    "5.12.1",
    "5.13.0",
    "5.14.0",
    "5.15.0",
    "5.16.0",
    "5.17.0",
    "5.18.0",
    "5.20.0",
    "5.21.0",
    "5.22.0",
    "5.23.0",
    "5.24.0",
)
"""Those whose source was read. Before 4.56 DynamicCache kept every token of a window."""

Version = tuple[int, ...]

STATIC_WIDTHS: Version = (5, 0)
"""StaticLayer asks keys and values for their widths; before, values were to be as wide as keys."""
STATES: Version = (5, 5)
"""LinearAttentionLayer of cache_utils.py; before, each model had a cache class of its own."""
STATES_IN_FP32: Version = (5, 14)
"""A recurrence's state has the format that the model computes it in (LinearAttentionLayer.lazy_initialization)."""
PLACES: Version = (5, 21)
"""Qwen4's first layer with an indexer has the places of all tokens beside its keys (indexer_position_ids)."""
LATENT: Version = (5, 15)
"""MLA's latent goes into the cache, not the heads made of it (models/deepseek_v3/modeling_deepseek_v3.py)."""
LATENT_WITH_INDEX: Version = (5, 18)
"""The same of models with an indexer (models/glm_moe_dsa, models/deepseek_v32)."""
FP8_CACHE: Version = (5, 21)
"""Fp8QuantizedLayer."""

CACHE_UTILS = "transformers, src/transformers/cache_utils.py"

RULES = (
    Rule("tokens of a full layer, dynamic", "the context", f"{CACHE_UTILS}, DynamicLayer.update"),
    Rule(
        "tokens of a window or chunk, dynamic",
        "min(context, window - 1): the next token is the window's last; all of them where the window is 1",
        f"{CACHE_UTILS}, DynamicSlidingWindowLayer.update (since 4.56)",
    ),
    Rule(
        "tokens, static",
        "max_cache_len, here the context; min(window, max_cache_len) of a window or chunk",
        f"{CACHE_UTILS}, StaticLayer and StaticSlidingWindowLayer",
    ),
    Rule(
        "MLA",
        "kv_lora_rank + qk_rope_head_dim since 5.15; num_heads x (qk_nope_head_dim + qk_rope_head_dim + v_head_dim) "
        "before. With an indexer the latent since 5.18",
        "transformers, models/deepseek_v3/modeling_deepseek_v3.py; models/glm_moe_dsa/modeling_glm_moe_dsa.py",
    ),
    Rule("an indexer's keys", "index_head_dim in the format of computing", f"{CACHE_UTILS}, DynamicIndexedLayer"),
    Rule(
        "an indexer's keys that are pooled",
        "2 x index_head_dim + 1 for each token: its key, its gates, whether it is padding; pooled anew at each step",
        "transformers, models/glm5_next/modeling_glm5_next.py, Glm5NextTextIndexer",
    ),
    Rule(
        "an indexer's keys that are averaged",
        "index_head_dim for each token, averaged anew at each step; 3 places of each token beside them, in one layer",
        "transformers, models/qwen4_exp/modeling_qwen4_exp.py, Qwen4ExpTextQSAIndexer",
    ),
    Rule(
        "what is made of n-grams",
        "(conv_kernel - 1) x dilation inputs, no more; the last dilation - 1 tokens in 8 bytes each",
        "transformers, models/qwen4_exp/modeling_qwen4_exp.py, Qwen4ExpTextPLELayer",
    ),
    Rule(
        "inputs of a convolution",
        "conv_kernel of them, one more than the next token reads; in fp32 of Inkling, which computes them so",
        f"{CACHE_UTILS}, LinearAttentionLayer.update_conv_state; models/inkling, InklingShortConvolution",
    ),
    Rule(
        "states of recurrences",
        "fp32 since 5.14, as the models compute them; in the format of computing from 5.5 to 5.13; MiniMax's in the "
        "format of computing",
        f"{CACHE_UTILS}, LinearAttentionLayer.lazy_initialization; models/minimax/modeling_minimax.py, MiniMaxCache",
    ),
    Rule("layers that share a cache", "nothing", f"{CACHE_UTILS}, DummyLayer"),
    Rule(
        "--cache-dtype fp8",
        "1 byte an element, an fp32 scale of all keys and one of all values of a layer; models of full layers alone",
        f"{CACHE_UTILS}, Fp8QuantizedLayer (since 5.21)",
    ),
    Rule(
        "pp",
        "whole layers on each GPU, shared out evenly: a device_map written out. 'auto' fills the first GPUs more",
        "accelerate, utils/modeling.py, infer_auto_device_map",
    ),
)


def parse_version(text: str) -> Version:
    """A version as numbers to compare."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
