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


def refuse_destination(given: Mapping[str, Any]) -> None:
    """Refuse to write the result over the model that it is of, or where it cannot be written."""
    target = str(given["output_file"])
    models = (given.get("model"), given.get("source"), *(given.get("models") or ()))
    if any(model is not None and _is_read(model, target) for model in models):
        raise KvcalcError(f"-o: {target} is the model that is read; write to another file")
    for name, read in (("from_log", "log"), ("from_file", "file")):
        if given.get(name) is not None and _is_read(given[name], target):
            raise KvcalcError(f"-o: {target} is the {read} that is read; write to another file")
    refuse_unwritable(target)


def _is_read(model: str, target: str) -> bool:
    """Whether a model's name leads to the file."""
    with suppress(OSError, ValueError):  # no file, or a name that cannot be one
        return any(path.samefile(os.path.realpath(target)) for path in _files_of(Path(model)))
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
