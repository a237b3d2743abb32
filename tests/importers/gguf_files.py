"""GGUF files as the gguf package writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf

from kvcalc import Model, load_model

Keys = dict[str, Any]
Tensors = dict[str, tuple[list[int], gguf.GGMLQuantizationType]]
Type = gguf.GGMLQuantizationType

LLAMA: Keys = {
    "block_count": 2,
    "embedding_length": 4096,
    "context_length": 8192,
    "attention.head_count": 32,
    "attention.head_count_kv": 8,
}
TENSORS: Tensors = {
    "token_embd.weight": ([256, 100], Type.Q6_K),
    "blk.0.attn_q.weight": ([256, 256], Type.Q4_K),
    "blk.1.ffn_down_exps.weight": ([256, 256, 4], Type.IQ2_XS),
    "blk.1.attn_norm.weight": ([256], Type.F32),
    "output.weight": ([256, 100], Type.Q8_0),
}


def write(path: Path, arch: str, keys: Keys, tensors: Tensors | None = None, more: Keys | None = None) -> Path:
    """As the gguf package writes a header; the tensors are a hole of their size."""
    writer = gguf.GGUFWriter(path, arch)
    for name, value in {**{f"{arch}.{name}": value for name, value in keys.items()}, **(more or {})}.items():
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, list):
            writer.add_array(name, value)
        else:
            writer.add_string(name, value)
    size = 0
    for name, (shape, kind) in (tensors or {}).items():
        block, of = gguf.GGML_QUANT_SIZES[kind]
        elements = 1
        for length in shape:
            elements *= length
        nbytes = elements // block * of
        row = [shape[0] // block * of, *shape[1:]]
        writer.add_tensor_info(name, list(reversed(row)), _uint8(), nbytes, raw_dtype=kind)
        size = -(-size // 32) * 32 + nbytes
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.truncate(-(-end // 32) * 32 + size)
    return path


def _uint8() -> Any:
    import numpy as np  # of the gguf package

    return np.dtype(np.uint8)


def kinds(path: Path, **assumed: Any) -> list[str]:
    return [" + ".join(each.label for each in layer) for layer in load_model(path, assume=assumed).sequence()]


GQA = {"attention.head_count": 32, "attention.head_count_kv": 8, "embedding_length": 4096}


def dims(model: Model) -> Keys:
    """Keys of a model whose layers are alike in heads."""
    attention = next(each.attention for layer in model.sequence() for each in layer if each.attention.query_heads)
    found = {"mha": attention.query_heads, "mqa": 1}.get(attention.kind) or getattr(attention, "num_kv_heads", 1)
    return {
        "attention.head_count": attention.query_heads,
        "attention.head_count_kv": found,
        "attention.key_length": getattr(attention, "head_dim", 0) or 1,
        "attention.value_length": getattr(attention, "head_dim", 0) or 1,
    }


def _states(name: str) -> list[int]:
    """KV heads of each layer, 0 where a state is kept."""
    return [getattr(layer[0].attention, "num_kv_heads", 0) for layer in load_model(name).sequence()]


def _labels(name: str) -> list[str]:
    return [layer[0].label for layer in load_model(name).sequence()]


NEMOTRON = "nvidia-nemotron-3-ultra-550b-a55b-bf16"
LATENT = {
    "attention.kv_lora_rank": 512,
    "attention.q_lora_rank": 1536,
    "rope.dimension_count": 64,
    "attention.key_length": 576,
    "attention.value_length": 512,
    "attention.key_length_mla": 192,
    "attention.value_length_mla": 128,
}
MAMBA2 = {"ssm.inner_size": 4096, "ssm.time_step_rank": 32, "ssm.state_size": 256, "ssm.group_count": 2}
MAMBA2 |= {"ssm.conv_kernel": 4}
QWEN3_NEXT = {"ssm.conv_kernel": 4, "ssm.inner_size": 4096, "ssm.state_size": 128, "ssm.time_step_rank": 32}
QWEN3_NEXT |= {"ssm.group_count": 16, "full_attention_interval": 4}

MODELS: dict[str, tuple[str, Keys]] = {
    "llama-3-70b": ("llama", {}),
    "qwen3-8b": ("qwen3", {}),
    "falcon-7b": ("falcon", {}),
    "gemma-2-27b": ("gemma2", {"attention.sliding_window": 4096}),
    "gemma-3-27b": ("gemma3", {"attention.sliding_window": 1024}),
    "gpt-oss-120b": ("gpt-oss", {"attention.sliding_window": 128}),
    "c4ai-command-r7b-12-2024": ("cohere2", {"attention.sliding_window": 4096}),
    "olmo-3-7b": (
        "olmo2",
        {"attention.sliding_window": 4096, "attention.sliding_window_pattern": ([True] * 3 + [False]) * 8},
    ),
    "olmo-2-1124-7b": ("olmo2", {}),
    "llama-4-maverick-17b-128e": ("llama4", {}),
    "phi-3-medium-128k": ("phi3", {"attention.sliding_window": 131072, "context_length": 131072}),
    "gemma-3n-e4b": ("gemma3n", {"attention.sliding_window": 512}),
    "deepseek-v3": ("deepseek2", LATENT),
    "glm-4.5": ("glm4moe", {"block_count": 93, "nextn_predict_layers": 1}),
    "qwen3-next-80b-a3b": ("qwen3next", QWEN3_NEXT),
    "mamba-2.8b": ("mamba", {"ssm.inner_size": 5120, "ssm.state_size": 16, "ssm.conv_kernel": 4}),
    "ai21-jamba-mini-1.5": (
        "jamba",
        {
            "attention.head_count_kv": _states("ai21-jamba-mini-1.5"),
            "ssm.inner_size": 8192,
            "ssm.state_size": 16,
            "ssm.conv_kernel": 4,
        },
    ),
    "granite-4.0-h-tiny": (
        "granitehybrid",
        {
            "attention.head_count_kv": _states("granite-4.0-h-tiny"),
            "ssm.inner_size": 3072,
            "ssm.time_step_rank": 48,
            "ssm.state_size": 128,
            "ssm.group_count": 1,
            "ssm.conv_kernel": 4,
        },
    ),
    NEMOTRON: (
        "nemotron_h_moe",
        {
            "attention.head_count_kv": _states(NEMOTRON),
            "feed_forward_length": [5120 * (kind == "no attention") for kind in _labels(NEMOTRON)],
            "ssm.inner_size": 16384,
            "ssm.time_step_rank": 256,
            "ssm.state_size": 128,
            "ssm.group_count": 8,
            "ssm.conv_kernel": 4,
        },
    ),
    "lfm2-1.2b": ("lfm2", {"attention.head_count_kv": _states("lfm2-1.2b"), "shortconv.l_cache": 3}),
    "falcon-h1-34b": (
        "falcon-h1",
        {
            "ssm.inner_size": 4096,
            "ssm.time_step_rank": 32,
            "ssm.state_size": 256,
            "ssm.group_count": 2,
            "ssm.conv_kernel": 4,
        },
    ),
}
