"""llama.cpp's own sizes of any shape, without weights: it makes a model of metadata alone, and simulates allocations.

xllamacpp 2026.10.11549 (34 MB) is llama.cpp b11549 with its C interface.
"""

from __future__ import annotations

import ctypes as c
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import xllamacpp  # type: ignore[import-not-found,import-untyped,unused-ignore]  # on Linux alone
from llama_cpp_card import Cards

TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "iq4_nl": 20, "bf16": 30}
VERSION = "b11549"


class ModelParams(c.Structure):
    """struct llama_model_params (include/llama.h)."""

    _fields_ = (
        ("devices", c.c_void_p),
        ("overrides", c.c_void_p),
        ("n_gpu_layers", c.c_int32),
        ("split_mode", c.c_int32),
        ("load_mode", c.c_int32),
        ("lazy_mode", c.c_int32),
        ("main_gpu", c.c_int32),
        ("tensor_split", c.c_void_p),
        ("callback", c.c_void_p * 2),
        ("kv_overrides", c.c_void_p),
        ("flags", c.c_bool * 4),  # vocab_only, check_tensors, use_extra_bufts, no_host
        ("no_alloc", c.c_bool),
        ("load_mtp", c.c_bool),
    )


class ContextParams(c.Structure):
    """struct llama_context_params."""

    _fields_ = (
        *((name, c.c_uint32) for name in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq", "n_outputs_max")),
        ("n_outputs_max_per_seq", c.c_uint32),
        *(
            (name, c.c_int32)
            for name in ["n_threads", "n_threads_batch", "ctx_type", "rope_scaling", "pooling", "attention"]
        ),
        ("flash_attn", c.c_int32),
        *((name, c.c_float) for name in ("freq_base", "freq_scale", "yarn_ext", "yarn_attn", "yarn_fast", "yarn_slow")),
        ("yarn_orig_ctx", c.c_uint32),
        ("defrag_thold", c.c_float),
        ("eval_callback", c.c_void_p * 2),
        ("type_k", c.c_int32),
        ("type_v", c.c_int32),
        ("abort", c.c_void_p * 3),
        *(
            (name, c.c_bool)
            for name in ["embeddings", "offload_kqv", "no_perf", "op_offload", "swa_full", "kv_unified"]
        ),
        ("samplers", c.c_void_p),
        ("n_samplers", c.c_size_t),
        ("other", c.c_void_p),
    )


class MetadataParams(c.Structure):
    """struct gguf_init_params."""

    _fields_ = (("no_alloc", c.c_bool), ("ctx", c.c_void_p))


class Sizes(NamedTuple):
    """What one context takes, as llama.cpp prints it: MiB with two decimals.

    Attributes:
        compute: of each card.
        caches: of each cache and state.
    """

    compute: tuple[float, ...]
    caches: tuple[float, ...]


class LlamaCpp:
    """The library, with cards that are not there."""

    def __init__(self, cards: int = 1, memory: int = 1 << 40) -> None:
        path = str(Path(xllamacpp.__file__).parent / "xllamacpp.abi3.so")
        self.lib = c.CDLL(path, mode=c.RTLD_GLOBAL)
        self.cards = Cards(self.lib, cards, memory)
        self._lines: list[str] = []
        self._log = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)(self._keep)
        self._nothing = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)(lambda *_: None)
        lib = self.lib
        lib.llama_log_set(self._log, None)
        lib.llama_model_default_params.restype = ModelParams
        lib.llama_context_default_params.restype = ContextParams
        lib.gguf_init_from_file.restype = c.c_void_p
        lib.gguf_init_from_file.argtypes = [c.c_char_p, MetadataParams]
        lib.llama_model_init_from_user.restype = c.c_void_p
        lib.llama_model_init_from_user.argtypes = [c.c_void_p, c.c_void_p, c.c_void_p, ModelParams]
        lib.llama_init_from_model.restype = c.c_void_p
        lib.llama_init_from_model.argtypes = [c.c_void_p, ContextParams]
        lib.llama_free.argtypes = lib.llama_model_free.argtypes = [c.c_void_p]
        lib.llama_backend_init()

    def _keep(self, _: int, text: bytes, __: object) -> None:
        self._lines.append(text.decode(errors="replace"))

    def model(
        self, arch: str, vocab: int, metadata: dict[str, Any], tensor_split: tuple[float, ...] = (), **params: int
    ) -> int:
        """A model of such metadata, whose keys go without the architecture's name."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "shape.gguf"
            writer = gguf.GGUFWriter(path, arch)
            writer.add_tokenizer_model("no_vocab")
            writer.add_vocab_size(vocab)
            for key, value in metadata.items():
                match value:
                    case bool():
                        writer.add_bool(f"{arch}.{key}", value)
                    case int():
                        writer.add_uint32(f"{arch}.{key}", value)
                    case float():
                        writer.add_float32(f"{arch}.{key}", value)
                    case _:
                        writer.add_array(f"{arch}.{key}", value)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            writer.close()
            held = self.lib.gguf_init_from_file(str(path).encode(), MetadataParams(True, None))
        given = self.lib.llama_model_default_params()
        given.no_alloc, given.load_mode = True, 0
        for name, number in params.items():
            setattr(given, name, number)
        shares = (c.c_float * 16)(*tensor_split)
        if tensor_split:
            given.tensor_split = c.addressof(shares)
        self._lines.clear()
        made: int | None = self.lib.llama_model_init_from_user(held, self._nothing, None, given)
        if made is None:
            raise ValueError("".join(self._lines[-3:]))
        return made

    def sizes(self, model: int, n_ctx: int, *, k: str = "f16", v: str = "f16", flash: int = -1, **params: int) -> Sizes:
        """What a context of a model takes; `flash` is -1 where llama.cpp decides."""
        given = self.lib.llama_context_default_params()
        given.n_ctx, given.type_k, given.type_v, given.flash_attn = n_ctx, TYPES[k], TYPES[v], flash
        given.swa_full = False
        given.n_outputs_max = params.get("n_seq_max", 1)
        for name, number in params.items():
            setattr(given, name, number)
        self._lines.clear()
        context = self.lib.llama_init_from_model(model, given)
        said = "".join(self._lines)
        if not context:
            raise ValueError(said[-300:])
        self.lib.llama_free(context)
        compute = re.findall(r"CUDA\d compute buffer size = +([\d.]+) MiB", said)
        caches = re.findall(r"(?:kv_cache|memory_recurrent): size = +([\d.]+) MiB", said)
        return Sizes(tuple(map(float, compute)), tuple(map(float, caches)))

    def layers_of(self, model: int) -> list[str]:
        """The device of each layer's cache, in their order: CUDA0, CPU."""
        given = self.lib.llama_context_default_params()
        given.n_ctx = 1024
        self._lines.clear()
        context = self.lib.llama_init_from_model(model, given)
        self.lib.llama_free(context)
        return re.findall(r"layer +\d+: dev = (\w+)", "".join(self._lines))

    def free(self, model: int) -> None:
        """Frees a model."""
        self.lib.llama_model_free(model)
