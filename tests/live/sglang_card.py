"""Makes SGLang believe that this machine has an H100, or what LIVE_CARD names: it then configures and plans on a CPU.

Import this before anything of SGLang. What is pretended, and nothing else:
- packages that SGLang's own files import and that are not installed (kernels, images, sound), as modules that have
  every attribute; no kernel runs. Packages that others import are real or absent, as they are;
- torch.cuda's questions for the card, and what nvidia-smi tells of its memory;
- that a type of model has one class of config.json: transformers may know types by now that SGLang registers itself.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import logging
import os
import sys
import types
from collections.abc import MutableSequence
from typing import Any, NamedTuple

os.environ.update(CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1")

import torch
from stand_ins import EveryName
from transformers import AutoProcessor  # before packages are stood in for, which it would take for real ones
from transformers.models.auto import configuration_auto

__all__ = ["CARD", "AutoProcessor", "Card"]


class Card(NamedTuple):
    """What a card tells of itself: bytes as torch sees them, MiB as nvidia-smi tells them."""

    name: str
    capability: tuple[int, int]
    bytes: int
    smi_mib: int
    multiprocessors: int


CARDS = {
    "rtx4090": Card("NVIDIA GeForce RTX 4090", (8, 9), 25_250_758_656, 24_564, 128),
    "a100-80-sxm": Card("NVIDIA A100-SXM4-80GB", (8, 0), 84_974_501_888, 81_920, 108),
    "h100-sxm": Card("NVIDIA H100 80GB HBM3", (9, 0), 85_020_639_232, 81_559, 132),
    "h200-sxm": Card("NVIDIA H200", (9, 0), 150_109_945_856, 143_771, 132),
    "b200": Card("NVIDIA B200", (10, 0), 191_502_483_456, 183_359, 148),
    "rtxpro6000-bw": Card("NVIDIA RTX PRO 6000 Blackwell Server Edition", (12, 0), 101_974_016_000, 97_887, 188),
}
"""By kvcalc's names."""
CARD = os.environ.get("LIVE_CARD", "h100-sxm")
_CARD = CARDS[CARD]


def _any_value(*_args: Any) -> dict[str, str]:
    """As a field of one of pydantic's models."""
    return {"type": "any"}


class _Package(types.ModuleType):
    __path__: MutableSequence[str] = []
    __version__ = "99.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = EveryName(name, (), {"__get_pydantic_core_schema__": classmethod(_any_value)})
        setattr(self, name, made)
        return made


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for what SGLang's files import and is not there."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ARG002  # the signature
        frame = sys._getframe(1)  # noqa: SLF001  # who imports
        while frame.f_back is not None and "importlib" in frame.f_globals.get("__name__", ""):
            frame = frame.f_back
        of_sglang = str(frame.f_globals.get("__name__", "")).startswith("sglang")
        stands_in = of_sglang and name.partition(".")[0] not in {"sglang", "torch", "transformers"}
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if stands_in else None

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Package(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


class _Properties:
    name = _CARD.name
    multi_processor_count = _CARD.multiprocessors
    total_memory = _CARD.bytes
    major, minor = _CARD.capability
    is_integrated = False


class _Stream:
    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Nothing to start."""


def _pretend_torch() -> None:
    for name, value in {
        "_lazy_init": lambda: None,
        "current_device": lambda: 0,
        "device_count": lambda: 64,
        "is_available": lambda: True,
        "get_device_capability": lambda *_args: _CARD.capability,
        "get_device_properties": lambda *_args: _Properties,
        "get_device_name": lambda *_args: _CARD.name,
        "current_stream": lambda *_args: _Stream(),
        "Stream": _Stream,
        "Event": _Stream,
        "mem_get_info": lambda *_args: (_CARD.bytes, _CARD.bytes),
        "empty_cache": lambda: None,
    }.items():
        setattr(torch.cuda, name, value)
    torch.version.cuda = "13.0"


def _pretend_memory() -> None:
    from sglang.srt.mem_cache import kv_cache_configurator  # once the card is pretended, and all that asks for memory
    from sglang.srt.utils import common  # likewise

    told = lambda *_args, **_kwargs: float(_CARD.smi_mib)  # noqa: E731  # one of many names
    for module in [common, kv_cache_configurator, *sys.modules.values()]:
        name = getattr(module, "__name__", "")
        for asks in ("get_nvgpu_memory_capacity", "get_device_memory_capacity"):
            if name.startswith("sglang") and asks in vars(module):
                setattr(module, asks, told)


def _register_again() -> None:
    mapping = configuration_auto._LazyConfigMapping  # noqa: SLF001  # the class of the mapping
    register = mapping.register
    mapping.register = lambda self, key, value, exist_ok=True: register(self, key, value, exist_ok=True)  # noqa: ARG005  # the signature


logging.disable(logging.WARNING)
sys.meta_path.append(_Finder())
_register_again()
_pretend_torch()
_pretend_memory()
