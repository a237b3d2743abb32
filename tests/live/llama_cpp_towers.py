"""What llama.cpp reserves for towers, as `mtmd_get_memory_usage` tells: weights and buffers, no weights read.

`python llama_cpp_towers.py` compares it with what kvcalc has, and ends with 'all alike' or with what differs.
"""

from __future__ import annotations

import ctypes as c
import os
import sys
import tempfile
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from llama_cpp_sizes import LlamaCpp

from kvcalc.engines.llama_cpp.mmproj import TOWERS

Tensors = dict[str, tuple[int, ...]]
USAGE = "_Z21mtmd_get_memory_usagePKc19mtmd_context_params"
CATALOGUE_LACKS = 200_000
"""Parameters of a tower that the catalogue does not count: a row for the end of a line, biases of a projector."""


class Params(c.Structure):
    """struct mtmd_context_params, whose fields are of no matter here, and as many bytes as any build's may have."""

    _fields_ = (("bytes", c.c_uint8 * 512),)


def _vit(layers: int, d: int, ff: int, patch: int, *, fused: bool = False, bias: bool = True) -> Tensors:
    """A vision transformer; without biases its feed-forward blocks have gates."""
    found: Tensors = {"v.patch_embd.weight": (d, 3, patch, patch)}
    for layer in range(layers):
        parts: Tensors = {"attn_out": (d, d), "ffn_up": (ff, d), "ffn_down": (d, ff), "ln1": (d,), "ln2": (d,)}
        parts |= {"attn_qkv": (3 * d, d)} if fused else {f"attn_{each}": (d, d) for each in "qkv"}
        parts |= {} if bias else {"ffn_gate": (ff, d)}
        for name, shape in parts.items():
            found[f"v.blk.{layer}.{name}.weight"] = shape
            if bias:
                found[f"v.blk.{layer}.{name}.bias"] = shape[:1]
    return found


