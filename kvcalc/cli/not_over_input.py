"""A result is never written over what it is of: the model's files, a log, a list of scenarios."""

from __future__ import annotations

import glob
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvcalc.cli.destination import refuse_unwritable
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SHARD = re.compile(r"-\d+-of-\d+\.gguf$")


_READS: Mapping[str, str] = {
    **dict.fromkeys(("model", "source", "models", "draft"), "model"),
    "from_log": "log",
    "from_file": "file",
    **{name: name for name in ("trace", "mix", "prices")},
    "measured": "measurement",
}
"""Parameters that may name a file to read, and what such a file is called."""


def refuse_destination(given: Mapping[str, Any]) -> None:
    """Refuse to write the result over what it is of, or where it cannot be written."""
    target = str(given["output_file"])
    for parameter, read in _READS.items():
        named = given.get(parameter) or ()
        for each in (named,) if isinstance(named, str) else named:
            if any(_is_read(name, target) for name in (each, *each.split(","))):
                raise KvcalcError(f"-o: {target} is the {read} that is read; write to another file")
    refuse_unwritable(target)


def _is_read(name: str, target: str) -> bool:
    """Whether a name leads to the file."""
    with suppress(OSError, ValueError):  # no file, or a name that cannot be one
        return any(path.samefile(os.path.realpath(target)) for path in _files_of(Path(name)))
    return False


def _files_of(model: Path) -> Iterator[Path]:
    """The file itself; of a checkpoint's folder, all that tells of it; beside a shard, the others."""
    if model.is_dir() or model.name == "config.json":
        folder = model if model.is_dir() else model.parent
        yield from (
            path for path in folder.iterdir() if path.name.endswith(("config.json", "safetensors", ".index.json"))
        )
    elif _SHARD.search(model.name):
        yield from model.parent.glob(f"{glob.escape(_SHARD.sub('', model.name))}-*-of-*.gguf")
    yield model
