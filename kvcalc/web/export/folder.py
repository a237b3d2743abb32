"""An exported page's files into a folder: whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvcalc import __version__
from kvcalc.errors import CannotRunError, KvcalcError

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "kvcalc-page.json"
"""In each folder that `kvcalc web --export` wrote: the names of its files, which the next export may replace."""

_MOST_BYTES = 1 << 20


def refuse_folder(folder: Path) -> None:
    """Before anything is downloaded, refuse a folder that holds something else.

    Raises:
        KvcalcError: it is a file, or has files that no export wrote.
    """
    if folder.is_symlink() or folder.exists():
        if not folder.is_dir():
            raise KvcalcError(f"--export: {folder}: is a file; name a folder, or add --single for one file")
        if any(folder.iterdir()) and _marked(folder) is None:
            raise KvcalcError(
                f"--export: {folder}: holds files that kvcalc did not write; name a new folder, or an empty one"
            )


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files; those of an older export that are no longer made are removed, and what others added stays.

    Raises:
        KvcalcError: it cannot be written; then nothing of it is there that was not before.
    """
    refuse_folder(folder)
    mark = {"kvcalc": __version__, "files": {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}}
    written = {**files, MARK: (json.dumps(mark, indent=2) + "\n").encode()}
    try:
        with suppress(FileExistsError):
            folder.parent.mkdir(parents=True)
        part = folder.parent / f".{folder.name[:50]}.{os.getpid()}"
        part.mkdir()
        try:
            for name, data in written.items():
                (part / name).write_bytes(data)
            _move(part, folder, written)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise CannotRunError(f"--export: {folder}: cannot be written: {error.strerror or error}") from error


def _move(part: Path, folder: Path, written: Mapping[str, bytes]) -> None:
    old = _marked(folder) if folder.is_dir() else None
    if not folder.exists():
        part.rename(folder)
        return
    for name in written:
        (part / name).replace(folder / name)
    for name in old or ():
        if name not in written:
            with suppress(OSError):
                (folder / name).unlink()


def _marked(folder: Path) -> list[str] | None:
    """The files of the export that a folder holds; None where it holds none."""
    try:
        with (folder / MARK).open("rb") as file:
            said: Any = json.loads(file.read(_MOST_BYTES))
        return [name for name in said["files"] if Path(name).name == name]
    except (OSError, ValueError, KeyError, TypeError):
        return None
