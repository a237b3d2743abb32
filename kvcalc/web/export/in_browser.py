"""kvcalc inside Pyodide: what answers, and pydantic at the first question that needs it."""

from __future__ import annotations

import importlib
import io
import site
import sys
import zipfile
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from kvcalc_page import read_now  # type: ignore[import-not-found]  # worker.js registers it

from kvcalc.web.answer import answer

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

__all__ = ["answer"]


class _ReadWhenImported(MetaPathFinder):
    """Unpacks pydantic when something imports it."""

    def find_spec(self, fullname: str, _path: Any, _target: Any = None) -> ModuleSpec | None:
        if fullname != "pydantic":
            return None
        sys.meta_path.remove(self)
        with zipfile.ZipFile(io.BytesIO(read_now("pydantic.zip").to_bytes())) as archive:
            archive.extractall(site.getsitepackages()[0])
        importlib.invalidate_caches()
        return find_spec(fullname)


sys.meta_path.append(_ReadWhenImported())
