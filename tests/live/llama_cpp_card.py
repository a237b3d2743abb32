"""A card that is not there: llama.cpp plans for it as for one of NVIDIA's, and nothing is ever computed.

ggml asks a device what it can compute, how tensors are aligned and what one takes. This one answers as CUDA's back end
does (ggml/src/ggml-cuda/ggml-cuda.cu and fattn.cu): an alignment of 128 bytes, flash attention for the heads that have
a kernel, and within its output the copies of K and V in f16 where they are of another type. The layouts are those of
ggml 0.26 (ggml/src/ggml-backend-impl.h), as in xllamacpp 2026.10.11549.
"""

from __future__ import annotations

import ctypes as c
from math import prod
from typing import Any

MUL_MAT, MUL_MAT_ID, GET_ROWS, FLASH_ATTN_EXT = "MUL_MAT", "MUL_MAT_ID", "GET_ROWS", "FLASH_ATTN_EXT"
F16 = 1


class Tensor(c.Structure):
    """struct ggml_tensor (ggml/include/ggml.h)."""


Tensor._fields_ = [
    ("type", c.c_int),
    ("buffer", c.c_void_p),
    ("ne", c.c_int64 * 4),
    ("nb", c.c_size_t * 4),
    ("op", c.c_int),
    ("op_params", c.c_int32 * 16),
    ("flags", c.c_int32),
    ("src", c.POINTER(Tensor) * 10),
    ("view_src", c.c_void_p),
    ("view_offs", c.c_size_t),
]


class Props(c.Structure):
    """struct ggml_backend_dev_props."""

    _fields_ = (
        ("name", c.c_char_p),
        ("description", c.c_char_p),
        ("memory_free", c.c_size_t),
        ("memory_total", c.c_size_t),
        ("type", c.c_int),
        ("device_id", c.c_char_p),
        ("can", c.c_bool * 4),  # async, host_buffer, buffer_from_host_ptr, events
    )


def _table(*names: str) -> list[tuple[str, Any]]:
    return [(name, c.c_void_p) for name in names]


class BufferType(c.Structure):
    """struct ggml_backend_buffer_type."""

    _fields_ = _table(
        "get_name",
        "alloc_buffer",
        "alloc_buffer_n",
        "get_alignment",
        "get_max_size",
        "get_alloc_size",
        "get_alloc_size_n",
        "is_host",
        "device",
        "context",
    )


class Buffer(c.Structure):
    """struct ggml_backend_buffer_i."""

    _fields_ = _table(
        *["free_buffer", "get_base", "init_tensor", "memset_tensor", "set_tensor", "get_tensor"],
        *["set_tensor_2d", "get_tensor_2d", "cpy_tensor", "clear", "reset"],
    )


class Backend(c.Structure):
    """struct ggml_backend."""

    _fields_ = _table(
        *(
            [
                "guid",
                "get_name",
                "free",
                "set_tensor_async",
                "get_tensor_async",
                "set_tensor_2d_async",
                "get_tensor_2d_async",
            ]
        ),
        *(
            [
                "cpy_tensor_async",
                "synchronize",
                "graph_plan_create",
                "graph_plan_free",
                "graph_plan_update",
                "graph_plan_compute",
            ]
        ),
        *["graph_compute", "event_record", "event_wait", "graph_optimize", "device", "context"],
    )


class Device(c.Structure):
    """struct ggml_backend_device."""

    _fields_ = _table(
        *["get_name", "get_description", "get_memory", "get_type", "get_props", "init_backend", "get_buffer_type"],
        *["get_host_buffer_type", "buffer_from_host_ptr", "supports_op", "supports_buft", "offload_op"],
        *["event_new", "event_free", "event_synchronize", "reg", "context"],
    )


class Registry(c.Structure):
    """struct ggml_backend_reg."""

    _fields_ = (
        ("api_version", c.c_int),
        *_table("get_name", "get_device_count", "get_device", "get_proc_address", "context"),
    )


