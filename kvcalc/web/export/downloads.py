"""What an exported page needs beside kvcalc: pinned files of Pyodide and pydantic, checked before they are used."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from kvcalc.errors import CannotRunError

_SECONDS = 60


class Download(NamedTuple):
    """A published file.

    Attributes:
        name: of the file.
        folder: the address of its folder, with a slash at the end.
        size: bytes.
        sha256: of its bytes, in hexadecimal.
    """

    name: str
    folder: str
    size: int
    sha256: str

    @property
    def address(self) -> str:
        """Where it is published."""
        return self.folder + self.name


PYODIDE_VERSION = "314.0.7"

PYODIDE = Download(
    f"pyodide-{PYODIDE_VERSION}.tgz",
    "https://registry.npmjs.org/pyodide/-/",
    6_488_647,
    "66b7949e5a0cba2250b586d7e368bf12fb482800748d182c4618254b685ffaa0",
)
"""CPython 3.14 for WebAssembly."""

_PYPI = "https://files.pythonhosted.org/packages/"
PYDANTIC = (
    Download(
        "pydantic-2.14.4-py3-none-any.whl",
        f"{_PYPI}8a/8c/824a686c4ba815ddb0722f9e66272088bccd4e1ae1d2f7015375e4a4fc7f/",
        494_865,
        "653a2ad9f6d8858529c77c72717d0ea991d6c6837fe683246b2f4b2bbfc3fadc",
    ),
    Download(
        "pydantic_core-2.50.5-cp314-cp314-pyemscripten_2026_0_wasm32.whl",
        f"{_PYPI}83/47/375ab34f3907a0f40cebe2c3cea3e2c25dcf58e0f591991b85604b7258fc/",
        1_496_394,
        "b2910ec0fa5aeb9bef70156f2b79f4783978fdcfaa7b2f1b5d1814458d2e79a1",
    ),
    Download(
        "annotated_types-0.8.0-py3-none-any.whl",
        f"{_PYPI}99/91/8acff4f5e50511b911bbccb72b8628a49c68ce14148cd9f6431094859a90/",
        13_427,
        "f072f4d804ea359e4eaf198b1af7a8b0943881a87f31bb764f8bf219bb9419e0",
    ),
    Download(
        "typing_extensions-4.16.0-py3-none-any.whl",
        f"{_PYPI}49/d3/b8441a820a491ddfc024b0b0cf0393375b75ea13866d9c66727e54c2fc80/",
        45_571,
        "481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8",
    ),
    Download(
        "typing_inspection-0.4.5-py3-none-any.whl",
        f"{_PYPI}de/0c/ea2544850a7c135e15033a5c7a8e7211136184b7ae63e2239d557c2b3019/",
        14_874,
        "bc210535442b39e1bf2805e0c7a17dfd6a4ace760c84c7f7d16245d23a6b1c39",
    ),
)
"""What says what is wrong with a YAML file; pydantic_core for the Python that is in Pyodide, and what both import."""


def had(wanted: Download, folder: Path | None) -> bytes:
    """The bytes of a published file.

    Args:
        wanted: the file.
        folder: where it is read if it is there, and kept if it had to be downloaded; None keeps nothing.

    Raises:
        CannotRunError: it cannot be read or downloaded, or is not the file that was pinned.
    """
    kept = None if folder is None else folder / wanted.name
    try:
        if kept is not None and kept.exists():
            return _checked(wanted, _read(kept, wanted.size), str(kept))
        data = _checked(wanted, _downloaded(wanted), wanted.address)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_name(f".{kept.name}.part")
            part.write_bytes(data)
            part.replace(kept)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        raise CannotRunError(
            f"{error.filename or wanted.address}: {reason}",
            f"next: download {wanted.address} into a folder, and name that with --pyodide",
        ) from error
    return data


def _read(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size + 1)


def _downloaded(wanted: Download) -> bytes:
    from urllib.request import urlopen

    with urlopen(wanted.address, timeout=_SECONDS) as answer:  # noqa: S310  # an address that stands above
        data: bytes = answer.read(wanted.size + 1)
    return data


def _checked(wanted: Download, data: bytes, shown: str) -> bytes:
    """The bytes, which are those that were pinned."""
    found = hashlib.sha256(data).hexdigest()
    if len(data) != wanted.size or found != wanted.sha256:
        raise CannotRunError(
            f"{shown}: is not {wanted.name} as it was published: sha256 {found}, and not {wanted.sha256}",
            f"next: delete it, or download {wanted.address} anew",
        )
    return data
