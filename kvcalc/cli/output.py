"""Where results go: stdout or a file, whole or not at all. Notes go to stderr."""

from __future__ import annotations

import sys

from kvcalc.errors import one_line
from kvcalc.render import Format, Report, render
from kvcalc.units import with_unit


def show(report: Report, how: Format, output: str | None = None) -> None:
    """Render a report and deliver it, then its notes, which JSON carries itself."""
    terminal = output in (None, "-") and sys.stdout.isatty()
    deliver(render(report, how, terminal=terminal), output)
    if how is not Format.JSON:
        for note in report.notes:
            sys.stderr.write(f"note: {one_line(with_unit(note.text, report.unit))}\n")


def deliver(text: str, output: str | None) -> None:
    """Text to stdout, or to where -o leads."""
    if output in (None, "-"):
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    from kvcalc.cli.destination import write_to  # noqa: PLC0415  # for start-up time

    write_to(str(output), text)
