"""flex_attention, compiled once in a process, and where it can be compiled."""

from __future__ import annotations

import os
import shutil
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from kvcalc.speed.paths.path import Facts

MOST_SHAPES = 64
"""Shapes that are compiled in a process; torch gives up after 8, and goes on without compiling."""


@cache
def compiled_flex_attention() -> Any:
    """The function; the first call with new shapes takes up to a minute."""
    from torch.nn.attention.flex_attention import flex_attention  # it loads the compiler

    config: Any = import_module("torch._dynamo.config")  # the only place that sets it
    setattr(config, "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit", MOST_SHAPES)
    return torch.compile(flex_attention, dynamic=False, fullgraph=True)


def why_not_compiled(facts: Facts) -> str | None:
    """Only where it was asked for, and where a compiler is at hand."""
    if not facts.compiling:
        return "compiles for up to a minute: --compile tries it"
    if facts.device == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None:
        return "torch.compile needs a C++ compiler on a CPU, and there is no g++"
    return None
