"""The folder of a sweep in partitions: it has its name once all of them are there.

Until then it is a hidden one beside it, named after the sweep: the same command, given again, goes on from what is
there. Each partition is moved into it when it is whole. Nothing but partitions is in it, since Polars reads a folder
of nothing else: what the sweep is stands in their metadata.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvcalc import __version__
from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.render.parquet import told_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.cluster.inputs import Inputs


class PartitionFolder:
    """The partitions of one sweep.

    Attributes:
        target: the folder that there is to be.
        told: what the sweep is, for the metadata of its partitions.
    """

    def __init__(self, target: str, options: Mapping[str, Any], inputs: Inputs, of: int) -> None:
        """The folder of a sweep, begun before or not.

        Raises:
            KvcalcError: something else stands there.
            CannotRunError: it cannot be written.
        """
        self.target, self._of = Path(target).absolute(), of
        read = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
        told = {"kvcalc": __version__, "options": dict(options), "inputs": read, "partitions": of}
        self.told = json.dumps(told, sort_keys=True, default=str)
        key = hashlib.sha256(self.told.encode()).hexdigest()[:12]
        self._parts = self.target.with_name(f".{self.target.name}.{key}")
        if self.is_done:
            return
        if self.target.exists():
            raise KvcalcError(f"-o: {target} is there, and of another sweep; name a new folder")
        try:
            self._parts.mkdir(exist_ok=True)
        except OSError as error:
            raise CannotRunError(f"-o: {target}: cannot be written: {error.strerror}") from error

    @property
    def is_done(self) -> bool:
        """Whether the same sweep stands there, whole."""
        parts = [self.target / self._name(number) for number in range(1, self._of + 1)]
        return all(part.is_file() for part in parts) and told_in(parts[0]) == self.told

    def missing(self) -> list[int]:
        """The partitions that are not there, from 1."""
        return [number for number in range(1, self._of + 1) if not (self._parts / self._name(number)).exists()]

    def put(self, number: int, file: bytes) -> None:
        """A partition, whole."""
        _write_whole(self._parts / self._name(number), file)

    def finish(self) -> None:
        """Gives the folder its name."""
        os.replace(self._parts, self.target)  # noqa: PTH105  # as files are

    def _name(self, number: int) -> str:
        return f"part-{number:05d}-of-{self._of:05d}.parquet"


def _write_whole(path: Path, data: bytes) -> None:
    """Beside its place, then into it: no part of it is ever seen under its name."""
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix="_")
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123  # a descriptor
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(part).chmod(0o644)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
