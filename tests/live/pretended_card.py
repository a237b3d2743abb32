"""Makes vLLM believe that this machine has an H100, or what LIVE_CARD names: it then configures and plans on a CPU.

Import this before anything of vLLM. What is pretended, and nothing else:
- the platform: vLLM's CudaPlatformBase with the capability, memory and name of one card;
- compiled extensions and packages of kernels, as modules that have every attribute; no kernel runs;
- torch.cuda's questions for the card, and its streams; tensors that are made on the card are made on the meta device;
- Triton's driver, which compiles nothing before a kernel runs;
- the inspection of a model's class, which runs in this process and not in a child's.
"""

# what is pretended must stand before vLLM is imported

from __future__ import annotations

import os

os.environ.update(CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1", VLLM_LOGGING_LEVEL="ERROR", VLLM_NO_USAGE_STATS="1")
os.environ["VLLM_USE_DIRECT_DCP_Q_GATHER"] = "0"  # it asks the other ranks, and there are none

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, MutableSequence
from typing import Any, NamedTuple

import torch
import torch.library
from stand_ins import EveryName
from torch.overrides import TorchFunctionMode


class Card(NamedTuple):
    """What a card tells of itself: the multiprocessors, and the shared memory of one that a kernel may have."""

    name: str
    capability: tuple[int, int]
    memory: int
    multiprocessors: int
    shared_memory: int


CARDS = {
    "a100-80-sxm": Card("NVIDIA A100-SXM4-80GB", (8, 0), 85_097_971_712, 108, 166_912),
    "l40s": Card("NVIDIA L40S", (8, 9), 47_676_391_424, 142, 101_376),
    "h100-sxm": Card("NVIDIA H100 80GB HBM3", (9, 0), 85_045_280_768, 132, 232_448),
    "b200": Card("NVIDIA B200", (10, 0), 191_514_279_936, 148, 232_448),
    "rtxpro6000-bw": Card("NVIDIA RTX PRO 6000 Blackwell Server Edition", (12, 0), 101_973_622_784, 188, 101_376),
}
"""By kvcalc's names."""

CARD = os.environ.get("LIVE_CARD", "h100-sxm")
NAME, CAPABILITY, MEMORY, MULTIPROCESSORS, SHARED_MEMORY = CARDS[CARD]

# Packages of kernels that vLLM finds where a GPU's wheel is installed, and compiled parts of vLLM's own wheel.
KERNELS = ("deep_gemm", "tilelang", "flashinfer", "flash_mla", "tvm_ffi", "cutlass", "quack", "cuda", "fla")
COMPILED = ("vllm.third_party.deep_gemm", "vllm.third_party.flashmla")
OPERATORS = (
    *("_C", "_moe_C", "_C_stable_libtorch", "_C_cache_ops", "_C_cuda_utils", "_qutlass_C"),
    *("_vllm_fa2_C", "_vllm_fa3_C", "_flashmla_C", "_flashmla_extension_C", "_flashkda_C"),
)


class Kernel(metaclass=EveryName):
    """Any name of a package of kernels."""


class _Package(types.ModuleType):
    __path__: MutableSequence[str] = []
    __version__ = "99.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Kernel


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for the modules whose names a test takes."""

    def __init__(self, takes: Callable[[str], bool]) -> None:
        self._takes = takes

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ARG002  # the signature
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if self._takes(name) else None

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Package(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def _is_compiled(name: str) -> bool:
    own = name.startswith("vllm.") and name.endswith(("_C", "_C_stable_libtorch", ".cumem_allocator"))
    return own or name.startswith(COMPILED)


def _is_of_kernels(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in KERNELS


class _Operator:
    """An operator that is there. Where it answers whether the card can do something, it can."""

    def __call__(self, *_args: Any, **_kwargs: Any) -> bool:
        return True

    def __getattr__(self, name: str) -> _Operator:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Operator()


class _Operators(types.ModuleType):
    def __getattr__(self, name: str) -> _Operator:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Operator()


_register_fake: Callable[..., Any] = torch.library.register_fake


def _register_fake_of_what_exists(op: Any, func: Any = None, /, **kwargs: Any) -> Any:
    # torchvision's own are compiled for a torch with CUDA.
    if isinstance(op, str) and op.split("::")[0] in {*OPERATORS, "torchvision"}:
        return func if func is not None else lambda each: each
    return _register_fake(op, func, **kwargs)


class _Properties:
    name = NAME
    multi_processor_count = MULTIPROCESSORS
    total_memory = MEMORY
    major, minor = CAPABILITY
    is_integrated = False
    shared_memory_per_block_optin = 232_448
    L2_cache_size = 50 * 2**20
    warp_size = 32
    max_threads_per_multi_processor = 2048
    regs_per_multiprocessor = 65_536


class _Stream:
    cuda_stream = 0

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Nothing to start."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_args, **_kwargs: None


class OnMeta(TorchFunctionMode):
    """Tensors that are asked for on the card are made on the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.cuda:
            return args[0].to("meta")
        kwargs = {key: _off_card(value) if key == "device" else value for key, value in (kwargs or {}).items()}
        if func is torch.Tensor.to:
            args = tuple(_off_card(each) for each in args)
        return func(*args, **kwargs)


def _off_card(device: Any) -> Any:
    kind = device.type if isinstance(device, torch.device) else str(device).split(":")[0]
    return "meta" if kind == "cuda" or type(device) is int else device


_module_to: Callable[..., Any] = torch.nn.Module.to


def _module_off_card(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    kwargs = {key: _off_card(value) if key == "device" else value for key, value in kwargs.items()}
    return _module_to(self, *(_off_card(each) for each in args), **kwargs)


class _TritonDriver:
    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget  # once the card is pretended

        return GPUTarget("cuda", CAPABILITY[0] * 10 + CAPABILITY[1], 32)

    def get_current_device(self) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_benchmarker(self) -> Any:
        return lambda *_args, **_kwargs: [0.0]

    class utils:  # noqa: N801  # Triton's name
        @staticmethod
        def get_device_properties(*_args: Any) -> dict[str, int]:
            return {"max_shared_mem": SHARED_MEMORY, "multiprocessor_count": MULTIPROCESSORS, "max_num_regs": 65_536}


def _pretend_torch() -> None:
    for name in OPERATORS:
        setattr(torch.ops, name, _Operators(f"torch.ops.{name}"))
    for place, name, value in (
        (torch.library, "register_fake", _register_fake_of_what_exists),
        (torch.cuda, "_lazy_init", lambda: None),
        (torch.cuda, "current_device", lambda: 0),
        (torch.cuda, "device_count", lambda: 64),
        (torch.cuda, "is_available", lambda: True),
        (torch.cuda, "get_device_capability", lambda *_args: CAPABILITY),
        (torch.cuda, "get_device_properties", lambda *_args: _Properties),
        (torch.cuda, "current_stream", lambda *_args: _Stream()),
        (torch.cuda, "Stream", _Stream),
        (torch.cuda, "Event", _Stream),
        (torch, "Event", _Stream),
        (torch.accelerator, "current_device_index", lambda: 0),
        (torch.accelerator, "is_available", lambda: True),
        (torch.nn.Module, "to", _module_off_card),
    ):
        setattr(place, name, value)


def _pretend_platform() -> None:
    from triton.runtime import driver  # once the card is pretended

    driver.set_active(_TritonDriver())

    import vllm.platforms  # once the card is pretended
    from vllm.platforms.cuda import CudaPlatformBase  # once the card is pretended
    from vllm.platforms.interface import DeviceCapability  # once the card is pretended

    def at_least(wanted: Any) -> bool:
        return bool(wanted <= CAPABILITY if isinstance(wanted, tuple) else CAPABILITY[0] * 10 + CAPABILITY[1] >= wanted)

    answers: dict[str, Callable[..., Any]] = {
        "get_device_capability": lambda _cls, device_id=0: DeviceCapability(*CAPABILITY),
        "has_device_capability": lambda _cls, capability, device_id=0: at_least(capability),
        "get_device_name": lambda _cls, device_id=0: NAME,
        "get_device_uuid": lambda _cls, device_id=0: "GPU-0",
        "get_device_total_memory": lambda _cls, device_id=0: MEMORY,
        "is_fully_connected": lambda _cls, _devices: True,
        "device_count": lambda _cls: 64,
        "log_warnings": lambda _cls: None,
        "num_compute_units": lambda _cls, device_id=0: MULTIPROCESSORS,
        "is_integrated_gpu": lambda _cls, device_id=0: False,
        "import_kernels": lambda _cls: None,
        "get_cuda_runtime_major": lambda _cls: 13,
        "is_pin_memory_available": lambda _cls: False,
    }
    card = type("PretendedCard", (CudaPlatformBase,), {name: classmethod(call) for name, call in answers.items()})
    vars(vllm.platforms)["_current_platform"] = card()

    from vllm.utils import torch_utils  # once the card is pretended

    vars(torch_utils)["_cuda_device_count_stateless"] = lambda *_args: 64  # of 0.19

    from vllm.model_executor.models import registry  # once the card is pretended

    vars(registry)["_run_in_subprocess"] = lambda inspect: inspect()


sys.meta_path.insert(0, _Finder(_is_compiled))  # before the wheel's own, which need the driver
sys.meta_path.append(_Finder(_is_of_kernels))  # after packages that are installed
_pretend_torch()
_pretend_platform()
