"""Python compiled by the Python of Pyodide, in Node.js: the page then starts in half the time."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Files = dict[str, bytes]
Archives = dict[str, Files]

_SCRIPT = Path(__file__).with_name("compile.mjs")
_SECONDS = 300


def compiled(archives: Archives, pyodide: Mapping[str, bytes]) -> Archives | None:
    """Files by archive and path, each .py as the .pyc that takes its place; None where that cannot be done here.

    Args:
        archives: files by path, by the name of their archive.
        pyodide: the files of Pyodide by name.
    """
    node = shutil.which("node")
    if node is None:
        return None
    with TemporaryDirectory(prefix="kvcalc-") as name:
        runtime, sources = Path(name, "pyodide"), Path(name, "sources")
        _write(runtime, pyodide)
        for archive, files in archives.items():
            _write(sources / archive, files)
        done = subprocess.run(  # noqa: S603  # node, with a script of ours
            [node, str(_SCRIPT), str(runtime), str(sources)], capture_output=True, check=False, timeout=_SECONDS
        )
        if done.returncode != 0:  # an old one
            return None
        return {archive: _read(sources / archive) for archive in archives}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def _read(folder: Path) -> Files:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
