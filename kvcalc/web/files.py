"""The page's own files, which ship with kvcalc."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).parent / "page"
"""The folder that they are in."""
TYPES: Mapping[str, str] = MappingProxyType(
    {
        "index.html": "text/html; charset=utf-8",
        "page.css": "text/css; charset=utf-8",
        **dict.fromkeys(
            ("backend.js", "link.js", "choice.js", "draw.js", "curve.js", "page.js"), "text/javascript; charset=utf-8"
        ),
    }
)
"""Every file by its name, with the type that it is served as."""


def page_file(name: str) -> bytes:
    """A file's content; `name` is one of `TYPES`."""
    return (PAGE / name).read_bytes()
