"""The cache of huggingface_hub, as its guide describes it for systems without links: files in folders of commits.

Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def keep(cache: Path, repository: str, asked: str, commit: str, name: str, content: bytes) -> None:
    """A small file of a repository for the next time, and which commit the revision was that was asked for.

    Args:
        cache: the folder of all repositories.
        repository: ORG/NAME.
        asked: the revision: a branch, a tag or a commit.
        commit: which that is.
        name: of the file.
        content: all of it.

    Raises:
        OSError: the cache cannot be written.
    """
    folder = cache / f"models--{repository.replace('/', '--')}"
    _write(folder / "snapshots" / commit / name, content)
    if asked != commit and not {"", ".", ".."} & set(asked.split("/")):
        _write(folder / "refs" / asked, commit.encode())


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: others may read while this writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
