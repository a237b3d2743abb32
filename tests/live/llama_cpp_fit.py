"""How llama.cpp itself fits models to cards that are not there (common/fit.cpp, common_fit_params).

The files are of the right lengths and hold nothing. Run as a program: the library finds its cards once.
"""

from __future__ import annotations

import ctypes as c
import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import takewhile
from math import prod
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import gguf
import numpy as np
from llama_cpp_shapes import FITTED, Fitted, fitted_model
from llama_cpp_sizes import TYPES, ContextParams, LlamaCpp, ModelParams

GIB = 2**30
FIT = "_Z17common_fit_paramsPKcP18llama_model_paramsP20llama_context_paramsPfP32llama_model_tensor_buft_overridePmjPK22common_fit_extra_model14ggml_log_level"  # noqa: E501  # its name in C++


class Override(c.Structure):
    """struct llama_model_tensor_buft_override."""

    _fields_ = (("pattern", c.c_char_p), ("buft", c.c_void_p))


class Plan(NamedTuple):
    """What it chooses: layers on the card, and layers whose experts are not, or not all."""

    n_gpu_layers: int
    moved: int


def tensors(fitted: Fitted) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and dims of what such a model has."""
    shape = fitted_model(fitted.name)
    keys = shape.metadata
    hidden, width = keys["embedding_length"], keys["attention.key_length"]
    heads, kv = (keys[f"attention.{name}"] * width for name in ("head_count", "head_count_kv"))
    yield from (("token_embd", (shape.vocab, hidden)), ("output_norm", (hidden,)), ("output", (shape.vocab, hidden)))
    number = keys.get("expert_count")
    ff = keys["expert_feed_forward_length" if number else "feed_forward_length"]
    of_layer: dict[str, tuple[int, ...]] = {"attn_norm": (hidden,), "ffn_norm": (hidden,)}
    of_layer |= {"attn_q": (heads, hidden), "attn_k": (kv, hidden), "attn_v": (kv, hidden)}
    of_layer["attn_output"] = (hidden, heads)
    blocks = {"gate": (ff, hidden), "up": (ff, hidden), "down": (hidden, ff)}
    if number:
        of_layer |= {"attn_q_norm": (width,), "attn_k_norm": (width,), "ffn_gate_inp": (number, hidden)}
        of_layer |= {f"ffn_{name}_exps": (number, *dims) for name, dims in blocks.items()}
    else:
        of_layer |= {f"ffn_{name}": dims for name, dims in blocks.items()}
    for layer in range(keys["block_count"]):
        yield from ((f"blk.{layer}.{name}", dims) for name, dims in of_layer.items())


def write(path: Path, fitted: Fitted) -> None:
    """A file of such a model in f16, without its weights."""
    shape = fitted_model(fitted.name)
    writer = gguf.GGUFWriter(path, shape.arch)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(shape.vocab)
    for key, value in shape.metadata.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"{shape.arch}.{key}", value)
    total = 0
    for name, dims in tensors(fitted):
        kind = np.dtype(np.float16 if len(dims) > 1 else np.float32)
        size = prod(dims) * kind.itemsize
        writer.add_tensor_info(f"{name}.weight", dims, kind, size)
        total += -(-size // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    os.truncate(path, -(-path.stat().st_size // 32) * 32 + total)


def plan(lib: LlamaCpp, fitted: Fitted) -> Plan:
    """What llama.cpp chooses for a card, of which it leaves 1 GiB free."""
    fit = getattr(lib.lib, FIT)
    fit.argtypes = [c.c_char_p, *[c.c_void_p] * 5, c.c_uint32, c.c_void_p, c.c_int]
    model: ModelParams = lib.lib.llama_model_default_params()
    context: ContextParams = lib.lib.llama_context_default_params()
    context.n_ctx, context.swa_full, context.n_outputs_max = fitted.context, False, 1
    context.type_k = context.type_v = TYPES[fitted.kept_in]
    split, overrides, margins = (c.c_float * 128)(), (Override * 4096)(), (c.c_size_t * 16)(*[GIB] * 16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shape.gguf"
        write(path, fitted)
        given = (c.byref(model), c.byref(context), split, overrides, margins)
        fit(str(path).encode(), *given, 4096, None, 4)
    patterns = takewhile(bool, (each.pattern for each in overrides))
    numbers = {int(each.split(b"\\.")[1]) for each in patterns}  # blk\.12\.ffn_...; the output head counts as one
    layers = fitted_model(fitted.name).metadata["block_count"]
    return Plan(model.n_gpu_layers, sum(number < layers for number in numbers))


def main() -> None:
    memory = int(sys.argv[1])
    lib = LlamaCpp(memory=memory * GIB)
    for fitted in FITTED:
        if fitted.gib == memory:
            found = plan(lib, fitted)
            assert found == (fitted.n_gpu_layers, fitted.n_cpu_moe or 0), (fitted, found)
    sys.stdout.write("all alike\n")


if __name__ == "__main__":
    main()
