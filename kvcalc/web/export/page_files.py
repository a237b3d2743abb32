"""The files of an exported page, by name, before they are written anywhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.web.export.archives import untarred
from kvcalc.web.export.downloads import PYDANTIC, PYODIDE, had
from kvcalc.web.export.policy import HOSTED, with_policy
from kvcalc.web.export.python_files import python_files
from kvcalc.web.files import TYPES, page_file

if TYPE_CHECKING:
    from collections.abc import Mapping

Files = dict[str, bytes]

INDEX, NOTICE = "index.html", "NOTICE.txt"
_OF_PYODIDE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
_OURS = ("backend.js", "worker.js", NOTICE)
_HERE = Path(__file__).parent


class Exported(NamedTuple):
    """An exported page.

    Attributes:
        files: its files by name.
        compiled: whether its Python is compiled.
    """

    files: Files
    compiled: bool


def page_files(downloads: Path | None) -> Exported:
    """The page, with a worker that answers in place of a server.

    Args:
        downloads: the folder where downloads are, or are kept; None downloads them and keeps nothing.

    Raises:
        CannotRunError: a download cannot be had.
    """
    pyodide = {name.removeprefix("package/"): data for name, data in untarred(had(PYODIDE, downloads)).items()}
    archives, compiled = python_files(pyodide, [had(each, downloads) for each in PYDANTIC])
    files = {
        **{name: page_file(name) for name in TYPES},
        **{name: (_HERE / name).read_bytes() for name in _OURS},
        **{name: pyodide[name] for name in _OF_PYODIDE},
        **archives,
    }
    return Exported(files, compiled)


def hosted(files: Files) -> Files:
    """The files as a server of plain files gives them, with what keeps them for when there is no network."""
    index = with_policy(files[INDEX].decode(), HOSTED).encode()
    page = {**files, INDEX: index}
    return {**page, "service-worker.js": _service_worker(page)}


def _service_worker(files: Mapping[str, bytes]) -> bytes:
    """With the names of the files, and a version that changes with any byte of them."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name} {hashlib.sha256(files[name]).hexdigest()}\n".encode())
    names = ["./", *sorted(files)]
    head = f"const VERSION = {json.dumps(digest.hexdigest()[:16])};\nconst FILES = {json.dumps(names)};\n"
    return head.encode() + (_HERE / "service-worker.js").read_bytes()
