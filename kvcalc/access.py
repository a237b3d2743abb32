"""What of the machine and of the network may be looked at.

On a command line that is for its user to say, and everything may. A server that answers agents answers strangers: what
they type is held within limits, whatever option it reaches, since every door asks here.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Access(NamedTuple):
    """Limits.

    Attributes:
        folders: real paths of those whose files may be named.
        hub: whether the Hugging Face Hub may be asked.
    """

    folders: tuple[str, ...] = ()
    hub: bool = False


class _Limits:
    """Those of this process; one place, so that a thread cannot start without them."""

    now: Access | None = None


_OWN: ContextVar[bool] = ContextVar("own", default=False)
"""Whether kvcalc itself chose the files that are read here; a thread that is started begins without."""


@contextmanager
def limited_to(access: Access) -> Iterator[None]:
    """Holds this process within limits."""
    before, _Limits.now = _Limits.now, access
    try:
        yield
    finally:
        _Limits.now = before


@contextmanager
def own_files() -> Iterator[None]:
    """Around reading what nobody named: files that ship with kvcalc, and the Hub's cache of what was asked for."""
    token = _OWN.set(True)
    try:
        yield
    finally:
        _OWN.reset(token)


def may_read(path: str | Path) -> bool:
    """Whether a file or a folder that somebody names may be looked at."""
    if _Limits.now is None or _OWN.get():
        return True
    try:
        real = os.path.realpath(path)
    except (OSError, ValueError):  # a name that cannot be one
        return False
    return any(real == folder or real.startswith(folder.rstrip(os.sep) + os.sep) for folder in _Limits.now.folders)


def in_folder(name: str) -> str:
    """The path of a file that is named as it is in one of the folders; else the name itself."""
    for folder in _Limits.now.folders if _Limits.now else ():
        path = os.path.join(folder, name)  # noqa: PTH118  # as names are given
        if may_read(path) and os.path.lexists(path):
            return path
    return name


def is_closed() -> bool:
    """Whether neither any file nor the Hub may be named."""
    return _Limits.now is not None and not _Limits.now.folders and not _Limits.now.hub


def check_path(path: str | Path, shown: str) -> None:
    """Refuse, whether it is there or not, what may not be looked at.

    Raises:
        KvcalcError: it may not.
    """
    if not may_read(path):
        raise KvcalcError(f"{shown}: files are not read here; give a name of the catalogue, or the text itself")


def check_hub(shown: str) -> None:
    """Refuse to ask the Hub where it may not be asked.

    Raises:
        KvcalcError: it may not.
    """
    if _Limits.now is not None and not _Limits.now.hub:
        raise KvcalcError(f"{shown}: the Hub is not asked here; give a name of the catalogue, or a config.json's text")


def check_machine(shown: str) -> None:
    """Refuse to look at what this machine is.

    Raises:
        KvcalcError: it may not be looked at.
    """
    if _Limits.now is not None:
        raise KvcalcError(f"{shown}: this machine is not looked at here; name an accelerator")
