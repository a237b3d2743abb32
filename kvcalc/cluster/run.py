"""A sweep on a cluster of Dask: workers make partitions, and this process writes each when it is there.

No file system need be shared. A worker that is lost takes nothing with it: what it had made is written already, and
what it was making is made by another.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import CancelledError
from contextlib import contextmanager
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from kvcalc import __version__
from kvcalc.cluster.folder import PartitionFolder
from kvcalc.cluster.inputs import inputs_of
from kvcalc.cluster.partition import Asked, Partition, partition_of
from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.render.parquet import refuse_missing
from kvcalc.verbs.sweeping.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_ROWS = 100_000
"""Of a partition, about."""

_LEAST = 8
"""Partitions of a small sweep, so that workers have something each."""

_SECONDS = 60
"""To wait for a scheduler, and for a worker where there is none."""

_PAUSE = 0.05
"""Seconds between looks for a partition that is done."""

_GOES_ON = "; the same command, given again, goes on from the partitions that are there"

_LOSSES = 20
"""How often the workers of one partition may be lost before it is taken for its fault."""


def sweep_on_cluster(
    address: str,
    options: Mapping[str, Any],
    target: str,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[int, int]:
    """Makes a folder of Parquet, and says how many rows it has and how many of those have an error.

    Those of partitions that were there before are not counted.

    Args:
        address: of the scheduler, as tcp://host:8786.
        options: of the sweep.
        target: the folder.
        progress: is told how many partitions are there, of how many.

    Raises:
        KvcalcError: the sweep cannot be read, or another one stands there; with `strict`, the first wrong scenario's.
        CannotRunError: Dask is not installed, there is no scheduler or no worker, or the folder cannot be written.
    """
    if find_spec("distributed") is None:
        command = "python -m pip install 'distributed>=2026.1' 'pyarrow>=21.0'"
        raise CannotRunError(f"--scheduler: needs Dask, which is not installed: {command}")
    refuse_missing()
    for name in ("from_file", "shard"):
        if options.get(name) is not None:
            label = "--from" if name == "from_file" else "--shard"
            raise KvcalcError(f"{label}: is for one process; --scheduler makes all rows of axes")
    with sweep(None, options) as asked:
        of = max(1, min(asked.number or 1, max(_LEAST, -(-(asked.number or 1) // _ROWS))))
    inputs = inputs_of(options)
    folder = PartitionFolder(target, options, inputs, of)
    if folder.is_done:
        return 0, 0
    rows, wrong = _make(address, Asked(dict(options), inputs, of, __version__, folder.told), folder, progress)
    folder.finish()
    return rows, wrong


def _make(
    address: str,
    asked: Asked,
    folder: PartitionFolder,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[int, int]:
    """Makes what is missing."""
    from distributed import Client, KilledWorker, as_completed  # large, and for clusters only

    rows = wrong = 0
    with _quiet(), _told_if_lost(), _connected(Client, address) as client:

        def submit(number: int) -> Any:
            return client.submit(partition_of, asked, number, pure=False, retries=2)

        waited = {submit(number): number for number in folder.missing()}
        lost: dict[int, int] = {}
        running = as_completed(list(waited))
        while waited:
            for future in _done(running, client):
                number = waited.pop(future)
                try:
                    made: Partition = future.result()
                except KilledWorker:
                    lost[number] = lost.get(number, 0) + 1
                    if lost[number] == _LOSSES:
                        raise CannotRunError(f"--scheduler: workers are lost at partition {number}") from None
                    again = submit(number)
                    waited[again] = number
                    running.add(again)
                    continue
                folder.put(number, made.file)
                rows, wrong = rows + made.rows, wrong + made.wrong
                if progress is not None:
                    progress("partitions", asked.of - len(waited), asked.of)
    return rows, wrong


def _done(running: Any, client: Any) -> list[Any]:
    """Those that are done, one at least.

    Raises:
        CannotRunError: nobody is left to make them.
    """
    seen = time.monotonic()
    while not (done := running.next_batch(block=False)):
        time.sleep(_PAUSE)
        if time.monotonic() - seen < _SECONDS:
            continue
        if not client.scheduler_info()["workers"]:
            raise CannotRunError(f"--scheduler: all workers are lost, and none came in {_SECONDS} seconds{_GOES_ON}")
        seen = time.monotonic()
    found: list[Any] = done
    return found


@contextmanager
def _told_if_lost() -> Iterator[None]:
    """A scheduler that is lost, in one sentence wherever it is missed."""
    from distributed.comm import CommClosedError

    try:
        yield
    except (CancelledError, CommClosedError):
        raise CannotRunError(f"--scheduler: the scheduler is lost{_GOES_ON}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Dask logs of connections that are lost: it is told in a sentence."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _connected(kind: Any, address: str) -> Any:
    """A client of the scheduler, which has a worker; and workers have what makes partitions."""
    try:
        client = kind(address, timeout=_SECONDS)
    except (OSError, ValueError, TypeError) as error:
        raise CannotRunError(f"--scheduler: no scheduler at '{address[:100]}': {str(error)[:200]}") from error
    try:
        client.wait_for_workers(1, timeout=_SECONDS)
    except Exception as error:
        client.close()
        raise CannotRunError(f"--scheduler: no worker within {_SECONDS} seconds at '{address[:100]}'") from error
    for package in ("kvcalc", "pyarrow"):
        # a worker that cannot read what is asked of it ends, and the next one too
        found = client.run(resolve_name, f"{package}:__version__", on_error="return")
        for worker, version in found.items():
            if isinstance(version, ImportError | AttributeError):
                client.close()
                told = f"the worker {worker} has no {package}: python -m pip install '.[cluster]' there"
                raise CannotRunError(f"--scheduler: {told}")
    return client
