"""TensorRT-LLM's start-up log, of its PyTorch backend: 1.0 to 1.2, alone and within Dynamo's."""

from __future__ import annotations

import re
from types import MappingProxyType

from kvcalc.logs.dialect import Dialect
from kvcalc.logs.tensorrt_llm.figures import FIGURES
from kvcalc.logs.tensorrt_llm.lines import LINES
from kvcalc.logs.tensorrt_llm.settings import SETTINGS

TENSORRT_LLM = Dialect(
    engine="tensorrt-llm",
    figures=FIGURES,
    lines=LINES,
    settings=SETTINGS,
    nested=frozenset({"free_gpu_memory_fraction", "tokens_per_block"}),
    flags=MappingProxyType({}),
    process=re.compile(r"\[(?P<name>RANK \d{1,6})\]"),
    typical=(
        "[MemUsageChange] Allocated 5.95 GiB for max tokens in paged KV cache (86720).",
        "available KV cache memory when calculating max tokens: 5.95 GiB, fraction is set 0.9",
    ),
    wraps=False,
)
