"""A sweep on a real cluster of two workers, one of which is killed on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import Kvcalc

from kvcalc.cluster.folder import PartitionFolder
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = (
    "sweep",
    "--model",
    "gemma-3-27b",
    "-b",
    "1..40+1",
    "-c",
    "1Ki..8Ki*2",
    "--engine",
    "vllm,nosuch",
    "--tp",
    "1,3",
)
DEADLINE = 90
Cluster = tuple[Path, "list[subprocess.Popen[bytes]]"]


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def wait_for(there: Path, pattern: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not list(there.glob(pattern)):
        assert time.monotonic() < deadline, pattern
        time.sleep(0.05)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """The file that tells where the scheduler is, and two workers."""
    told = tmp_path / "scheduler.json"
    where = ("--scheduler-file", str(told))
    own = ("--no-dashboard", "--host", "127.0.0.1")
    with ExitStack() as stack:
        stack.enter_context(process("-m", "distributed.cli.dask_scheduler", *where, "--port", "0", *own))
        wait_for(tmp_path, "scheduler.json")
        worker = ("-m", "distributed.cli.dask_worker", *where, "--no-nanny", "--nthreads", "1", *own)
        local = ("--local-directory", str(tmp_path / "workers"))
        yield told, [stack.enter_context(process(*worker, *local)) for _ in range(2)]


def test_a_lost_worker_loses_nothing(
    cluster: tuple[Path, list[subprocess.Popen[bytes]]], tmp_path: Path, kvcalc: Kvcalc
) -> None:
    from distributed import Client
    from pyarrow.parquet import read_table

    told, workers = cluster
    with Client(scheduler_file=str(told), set_as_default=False, timeout=DEADLINE) as client:
        client.wait_for_workers(2, timeout=DEADLINE)
        address = client.scheduler.address
    target = tmp_path / "rows"
    words = [sys.executable, "-m", "kvcalc", *WORDS, "--scheduler", address, "-o", str(target)]
    run = subprocess.Popen(words, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])
    wait_for(tmp_path, ".rows.*/part-*.parquet")
    workers[0].send_signal(signal.SIGKILL)
    _, stderr = run.communicate(timeout=DEADLINE)
    assert run.returncode == 0, stderr
    whole = tmp_path / "whole.parquet"
    assert kvcalc(*WORDS, "-o", str(whole)).code == 0
    key = [(name, "ascending") for name in ("batch", "context", "engine", "tp")]
    assert read_table(target).sort_by(key).equals(read_table(whole).sort_by(key))
    before = {path.name: path.stat().st_mtime_ns for path in target.iterdir()}
    again = kvcalc(*WORDS, "--scheduler", address, "-o", str(target))
    assert (again.code, again.stdout) == (0, "")
    assert {path.name: path.stat().st_mtime_ns for path in target.iterdir()} == before
    other = kvcalc(*WORDS, "--strict", "--scheduler", address, "-o", str(tmp_path / "strict"))
    assert (other.code, (tmp_path / "strict").exists()) == (2, False)
    assert "--strict: model gemma-3-27b" in other.stderr
    assert "is there, and of another sweep" in kvcalc(*WORDS[:-2], "--scheduler", address, "-o", str(target)).stderr


def test_a_folder_goes_on_from_what_is_there(tmp_path: Path) -> None:
    folder = PartitionFolder(str(tmp_path / "rows"), {"batch": "1,2"}, 3)
    folder.put(2, b"two")
    assert folder.missing() == [1, 3]
    assert not (tmp_path / "rows").exists()
    again = PartitionFolder(str(tmp_path / "rows"), {"batch": "1,2"}, 3)
    assert again.missing() == [1, 3]
    assert PartitionFolder(str(tmp_path / "rows"), {"batch": "1,3"}, 3).missing() == [1, 2, 3]
    again.put(1, b"one")
    again.put(3, b"three")
    again.finish()
    assert PartitionFolder(str(tmp_path / "rows"), {"batch": "1,2"}, 3).is_done
    with pytest.raises(KvcalcError, match="of another sweep"):
        PartitionFolder(str(tmp_path / "rows"), {"batch": "9"}, 3)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--scheduler", "tcp://127.0.0.1:1"), 2, "give -o FOLDER"),
        (("--scheduler", "tcp://127.0.0.1:1", "-o", "rows", "--format", "csv"), 2, "a folder of parquet"),
        (("--scheduler", "tcp://127.0.0.1:1", "-o", "rows", "--shard", "1/2"), 2, "--shard: is for one process"),
        (("--scheduler", "tcp://127.0.0.1:1", "-o", "rows", "--batch", "1..2"), 2, "does not say how it goes on"),
    ],
)
def test_refused(kvcalc: Kvcalc, words: tuple[str, ...], code: int, said: str) -> None:
    run = kvcalc("sweep", "--model", "llama-3-8b", *words)
    assert (run.code, run.stdout) == (code, "")
    assert said in run.stderr
