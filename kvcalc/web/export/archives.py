"""Archives of the same bytes for the same files: sorted, without times, owners and permissions."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip file can say."""


def tar_gz(files: Mapping[str, bytes]) -> bytes:
    """Files by their paths as a compressed tar file (ustar)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.size = len(files[path])
            archive.addfile(entry, io.BytesIO(files[path]))
    return gzip.compress(stream.getvalue(), 9, mtime=0)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Files by their paths as a zip file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(files):
            archive.writestr(zipfile.ZipInfo(path, _LONG_AGO), files[path], zipfile.ZIP_DEFLATED, 9)
    return stream.getvalue()


def unzipped(data: bytes) -> dict[str, bytes]:
    """The files of a zip file by their paths."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {each.filename: archive.read(each) for each in archive.infolist() if not each.is_dir()}


def untarred(data: bytes) -> dict[str, bytes]:
    """The files of a compressed tar file by their paths."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        return {each.name: file.read() for each in archive if (file := archive.extractfile(each)) is not None}
