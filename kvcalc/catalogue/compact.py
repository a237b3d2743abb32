"""What the catalogue's YAML files say, in a form that is read in a moment: one file, with a line for each of them.

A line tells which text it was made of, so that a file that has changed since is read itself. A test compares the two.
"""

from __future__ import annotations

import json
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kvcalc.files import stamp

if TYPE_CHECKING:
    from pathlib import Path

NAME = "compact.tsv"
FOLDERS = ("gpus", "models")


def compact_values(path: Path) -> Any:
    """The values of a file that ships; None where no line is of the text that it has now."""
    table = path.parent.parent / NAME
    try:
        known = _lines(table, stamp(table)).get(f"{path.parent.name}/{path.name}")
    except OSError:  # a folder that has none
        return None
    if known is None or known[0] != _identity(path.read_bytes()):
        return None
    return json.loads(known[1])


def compact(configs: Path) -> str:
    """The text of the compact form, made of the YAML files in a folder."""
    from kvcalc.catalogue.yaml_reader import read_yaml  # noqa: PLC0415  # only where it is written

    lines = []
    for folder in FOLDERS:
        for path in sorted((configs / folder).glob("*.yaml")):
            values = json.dumps(read_yaml(path).root, ensure_ascii=False, separators=(",", ":"))
            lines.append(f"{folder}/{path.name}\t{_identity(path.read_bytes())}\t{values}\n")
    return "".join(lines)


@lru_cache(maxsize=2)
def _lines(table: Path, _stamp: tuple[int, ...]) -> dict[str, tuple[str, str]]:
    """Which text each file had, and its values, by its name."""
    lines = (line.split("\t") for line in table.read_text(encoding="utf-8").split("\n")[:-1])
    return {name: (identity, values) for name, identity, values in lines}


def _identity(text: bytes) -> str:
    """Its length and its checksum."""
    return f"{len(text)}-{zlib.crc32(text):08x}"
