"""What the catalogue's YAML files say, in a form that is read in a moment: tables with a line for each of them.

A line tells which text it was made of, so that a file that has changed since is read itself. Tests compare the tables
with what the files say.
"""

from __future__ import annotations

import json
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

NAME = "compact.tsv"
"""The table of all values."""
FOLDERS = ("gpus", "models")


def compact_values(path: Path, table: str = NAME) -> Any:
    """What a table keeps of a file that ships; None where no line is of the text that the file has now."""
    known = _lines(str(path.parent), table).get(path.name)
    if known is None:
        return None
    identity, _, values = known.partition("\t")
    return json.loads(values) if identity == _identity(path.read_bytes()) else None


def compact(configs: Path) -> str:
    """The text of the table of all values, made of the YAML files in a folder."""
    from kvcalc.catalogue.yaml_reader import read_yaml  # only where it is written

    paths = (path for folder in FOLDERS for path in sorted((configs / folder).glob("*.yaml")))
    return "".join(line(path, read_yaml(path).root) for path in paths)


def line(path: Path, values: Any) -> str:
    """The line of a table that keeps this of a file."""
    written = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return f"{path.parent.name}/{path.name}\t{_identity(path.read_bytes())}\t{written}\n"


@lru_cache(maxsize=8)
def _lines(folder: str, table: str) -> dict[str, str]:
    """Which text each file of a folder had, and what is kept of it, by its name; nothing where there is no table."""
    try:
        lines = Path(folder).parent.joinpath(table).read_text(encoding="utf-8").split("\n")
    except OSError:
        return {}
    start = f"{Path(folder).name}/"
    named = (each.removeprefix(start).partition("\t") for each in lines if each.startswith(start))
    return {name: rest for name, _, rest in named}


def _identity(text: bytes) -> str:
    """Its length and its checksum."""
    return f"{len(text)}-{zlib.crc32(text):08x}"
