"""What tests of launch lines have in common."""

from __future__ import annotations

import shlex

GGUF, DRAFT = "Qwen/Qwen3-8B-GGUF:Q8_0", "Qwen/Qwen3-0.6B-GGUF:Q8_0"
SAME = (
    "model",
    "workload",
    "engine",
    "engine_version",
    "deployment",
    "cache_memory_bytes",
    "blocks",
    "block_size",
    "tokens",
    "sequences",
    "concurrency",
    "max_context",
    "total",
    "at_limit",
)
"""What the result of a line that is read back has in common with that of what was launched."""


def flags_of(line: str) -> list[str]:
    return [word for word in shlex.split(line, comments=True) if word.startswith("-")]
