"""A folder with config.json and *.safetensors, written from the dtypes and shapes of its tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kvcalc import Model

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "I32": 32}
BITS |= {"U8": 8, "I8": 8, "I64": 64, "BOOL": 8, "F6_E2M3": 6}

Tensors = dict[str, tuple[str, list[int]]]


def header(tensors: Tensors) -> tuple[dict[str, Any], int]:
    told, at = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = BITS[dtype]
        for length in shape:
            size *= length
        told[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size // 8]}
        at += size // 8
    return told, at


def write_tensors(path: Path, tensors: Tensors, *, cut: int = 0) -> int:
    told, size = header(tensors)
    text = json.dumps({"__metadata__": {"format": "pt"}, **told}).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size - cut)
    return size


def folder(
    tmp_path: Path, files: dict[str, Tensors], config: dict[str, Any] | None = None, *, index: bool = True
) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config or LLAMA), encoding="utf-8")
    for name, tensors in files.items():
        write_tensors(tmp_path / name, tensors)
    if index and len(files) > 1:
        places = {tensor: name for name, tensors in files.items() for tensor in tensors}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    return tmp_path


def parts(model: Model) -> dict[str, tuple[int, int, str, str, bool]]:
    return {each.part: (each.parameters, each.size, each.split, each.place, each.scales) for each in model.weights}


PLAIN: Tensors = {
    "model.embed_tokens.weight": ("BF16", [100, 64]),
    "model.layers.0.self_attn.q_proj.weight": ("BF16", [64, 64]),
    "model.layers.0.self_attn.k_proj.weight": ("BF16", [32, 64]),
    "model.layers.0.self_attn.v_proj.weight": ("BF16", [32, 64]),
    "model.layers.0.self_attn.o_proj.weight": ("BF16", [64, 64]),
    "model.layers.0.mlp.gate_proj.weight": ("BF16", [128, 64]),
    "model.layers.0.mlp.up_proj.weight": ("BF16", [128, 64]),
    "model.layers.0.mlp.down_proj.weight": ("BF16", [64, 128]),
    "model.layers.0.input_layernorm.weight": ("BF16", [64]),
    "model.layers.0.post_attention_layernorm.weight": ("BF16", [64]),
    "model.norm.weight": ("BF16", [64]),
    "lm_head.weight": ("BF16", [100, 64]),
}


def elements(tensors: Tensors) -> int:
    total = 0
    for _, shape in tensors.values():
        product = 1
        for length in shape:
            product *= length
        total += product
    return total
