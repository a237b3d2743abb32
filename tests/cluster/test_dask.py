"""A sweep on a real cluster of two workers, one of which is killed on the way."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import Kvcalc

from kvcalc import __version__
from kvcalc.catalogue import CONFIGS
from kvcalc.cluster.folder import PartitionFolder
from kvcalc.cluster.inputs import inputs_of
from kvcalc.cluster.partition import Asked, partition_of
from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.render.parquet import parquet_rows

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
Process = subprocess.Popen[bytes]
Cluster = tuple[Path, Process, list[Process]]


@contextmanager
def process(*words: str) -> Iterator[Process]:
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
    """The file that tells where the scheduler is, the scheduler, and two workers."""
    told = tmp_path / "scheduler.json"
    where = ("--scheduler-file", str(told))
    own = ("--no-dashboard", "--host", "127.0.0.1")
    with ExitStack() as stack:
        scheduler = stack.enter_context(process("-m", "distributed.cli.dask_scheduler", *where, "--port", "0", *own))
        wait_for(tmp_path, "scheduler.json")
        worker = ("-m", "distributed.cli.dask_worker", *where, "--no-nanny", "--nthreads", "1", *own)
        local = ("--local-directory", str(tmp_path / "workers"))
        yield told, scheduler, [stack.enter_context(process(*worker, *local)) for _ in range(2)]


@pytest.mark.cluster
def test_a_lost_worker_loses_nothing(cluster: Cluster, tmp_path: Path, kvcalc: Kvcalc) -> None:
    from distributed import Client
    from pyarrow.parquet import read_table

    told, scheduler, workers = cluster
    with Client(scheduler_file=str(told), set_as_default=False, timeout=DEADLINE) as client:
        client.wait_for_workers(2, timeout=DEADLINE)
        address = client.scheduler.address

    def begun(target: Path) -> Process:
        words = [sys.executable, "-m", "kvcalc", *WORDS, "--scheduler", address, "-o", str(target)]
        run = subprocess.Popen(words, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])
        wait_for(tmp_path, f".{target.name}.*/part-*.parquet")
        return run

    target = tmp_path / "rows"
    run = begun(target)
    workers[0].send_signal(signal.SIGKILL)
    _, stderr = run.communicate(timeout=DEADLINE)
    assert run.returncode == 0, stderr
    whole = tmp_path / "whole.parquet"
    assert kvcalc(*WORDS, "-o", str(whole)).code == 0
    key = [(name, "ascending") for name in ("batch", "context", "engine", "tp")]
    assert read_table(target).sort_by(key).equals(read_table(whole).sort_by(key))
    before = {path.name: path.stat().st_mtime_ns for path in target.iterdir()}
    assert {Path(name).suffix for name in before} == {".parquet"}  # Polars reads a folder of nothing else
    again = kvcalc(*WORDS, "--scheduler", address, "-o", str(target))
    assert (again.code, again.stdout) == (0, "")
    assert {path.name: path.stat().st_mtime_ns for path in target.iterdir()} == before
    other = kvcalc(*WORDS, "--strict", "--scheduler", address, "-o", str(tmp_path / "strict"))
    assert (other.code, (tmp_path / "strict").exists()) == (2, False)
    assert "--strict: model gemma-3-27b" in other.stderr
    assert "is there, and of another sweep" in kvcalc(*WORDS[:-2], "--scheduler", address, "-o", str(target)).stderr
    run = begun(tmp_path / "unfinished")
    scheduler.kill()
    _, stderr = run.communicate(timeout=DEADLINE)
    assert (run.returncode, (tmp_path / "unfinished").exists()) == (3, False)
    assert stderr.startswith(b"error: --scheduler: the scheduler is lost; the same command, given again, goes on")


def test_a_folder_goes_on_from_what_is_there(tmp_path: Path) -> None:
    def asked(batch: str, inputs: dict[str, str] | None = None) -> PartitionFolder:
        return PartitionFolder(str(tmp_path / "rows"), {"batch": batch}, inputs or {}, 3)

    def file(folder: PartitionFolder) -> bytes:
        made = io.BytesIO()
        with parquet_rows(made, ("error",), folder.told):
            pass
        return made.getvalue()

    folder = asked("1,2")
    folder.put(2, file(folder))
    assert folder.missing() == [1, 3]
    assert not (tmp_path / "rows").exists()
    again = asked("1,2")
    assert again.missing() == [1, 3]
    assert asked("1,3").missing() == [1, 2, 3]
    assert asked("1,2", {"--model mine.yaml": "changed"}).missing() == [1, 2, 3]
    again.put(1, file(again))
    again.put(3, file(again))
    again.finish()
    assert asked("1,2").is_done
    for batch, inputs in (("9", {}), ("1,2", {"--model mine.yaml": "changed"})):
        with pytest.raises(KvcalcError, match="of another sweep"):
            asked(batch, inputs)


def test_a_worker_that_reads_another_model_makes_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of that name may stand on each machine; what stands in it is what counts."""
    monkeypatch.chdir(tmp_path)
    text = (CONFIGS / "models" / "llama-3-8b.yaml").read_text()
    Path("mine.yaml").write_text(text)
    options = {"model": "mine.yaml,llama-3-8b", "batch": "1,2", "gpu": "h100"}
    asked = Asked(options, inputs_of(options), 1, __version__, "")
    assert partition_of(asked, 1).rows == 4
    Path("mine.yaml").write_text(text.replace("num_kv_heads: 8", "num_kv_heads: 4"))
    with pytest.raises(CannotRunError, match=r"--model mine\.yaml is not on a worker what it is here"):
        partition_of(asked, 1)
    Path("mine.yaml").unlink()
    with pytest.raises(CannotRunError, match=r"--model mine\.yaml is not"):
        partition_of(asked, 1)
    with pytest.raises(CannotRunError, match="install the same"):
        partition_of(asked._replace(version="0"), 1)


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
