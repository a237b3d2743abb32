"""The Python that an exported page runs: kvcalc as it is, PyYAML, pydantic, and Pyodide's standard library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kvcalc.catalogue.shipped import CONFIGS
from kvcalc.web.export.archives import tar_gz, unzipped, zipped
from kvcalc.web.export.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvcalc.web.export.compiled import Archives, Files

KVCALC, PYDANTIC, STDLIB = "python.tar.gz", "pydantic.zip", "python_stdlib.zip"

_PACKAGE = Path(__file__).resolve().parents[2]
_NOT_IN_A_BROWSER = {"cli", "cluster", "mcp", "reference", "verification"}
"""Packages of kvcalc for terminals, other machines, agents and torch."""


def python_files(pyodide: Mapping[str, bytes], wheels: Sequence[bytes]) -> tuple[Files, bool]:
    """The archives by name, and whether what is in them is compiled.

    Args:
        pyodide: the files of Pyodide by name.
        wheels: pydantic and what it imports.
    """
    archives: Archives = {
        KVCALC: {**_kvcalc(), **_yaml()},
        PYDANTIC: {path: data for wheel in wheels for path, data in unzipped(wheel).items()},
        STDLIB: unzipped(pyodide[STDLIB]),
    }
    made = compiled(archives, pyodide)
    packed = {name: (tar_gz if name == KVCALC else zipped)(files) for name, files in (made or archives).items()}
    return packed, made is not None


def _kvcalc() -> Files:
    package = {
        path.relative_to(_PACKAGE.parent).as_posix(): path.read_bytes()
        for path in _PACKAGE.rglob("*")
        if path.is_file() and not _is_left_out(path.relative_to(_PACKAGE).parts)
    }
    configs = {
        f"{_PACKAGE.name}/configs/{path.relative_to(CONFIGS).as_posix()}": path.read_bytes()
        for path in CONFIGS.rglob("*")
        if path.is_file()
    }
    return package | configs


def _is_left_out(parts: tuple[str, ...]) -> bool:
    files_of_the_page = parts[0] == "web" and not parts[-1].endswith(".py")
    return parts[0] in _NOT_IN_A_BROWSER or "__pycache__" in parts or files_of_the_page


def _yaml() -> Files:
    import yaml  # only to find it

    folder = Path(yaml.__file__).parent
    return {f"yaml/{path.name}": path.read_bytes() for path in folder.glob("*.py")}
