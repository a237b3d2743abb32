"""The picture in the README: the first screen as a terminal of 100 columns shows it, as SVG."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

COMMAND = "estimate llama-3-70b --batch 32 --context 8192"
WIDTH = 100
ENVIRONMENT = {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm"}
"""In which the command prints what the picture shows."""


def picture(printed: str) -> str:
    """What was printed, with its colours, as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ kvcalc {COMMAND}\n{printed}"))
    return console.export_svg(title="kvcalc", unique_id="kvcalc")
