"""llama.cpp's start-up log: llama-server, llama-cli and what is built on them, from 2023's builds to b11549.

Ollama, LM Studio, koboldcpp and llama-cpp-python put its lines into their own logs as they are; Ollama had an engine of
its own beside it (ollama.py).
"""

from __future__ import annotations

import re

from kvcalc.logs.dialect import Dialect
from kvcalc.logs.llama_cpp import breakdown, builds, ollama
from kvcalc.logs.llama_cpp.figures import DEVICE, FIGURES
from kvcalc.logs.llama_cpp.lines import LINES
from kvcalc.logs.llama_cpp.settings import FLAGS, METADATA, SETTINGS

LLAMA_CPP = Dialect(
    engine="llama-cpp",
    figures={**FIGURES, **ollama.FIGURES},
    lines=(*LINES, *ollama.LINES, *builds.LINES),
    settings=SETTINGS,
    nested=frozenset(),
    flags=FLAGS,
    process=re.compile(
        rf"(?P<name>{DEVICE})(?:(?: model| KV| RS| compute)? buffer size =| size=\"| \([^|]{{2,80}}\) +\| +\d)"
    ),
    typical=("CUDA0 KV buffer size = 1024.00 MiB", "CUDA0 compute buffer size = 560.00 MiB"),
    metadata=METADATA,
    wraps=False,
    before=frozenset({"total memory", "free memory", "working set"}),
    derive=lambda printed: breakdown.derived(ollama.derived(printed)),
)
