"""What mlx_lm keeps, in words, and by which model_type its classes keep otherwise than a model's shape tells."""

from __future__ import annotations

from kvcalc.engines.option import Rule

VERSIONS = ("0.32.2",)
STEP = 256
CACHE = "mlx_lm 0.32.2, mlx_lm/models/cache.py"

ROTATING = frozenset(
    {
        *("afmoe", "baichuan_m1", "cohere2", "exaone4", "exaone_moe", "gemma3", "gemma3_text", "gemma3n", "gemma4"),
        *("gemma4_text", "gemma4_unified", "gpt_oss", "iquestloopcoder", "laguna", "llama", "mellum", "mimo_v2_flash"),
        *("ministral3", "mistral", "mistral3", "muse_glimmer", "muse_spark", "olmo3", "plamo3", "spark2_5", "step3p5"),
    }
)
"""Types whose class makes rotating caches for layers with windows (RotatingKVCache in mlx_lm/models/NAME.py)."""
EXPANDED = frozenset({"deepseek_v2", "minicpm3"})
"""Types whose class keeps the heads made of MLA's latent (models/deepseek_v2.py, models/minicpm3.py)."""

RULES = (
    Rule("rows of a full layer", "tokens rounded up to step", f"{CACHE}, KVCache.update_and_fetch"),
    Rule(
        "rows of a layer with a window, beside full layers",
        "min(window, tokens - 1 + step): what a prompt of all tokens but one left, and a step; a token less where the "
        "prompt's last pass has one token",
        f"{CACHE}, RotatingKVCache (keep 0), as the make_cache of gemma3_text, gpt_oss, cohere2, olmo3, ... asks",
    ),
    Rule(
        "rows where every layer has a window, and of gemma-2",
        "tokens rounded up to step: their classes make no cache of their own (mistral, phi3, starcoder2, gemma2)",
        f"{CACHE}, make_prompt_cache",
    ),
    Rule(
        "rows of a layer with chunks",
        "tokens rounded up to step; beyond the chunk, chunk + step",
        f"{CACHE}, ChunkedKVCache (models/llama4.py)",
    ),
    Rule(
        "rows with max-kv-size",
        "min(max-kv-size, tokens - 1 + step); the first 4 tokens stay. Classes that make caches of their own ignore it",
        f"{CACHE}, make_prompt_cache",
    ),
    Rule(
        "kv-bits",
        "kv-bits an element, and a scale and a bias in the format of computing for each kv-group-size; from "
        "quantized-kv-start on, until when all is kept as computed",
        f"{CACHE}, QuantizedKVCache; mlx_lm/generate.py, maybe_quantize_kv_cache",
    ),
    Rule("an indexer's keys", "kept twice, as keys and as values", "mlx_lm, models/deepseek_v32.py, Indexer"),
    Rule(
        "MLA",
        "the latent and the rotary key; of DeepSeek-V2 and MiniCPM3 the heads made of them",
        "mlx_lm, models/deepseek_v3.py and models/deepseek_v2.py",
    ),
    Rule(
        "states of recurrences",
        "fp32; Mamba-1's in the format of computing; convolutions keep conv_kernel - 1 inputs",
        "mlx_lm, models/gated_delta.py, ssm.py and mamba.py",
    ),
    Rule(
        "memory",
        "what the GPU may hold of an Apple chip's memory; sysctl iogpu.wired_limit_mb raises it",
        "Metal, MTLDevice.recommendedMaxWorkingSetSize; mlx_lm/generate.py, wired_limit",
    ),
)
