"""Where results go: stdout or a file, whole or not at all. Notes go to stderr."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kvcalc.errors import CannotRunError, one_line
from kvcalc.render import Format, Report, render
from kvcalc.units import with_unit


def show(report: Report, how: Format, output: str | None = None) -> None:
    """Render a report and deliver it, then its notes, which JSON carries itself."""
    terminal = output in (None, "-") and sys.stdout.isatty()
    deliver(render(report, how, terminal=terminal), output)
    if how is not Format.JSON:
        for note in report.notes:
            sys.stderr.write(f"note: {one_line(with_unit(note, report.unit))}\n")


def deliver(text: str, output: str | None) -> None:
    """Text to stdout, or to a file that appears only when it is complete."""
    if output in (None, "-"):
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    target = Path(str(output))
    try:
        if target.exists() and not target.is_file():  # a device or a pipe: written, not replaced
            target.write_text(text, encoding="utf-8")
        else:
            _write_whole(target.resolve(), text)
    except OSError as error:
        raise CannotRunError(f"-o: {target}: cannot be written: {error.strerror or error}") from error


def _write_whole(target: Path, text: str) -> None:
    """Write beside the target, then move it into place, with the permissions that a new file would have."""
    import tempfile  # noqa: PLC0415  # for start-up time

    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:50]}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(target.stat().st_mode if target.exists() else 0o666 & ~mask)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
