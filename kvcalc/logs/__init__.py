"""Start-up logs of serving engines, read by tables: each engine is a folder with its figures, lines and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.logs.dialect import Dialect, Figure, Unit
from kvcalc.logs.folding import folded_at, unfolded
from kvcalc.logs.llama_cpp import LLAMA_CPP
from kvcalc.logs.log_text import lines_of, read_text
from kvcalc.logs.reader import read_lines
from kvcalc.logs.server_log import Printed, ServerLog
from kvcalc.logs.several_servers import refuse_several_places
from kvcalc.logs.sglang import SGLANG
from kvcalc.logs.tensorrt_llm import TENSORRT_LLM
from kvcalc.logs.vllm import VLLM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DIALECTS: Mapping[str, Dialect] = {each.engine: each for each in (VLLM, SGLANG, LLAMA_CPP, TENSORRT_LLM)}
"""By the engine's name; an engine's log is read by adding its table here."""

__all__ = ["DIALECTS", "Dialect", "Figure", "Printed", "ServerLog", "Unit", "read_log", "read_log_text"]


def read_log(file: str | Path, engine: str | None = None) -> tuple[ServerLog, bool]:
    """What a log says, and whether it is longer than what was read.

    Args:
        file: its path, or '-' for standard input.
        engine: that wrote it, one of DIALECTS; None finds out.

    Raises:
        KvcalcError: it cannot be read, or holds no line that an engine is known to print.
    """
    text, cut = read_text(file)
    return read_log_text(text, engine), cut


def read_log_text(text: str, engine: str | None = None) -> ServerLog:
    """What a log says.

    Raises:
        KvcalcError: it holds no line that an engine is known to print, or lines of several servers.
    """
    dialects = [each for name, each in DIALECTS.items() if engine in (None, name)]
    refuse_several_places(lines_of(text))
    width = folded_at(lines_of(text))
    found = [log for each in dialects if (log := read_lines(_lines(text, each, width), each)) is not None]
    if not found:
        raise KvcalcError(*_nothing_known(dialects))
    return max(found, key=lambda log: len(log.printed))


def _lines(text: str, dialect: Dialect, width: int | None) -> Iterator[str]:
    lines = lines_of(text)
    return unfolded(lines, width) if width is not None and dialect.wraps else lines


def _nothing_known(dialects: list[Dialect]) -> list[str]:
    """What was looked for, a line for each engine."""
    told = [f"--from-log: no line of a known start-up log is in it (known: {', '.join(DIALECTS)}); looked for"]
    return told + [f"  {each.looked_for}" for each in dialects]
