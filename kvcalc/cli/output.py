"""Where results go: stdout or a file, whole or not at all. Notes go to stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kvcalc.cli.colour import labelled
from kvcalc.errors import one_line
from kvcalc.render import Format, Report, render
from kvcalc.units import with_unit

if TYPE_CHECKING:
    from kvcalc.cli.output_options import Output


def show(report: Report, output: Output) -> None:
    """Render a report and deliver it, then its notes, which JSON carries itself."""
    terminal = output.file in (None, "-") and sys.stdout.isatty()
    deliver(render(report, output.how, terminal=terminal), output.file)
    if output.how is not Format.JSON:
        for note in report.notes:
            sys.stderr.write(labelled("note", one_line(with_unit(note.text, report.unit)), sys.stderr) + "\n")


def deliver(text: str, file: str | None) -> None:
    """Text to stdout, or to where -o leads."""
    if file in (None, "-"):
        sys.stdout.write(_encodable(text, sys.stdout.encoding))
        sys.stdout.flush()
        return
    from kvcalc.cli.destination import write_to

    write_to(str(file), text)


def _encodable(text: str, encoding: str | None) -> str:
    """Blocks and ellipses in plain letters, where the encoding lacks them."""
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return text.translate(_PLAIN)
    return text


_PLAIN = {
    ord("\u2026"): "...",
    **dict(zip(range(ord("\u2581"), ord("\u2589")), "_.:-=+*#", strict=True)),
}
"""For an ellipsis, and for blocks of eight heights, the last of which bars are made of."""
