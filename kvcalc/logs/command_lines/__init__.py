"""What the options of a server's command line mean, a file for each engine. Logs are read by the same tables.

Options that are in no table and are not harmless are named in a note: kvcalc has no rule for them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.logs.command_lines.base import HARMLESS, NOTHING, OFF, CommandLine
from kvcalc.logs.command_lines.llama_server import LLAMA_SERVER
from kvcalc.logs.command_lines.sglang import SGLANG
from kvcalc.logs.command_lines.trtllm_serve import TRTLLM_SERVE
from kvcalc.logs.command_lines.vllm import VLLM

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMMAND_LINES", "HARMLESS", "NOTHING", "OFF", "CommandLine"]

COMMAND_LINES: Mapping[str, CommandLine] = MappingProxyType(
    {each.engine: each for each in (VLLM, SGLANG, LLAMA_SERVER, TRTLLM_SERVE)}
)
"""By the engine's name."""