class Cards:
    """Cards of so much memory, which llama.cpp finds from then on. Must stay alive as long as the library is used."""

    def __init__(self, library: c.CDLL, number: int, memory: int) -> None:
        self._lib, self._memory = library, memory
        self._kept: list[Any] = []
        self._ops = self._names_of_ops()
        library.ggml_nbytes.restype = c.c_size_t
        library.ggml_nbytes.argtypes = [c.POINTER(Tensor)]
        library.ggml_backend_buffer_init.restype = c.c_void_p
        library.ggml_backend_buffer_init.argtypes = [c.c_void_p, Buffer, c.c_void_p, c.c_size_t]
        self._devices = (Device * number)()
        self._types = (BufferType * number)()
        self._host = BufferType()
        self._buffer = Buffer(
            free_buffer=self._call(None, [c.c_void_p], lambda _: None),
            get_base=self._call(c.c_void_p, [c.c_void_p], lambda _: 0x100000),
            clear=self._call(None, [c.c_void_p, c.c_uint8], lambda *_: None),
        )
        self._guid = (c.c_uint8 * 16)(*range(16))
        self._registry = Registry(
            api_version=2,
            get_name=self._text("CUDA"),
            get_device_count=self._call(c.c_size_t, [c.c_void_p], lambda _: number),
            get_device=self._call(c.c_void_p, [c.c_void_p, c.c_size_t], lambda _, at: c.addressof(self._devices[at])),
            get_proc_address=self._call(c.c_void_p, [c.c_void_p, c.c_char_p], lambda *_: None),
        )
        for at in range(number):
            self._make(at)
        library.ggml_backend_register.argtypes = [c.c_void_p]
        library.ggml_backend_register(c.addressof(self._registry))

    def _make(self, at: int) -> None:
        name = f"CUDA{at}"
        alloc = self._call(c.c_void_p, [c.c_void_p, c.c_size_t], self._allocate)
        own = self._types[at]
        own.get_name, own.alloc_buffer = self._text(name), alloc
        own.get_alignment = self._call(c.c_size_t, [c.c_void_p], lambda _: 128)
        own.get_alloc_size = self._call(c.c_size_t, [c.c_void_p, c.POINTER(Tensor)], self._size)
        own.device = c.addressof(self._devices[at])
        if not at:
            self._host.get_name, self._host.alloc_buffer = self._text("CUDA_Host"), alloc
            self._host.get_alignment = self._call(c.c_size_t, [c.c_void_p], lambda _: 64)
            self._host.is_host = self._call(c.c_bool, [c.c_void_p], lambda _: True)
            self._host.device = own.device
        device = self._devices[at]
        device.get_name, device.get_description = self._text(name), self._text("a card that is not there")
        device.get_memory = self._call(None, [c.c_void_p, *[c.POINTER(c.c_size_t)] * 2], self._say_memory)
        device.get_type = self._call(c.c_int, [c.c_void_p], lambda _: 1)
        device.get_props = self._call(None, [c.c_void_p, c.POINTER(Props)], self._say_props)
        device.init_backend = self._call(c.c_void_p, [c.c_void_p, c.c_char_p], lambda _, __: self._backend(at))
        device.get_buffer_type = self._call(c.c_void_p, [c.c_void_p], lambda _: c.addressof(self._types[at]))
        device.get_host_buffer_type = self._call(c.c_void_p, [c.c_void_p], lambda _: c.addressof(self._host))
        device.supports_op = self._call(c.c_bool, [c.c_void_p, c.POINTER(Tensor)], self._supports)
        own_type = c.addressof(self._types[at])
        device.supports_buft = self._call(c.c_bool, [c.c_void_p, c.c_void_p], lambda _, other: other == own_type)
        device.offload_op = self._call(c.c_bool, [c.c_void_p, c.POINTER(Tensor)], self._offload)
        device.event_new = self._call(c.c_void_p, [c.c_void_p], self._event)
        device.event_free = self._call(None, [c.c_void_p] * 2, lambda *_: None)
        device.event_synchronize = self._call(None, [c.c_void_p] * 2, lambda *_: None)
        device.reg = c.addressof(self._registry)

    def _call(self, gives: Any, takes: list[Any], function: Any) -> c.c_void_p:
        kept = c.CFUNCTYPE(gives, *takes)(function)
        self._kept.append(kept)
        return c.cast(kept, c.c_void_p)

    def _text(self, text: str) -> c.c_void_p:
        kept = c.create_string_buffer(text.encode())
        self._kept.append(kept)
        return self._call(c.c_void_p, [c.c_void_p], lambda _: c.addressof(kept))

    def _names_of_ops(self) -> dict[int, str]:
        self._lib.ggml_op_name.restype = c.c_char_p
        return {op: self._lib.ggml_op_name(op).decode() for op in range(90)}

    def _allocate(self, buffer_type: int, size: int) -> int | None:
        found: int | None = self._lib.ggml_backend_buffer_init(buffer_type, self._buffer, None, size)
        return found

    def _say_memory(self, _: int, free: Any, total: Any) -> None:
        free[0] = total[0] = self._memory

    def _say_props(self, _: int, props: Any) -> None:
        props[0].name, props[0].description = b"CUDA", b"a card that is not there"
        props[0].memory_free = props[0].memory_total = self._memory
        props[0].type = 1
        props[0].can = (c.c_bool * 4)(True, True, False, True)

    def _backend(self, at: int) -> int:
        nothing = self._call(None, [c.c_void_p] * 2, lambda *_: None)
        made = Backend(
            guid=c.addressof(self._guid),
            get_name=self._text(f"CUDA{at}"),
            free=self._call(None, [c.c_void_p], lambda _: None),
            synchronize=self._call(None, [c.c_void_p], lambda _: None),
            graph_compute=self._call(c.c_int, [c.c_void_p] * 2, lambda *_: 0),
            cpy_tensor_async=self._call(c.c_bool, [c.c_void_p] * 4, lambda *_: True),
            event_record=nothing,
            event_wait=nothing,
            device=c.addressof(self._devices[at]),
        )
        self._kept.append(made)
        return c.addressof(made)

    def _event(self, device: int) -> int:
        event = (c.c_void_p * 2)(device, None)
        self._kept.append(event)
        return c.addressof(event)

    def _size(self, _: int, tensor: Any) -> int:
        """ggml_backend_cuda_buffer_type_get_alloc_size and ggml_cuda_flash_attn_ext_get_alloc_size."""
        size: int = self._lib.ggml_nbytes(tensor)
        one = tensor[0]
        if self._ops.get(one.op) == FLASH_ATTN_EXT and one.src[0][0].ne[1] > 1:
            k, v = one.src[1][0], one.src[2][0]
            k_at = c.addressof(k)
            same = v.view_src is not None and (
                v.view_src == k_at or (v.view_src == k.view_src and v.view_offs == k.view_offs)
            )
            for part in (k, *(() if same else (v,))):
                if part.type != F16:
                    size = -(-size // 128) * 128 + 2 * prod(part.ne)
        return size

    def _supports(self, _: int, tensor: Any) -> bool:
        one = tensor[0]
        return self._ops.get(one.op) != FLASH_ATTN_EXT or _has_kernel(one)

    def _offload(self, _: int, tensor: Any) -> bool:
        one, op = tensor[0], self._ops.get(tensor[0].op)
        if op == GET_ROWS:
            return False
        tokens = one.ne[1] if op == MUL_MAT else one.ne[2] if op == MUL_MAT_ID else prod(one.ne[1:4])
        return bool(tokens >= 32)


def _has_kernel(one: Any) -> bool:
    q, k, v = (one.src[at][0] for at in range(3))
    ratio, widths = q.ne[2] // k.ne[2], (k.ne[0], v.ne[0])
    if widths[0] in {40, 64, 72, 80, 96, 112, 128, 256}:
        return bool(widths[0] == widths[1])
    least = {(192, 128): 8, (320, 256): 32, (512, 512): 1, (576, 512): 1}.get(widths)
    whole = ratio >= 2 and bool(one.src[3]) and k.ne[1] % 256 == 0
    return bool(least is not None and whole and ratio % least == 0)
