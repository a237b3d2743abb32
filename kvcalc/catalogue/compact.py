"""What the catalogue's YAML files say, in a form that is read in a moment: one file, with a line for each of them.

A line tells which text it was made of, so that a file that has changed since is read itself. A test compares the two.
"""

from __future__ import annotations

import json
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NAME = "compact.tsv"
FOLDERS = ("gpus", "models")


def compact_values(path: Path) -> Any:
    """The values of a file that ships; None where no line is of the text that it has now."""
    known = _lines(path.parent).get(path.name)
    if known is None:
        return None
    identity, _, values = known.partition("\t")
    return json.loads(values) if identity == _identity(path.read_bytes()) else None


def compact(configs: Path) -> str:
    """The text of the compact form, made of the YAML files in a folder."""
    from kvcalc.catalogue.yaml_reader import read_yaml  # noqa: PLC0415  # only where it is written

    lines = []
    for folder in FOLDERS:
        for path in sorted((configs / folder).glob("*.yaml")):
            values = json.dumps(read_yaml(path).root, ensure_ascii=False, separators=(",", ":"))
            lines.append(f"{folder}/{path.name}\t{_identity(path.read_bytes())}\t{values}\n")
    return "".join(lines)


@lru_cache(maxsize=4)
def _lines(folder: Path) -> dict[str, str]:
    """Which text each file of a folder had, and its values, by its name; nothing where there is no compact form."""
    try:
        lines = (folder.parent / NAME).read_text(encoding="utf-8").split("\n")
    except OSError:
        return {}
    start = f"{folder.name}/"
    named = (line.removeprefix(start).partition("\t") for line in lines if line.startswith(start))
    return {name: rest for name, _, rest in named}


def _identity(text: bytes) -> str:
    """Its length and its checksum."""
    return f"{len(text)}-{zlib.crc32(text):08x}"