def _qwen3(d: int, ff: int, layers: int, out: int, levels: tuple[int, ...] = ()) -> tuple[dict[str, Any], Tensors]:
    found = _vit(layers, d, ff, 16, fused=True) | {"v.position_embd.weight": (48 * 48, d)}
    found |= {"v.patch_embd.weight.1": (d, 3, 16, 16), "v.patch_embd.bias": (d,)}
    found |= {"v.post_ln.weight": (d,), "v.post_ln.bias": (d,)} | _merger(d, out)
    for level in levels:
        one = f"v.deepstack.{level}"
        found |= {f"{one}.norm.weight": (4 * d,), f"{one}.norm.bias": (4 * d,), f"{one}.fc1.weight": (4 * d, 4 * d)}
        found |= {f"{one}.fc1.bias": (4 * d,), f"{one}.fc2.weight": (out, 4 * d), f"{one}.fc2.bias": (out,)}
    is_level = [layer in levels for layer in range(layers)]
    more = {"vision.spatial_merge_size": 2, "vision.is_deepstack_layers": is_level}
    return _keys("qwen3vl_merger", d, ff, d // (72 if d == 1152 else 64), layers, 16, 768, out, more), found


def _merger(d: int, out: int) -> Tensors:
    return {"mm.0.weight": (4 * d, 4 * d), "mm.0.bias": (4 * d,), "mm.2.weight": (out, 4 * d), "mm.2.bias": (out,)}


def _qwen2(ff: int, out: int, *, gated: bool) -> tuple[dict[str, Any], Tensors]:
    d, found = 1280, _vit(32, 1280, ff, 14)
    if gated:
        found = {name: shape for name, shape in found.items() if not (".ln" in name and name.endswith("bias"))}
        for layer in range(32):
            found |= {f"v.blk.{layer}.ffn_gate.weight": (ff, d), f"v.blk.{layer}.ffn_gate.bias": (ff,)}
    found |= {"v.patch_embd.weight.1": (d, 3, 14, 14), "v.post_ln.weight": (d,)} | _merger(d, out)
    found |= {} if gated else {"v.post_ln.bias": (d,)}
    more = {"use_gelu": False, "use_silu": True, "vision.n_wa_pattern": 8} if gated else {}
    return _keys(f"qwen2{'.5' if gated else ''}vl_merger", d, ff, 16, 32, 14, 560, out, more), found


def _gemma3(out: int) -> tuple[dict[str, Any], Tensors]:
    d, found = 1152, _vit(27, 1152, 4304, 14)
    found |= {"v.position_embd.weight": (4096, d), "v.patch_embd.bias": (d,), "v.post_ln.weight": (d,)}
    found |= {"v.post_ln.bias": (d,), "mm.input_projection.weight": (d, out), "mm.soft_emb_norm.weight": (d,)}
    return _keys("gemma3", d, 4304, 16, 27, 14, 896, out), found


def _gemma4(out: int) -> tuple[dict[str, Any], Tensors]:
    d, found = 1152, _vit(27, 1152, 4304, 16, bias=False) | {"v.position_embd.weight": (2, 10240, 1152)}
    for layer in range(27):
        one = f"v.blk.{layer}"
        found |= {f"{one}.{name}.weight": (d,) for name in ("attn_post_norm", "ffn_post_norm")}
        found |= {f"{one}.{name}.weight": (72,) for name in ("attn_q_norm", "attn_k_norm")}
    found |= {"mm.input_projection.weight": (out, d), "v.std_bias": (d,), "v.std_scale": (d,)}
    return _keys("gemma4v", d, 4304, 16, 27, 16, 224, out), found


def _pixtral(out: int, *, merged: bool) -> tuple[dict[str, Any], Tensors]:
    d, found = 1024, _vit(24, 1024, 4096, 14, bias=False) | {"v.pre_ln.weight": (1024,)}
    found |= {"mm.1.weight": (out, d), "mm.2.weight": (out, out), "v.token_embd.img_break": (out,)}
    found |= {"mm.input_norm.weight": (d,), "mm.patch_merger.weight": (d, 4 * d)} if merged else {}
    more: dict[str, Any] = {"use_gelu": False, "use_silu": True}
    more |= {"vision.spatial_merge_size": 2} if merged else {}
    return _keys("pixtral", d, 4096, 16, 24, 14, 1540, out, more), found


def _internvl(out: int) -> tuple[dict[str, Any], Tensors]:
    d, found = 1024, _vit(24, 1024, 4096, 14) | {"v.position_embd.weight": (1025, 1024)}
    found |= {f"v.blk.{layer}.{name}.weight": (d,) for layer in range(24) for name in ("ls1", "ls2")}
    found |= {"v.patch_embd.bias": (d,), "v.class_embd": (d,), "mm.model.mlp.0.weight": (4 * d,)}
    found |= {"mm.model.mlp.0.bias": (4 * d,), "mm.model.mlp.1.weight": (out, 4 * d), "mm.model.mlp.1.bias": (out,)}
    found |= {"mm.model.mlp.3.weight": (out, out), "mm.model.mlp.3.bias": (out,)}
    return _keys("internvl", d, 4096, 16, 24, 14, 448, out, {"vision.projector.scale_factor": 2}), found


def _llama4() -> tuple[dict[str, Any], Tensors]:
    d, found = 1408, _vit(34, 1408, 5632, 14) | {"v.position_embd.weight": (577, 1408)}
    found |= {"v.patch_embd.weight": (d, 3 * 14 * 14), "v.class_embd": (d,)}
    found |= {f"v.{place}.{kind}": (d,) for place in ("pre_ln", "post_ln") for kind in ("weight", "bias")}
    found |= {"mm.model.fc.weight": (5120, 4096), "mm.model.mlp.1.weight": (4096, 5632)}
    found |= {"mm.model.mlp.2.weight": (4096, 4096)}
    return _keys("llama4", d, 5632, 16, 34, 14, 336, 5120, {"vision.projector.scale_factor": 2}), found


def _kimi_vl() -> tuple[dict[str, Any], Tensors]:
    d, found = (
        1152,
        _vit(27, 1152, 4304, 14) | {"v.position_embd.weight": (64 * 64, 1152), "v.patch_embd.bias": (1152,)},
    )
    found |= {f"{place}.{kind}": (d,) for place in ("v.post_ln", "mm.input_norm") for kind in ("weight", "bias")}
    found |= {"mm.1.weight": (4 * d, 4 * d), "mm.1.bias": (4 * d,), "mm.2.weight": (2048, 4 * d), "mm.2.bias": (2048,)}
    return _keys("kimivl", d, 4304, 16, 27, 14, 896, 2048, {"vision.projector.scale_factor": 2}), found


def _llava(out: int) -> tuple[dict[str, Any], Tensors]:
    """CLIP's ViT-L/14 at 336 pixels, whose last layer the projector does not read."""
    d, found = 1024, _vit(23, 1024, 4096, 14) | {"v.position_embd.weight": (577, 1024), "v.class_embd": (1024,)}
    found |= {f"v.{place}.{kind}": (d,) for place in ("pre_ln", "post_ln") for kind in ("weight", "bias")}
    found |= {"mm.0.weight": (out, d), "mm.0.bias": (out,), "mm.2.weight": (out, out), "mm.2.bias": (out,)}
    return _keys("mlp", d, 4096, 16, 23, 14, 336, out, {"use_gelu": False}), found


def _whisper(projector: str, out: int, projected: Tensors, stacked: int) -> tuple[dict[str, Any], Tensors]:
    """Whisper large's encoder: 30 seconds of sound."""
    d, ff, layers = 1280, 5120, 32
    found: Tensors = {"a.conv1d.1.weight": (d, 128, 3), "a.conv1d.1.bias": (d, 1), "a.conv1d.2.weight": (d, d, 3)}
    found |= {"a.conv1d.2.bias": (d, 1), "a.position_embd.weight": (1500, d), "a.post_ln.weight": (d,)}
    found |= {"a.post_ln.bias": (d,)} | projected
    for layer in range(layers):
        one = f"a.blk.{layer}"
        parts = {f"attn_{each}": (d, d) for each in ("q", "k", "v", "out")} | {"ffn_up": (ff, d), "ffn_down": (d, ff)}
        found |= {f"{one}.{name}.weight": shape for name, shape in parts.items()}
        found |= {f"{one}.{name}.bias": shape[:1] for name, shape in parts.items() if name != "attn_k"}
        found |= {f"{one}.{name}.{kind}": (d,) for name in ("ln1", "ln2") for kind in ("weight", "bias")}
    return {
        "projector_type": projector,
        "has_audio_encoder": True,
        "use_gelu": True,
        "audio.embedding_length": d,
        "audio.feed_forward_length": ff,
        "audio.block_count": layers,
        "audio.projection_dim": out,
        "audio.attention.head_count": 20,
        "audio.attention.layer_norm_epsilon": 1e-5,
        "audio.num_mel_bins": 128,
        "audio.projector.stack_factor": stacked,
    }, found


def _voxtral(out: int) -> tuple[dict[str, Any], Tensors]:
    return _whisper("voxtral", out, {"mm.a.mlp.1.weight": (out, 5120), "mm.a.mlp.2.weight": (out, out)}, 4)


def _keys(
    projector: str,
    d: int,
    ff: int,
    heads: int,
    layers: int,
    patch: int,
    image: int,
    out: int,
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "projector_type": projector,
        "has_vision_encoder": True,
        "use_gelu": True,
        "vision.embedding_length": d,
        "vision.feed_forward_length": ff,
        "vision.block_count": layers,
        "vision.projection_dim": out,
        "vision.attention.head_count": heads,
        "vision.attention.layer_norm_epsilon": 1e-6,
        "vision.image_size": image,
        "vision.patch_size": patch,
        "vision.image_mean": [0.5] * 3,
        "vision.image_std": [0.5] * 3,
        **(more or {}),
    }


def towers() -> Iterator[tuple[dict[str, Any], Tensors]]:
    """With the dims of published ones."""
    yield _qwen3(768, 3072, 12, 1024)
    yield from (_qwen3(1024, 4096, 24, out) for out in (2048, 2560))
    yield from (_qwen3(1152, 4304, 27, out) for out in (2048, 3072, 4096, 5120))
    yield from (_qwen3(1024, 4096, 24, out, (5, 11, 17)) for out in (2048, 2560))
    yield from (_qwen3(1152, 4304, 27, out, (8, 16, 24)) for out in (2048, 4096, 5120))
    yield from (_qwen2(3420, out, gated=True) for out in (2048, 3584))
    yield from (_qwen2(3456, out, gated=True) for out in (5120, 8192))
    yield from (_qwen2(5120, out, gated=False) for out in (1536, 3584, 8192))
    yield from map(_gemma3, (2560, 3840, 5376))
    yield from map(_gemma4, (2816, 5376))
    yield from (_pixtral(out, merged=True) for out in (3072, 4096, 5120))
    yield _pixtral(5120, merged=False)
    yield from map(_internvl, (896, 5120))
    yield _llama4()
    yield _kimi_vl()
    yield from map(_llava, (4096, 5120))
    yield _voxtral(3072)


def _in_f32(name: str, shape: tuple[int, ...]) -> bool:
    return len(shape) == 1 or "position_embd" in name


def _written(path: str, keys: dict[str, Any], tensors: Tensors) -> int:
    """Writes a file of which only the header is there; bytes of its weights."""
    writer, whole, padded = gguf.GGUFWriter(path, "clip"), 0, 0
    writer.add_name("towers")
    writer.add_description("towers")
    for key, value in keys.items():
        match value:
            case bool():
                writer.add_bool(f"clip.{key}", value)
            case int():
                writer.add_uint32(f"clip.{key}", value)
            case float():
                writer.add_float32(f"clip.{key}", value)
            case str():
                writer.add_string(f"clip.{key}", value)
            case _:
                writer.add_array(f"clip.{key}", value)
    for name, shape in tensors.items():
        stored = np.float32 if _in_f32(name, shape) else np.float16
        size = prod(shape) * np.dtype(stored).itemsize
        writer.add_tensor_info(name, list(shape), np.dtype(stored), size)
        whole, padded = whole + size, padded + -(-size // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    os.truncate(path, -(-Path(path).stat().st_size // 32) * 32 + padded)
    return whole


def reserved(lib: LlamaCpp, keys: dict[str, Any], tensors: Tensors) -> tuple[int, int]:
    """Bytes of the buffers on the card and in host memory."""
    usage = getattr(lib.lib, USAGE)
    usage.restype, usage.argtypes = None, [c.c_void_p, c.c_char_p, Params]  # what it returns lies where it is told
    lib.lib.mtmd_context_params_default.restype = Params
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "towers.gguf")
        weights, sizes = _written(path, keys, tensors), (c.c_uint64 * 8)()
        usage(c.addressof(sizes), path.encode(), lib.lib.mtmd_context_params_default())
    found = sorted(_values(sizes[2]))  # std::map: the root of its tree
    return found[1] - weights, found[0]


def _values(node: int) -> Iterator[int]:
    """Of a node of a std::map of pointers and sizes: colour, parent, left, right, key, value."""
    if node:
        words = (c.c_uint64 * 6).from_address(node)
        yield words[5]
        yield from _values(words[2])
        yield from _values(words[3])


def _layer(tensors: Tensors) -> int:
    return sum(prod(shape) for name, shape in tensors.items() if name.startswith("v.blk.0."))


def main() -> str:
    lib, met = LlamaCpp(), set()
    for keys, tensors in towers():
        parameters = sum(map(prod, tensors.values()))
        lacks = _layer(tensors) if keys["projector_type"] == "mlp" else 0  # the last, which the catalogue counts
        parameters += lacks
        known = min(TOWERS, key=lambda each: abs(each - parameters))
        met.add(known)
        in_f32 = sum(prod(shape) for name, shape in tensors.items() if _in_f32(name, shape))
        found, kept = (in_f32 - lacks, *reserved(lib, keys, tensors)), tuple(TOWERS[known])
        if found != kept or abs(known - parameters) > CATALOGUE_LACKS:
            return f"{keys['projector_type']}, {parameters:,} parameters: {found}, and kvcalc has {kept} of {known:,}"
    return "all alike" if met == {*TOWERS} else f"not tried: {sorted({*TOWERS} - met)}"


if __name__ == "__main__":
    sys.stdout.write(f"{main()}\n")
