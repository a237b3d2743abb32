"""Where -o leads: what is there already is never lost, and what cannot be written is told in a line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from conftest import ROOT, Kvcalc

SHORT = ("gpus", "show", "h100", "--json")
WORDS = f"'{sys.executable}' -m kvcalc {' '.join(SHORT)}"


@pytest.fixture
def result(kvcalc: Kvcalc) -> str:
    return kvcalc(*SHORT).stdout


def in_a_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )


@pytest.mark.parametrize(
    "line",
    [
        f"{WORDS} -o /dev/stdout >> log",
        f"{WORDS} -o /dev/stderr 2>> log",
        f"{WORDS} -o /proc/self/fd/7 7>> log",
        f"ln -s /dev/fd/1 link; {WORDS} -o link >> log",
        f"{WORDS} -o /proc/$$/fd/8 8>> log; true",
    ],
)
def test_an_open_descriptor_is_written_where_it_stands(line: str, tmp_path: Path, result: str) -> None:
    (tmp_path / "log").write_text("before\n", encoding="utf-8")
    if "$$" in line:  # another process's descriptor
        line = f"exec 8>> log; {line}"
    run = in_a_shell(line, tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "before\n" + result


def test_a_descriptor_that_is_not_open_cannot_be_written(kvcalc: Kvcalc) -> None:
    run = kvcalc(*SHORT, "-o", "/dev/fd/999")
    assert (run.code, run.stdout) == (3, "")
    assert run.stderr == "error: -o: /dev/fd/999: cannot be written: Bad file descriptor\n"


def test_a_write_protected_file_stays(kvcalc: Kvcalc, tmp_path: Path) -> None:
    file = tmp_path / "kept"
    file.write_text("kept", encoding="utf-8")
    file.chmod(0o444)
    run = kvcalc(*SHORT, "-o", str(file))
    assert (run.code, run.stdout) == (3, "")
    assert run.stderr == f"error: -o: {file}: cannot be written: it is write-protected\n"
    assert (file.read_text(encoding="utf-8"), file.stat().st_mode & 0o777) == ("kept", 0o444)


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@AS_ROOT
@pytest.mark.parametrize("there", [["old"], []], ids=["a file", "a folder"])
def test_what_belongs_to_somebody_else_stays(there: list[str]) -> None:
    told, left = written_by_nobody(there, mode=0o644)
    assert told.endswith("/old: cannot be written: Permission denied\n")
    assert left == dict.fromkeys(there, "kept")


@AS_ROOT
def test_a_file_for_everybody_is_written_though_its_folder_is_not() -> None:
    assert written_by_nobody(["old"], mode=0o666) == ("", {"old": "new"})


def written_by_nobody(there: list[str], mode: int) -> tuple[str, dict[str, str]]:
    """What a user without any rights is told who writes 'old' in a folder of root, and what the folder then holds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for each in there:
            (folder / each).write_text("kept", encoding="utf-8")
            (folder / each).chmod(mode)
        code = (
            "import os, tempfile\nfrom kvcalc.cli.destination import write_to\nos.setuid(65534)\n"
            f"try:\n    write_to('{folder}/old', 'new')\nexcept Exception as error:\n    print(error)"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return run.stdout, {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["new/", "folder", "folder/", "folder/.", "..", "file/"])
def test_a_folder_is_no_file(kvcalc: Kvcalc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").write_text("kept", encoding="utf-8")
    run = kvcalc(*SHORT, "-o", name)
    assert (run.code, run.stdout) == (3, "")
    assert run.stderr == f"error: -o: {name}: cannot be written: Is a directory\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert list(Path("folder").iterdir()) == []


@pytest.mark.parametrize("command", [SHORT, ("estimate", "llama-3-8b")], ids=["gpus", "estimate"])
def test_a_loop_of_links_is_told(kvcalc: Kvcalc, tmp_path: Path, command: tuple[str, ...]) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.symlink_to(second)
    second.symlink_to(first)
    for target in (first, first / "file"):
        run = kvcalc(*command, "-o", str(target))
        assert (run.code, run.stdout) == (3, "")
        assert run.stderr == f"error: -o: {target}: cannot be written: Too many levels of symbolic links\n"


def test_links_lead_to_the_file(kvcalc: Kvcalc, tmp_path: Path, result: str) -> None:
    file, link, other = tmp_path / "file", tmp_path / "link", tmp_path / "other name"
    link.symlink_to("file")
    assert kvcalc(*SHORT, "-o", str(link)) == (0, "", "")
    assert (link.is_symlink(), file.read_text(encoding="utf-8")) == (True, result)
    other.hardlink_to(file)
    file.write_text("something much longer\n" * 1000, encoding="utf-8")
    file.chmod(0o640)
    assert kvcalc(*SHORT, "-o", str(link)) == (0, "", "")
    assert link.is_symlink()
    assert other.read_text(encoding="utf-8") == result
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_file_that_has_no_room_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "old"
    file.write_text("kept", encoding="utf-8")
    run = in_a_shell(f"ulimit -f 0; {WORDS} -o old", tmp_path)
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr == "error: -o: old: cannot be written: File too large\n"
    assert file.read_text(encoding="utf-8") == "kept"


def test_a_pipe_with_a_name_is_written(kvcalc: Kvcalc, tmp_path: Path, result: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    assert kvcalc(*SHORT, "-o", str(pipe)) == (0, "", "")
    reader.join()
    assert (read, pipe.is_fifo()) == ([result], True)


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("/dev/full", 3, "cannot be written: No space left on device"),
        ("x" * 300, 3, "cannot be written: File name too long"),
        ("missing/x", 3, "cannot be written: No such file or directory"),
        ("a\0b", 3, "cannot be written: "),
        ("", 2, "names no file; - is stdout"),
    ],
    ids=["full", "long", "missing", "NUL", "empty"],
)
def test_what_cannot_be_written_is_told(kvcalc: Kvcalc, name: str, code: int, reason: str) -> None:
    run = kvcalc(*SHORT, "-o", name)
    assert (run.code, run.stdout) == (code, "")
    assert run.stderr.startswith("error: -o: ")
    assert reason in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_no_file_of_a_checkpoint_that_is_read_is_written_over(kvcalc: Kvcalc, tmp_path: Path) -> None:
    values = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64}
    names = ("config.json", "model.safetensors", "model.safetensors.index.json", "adapter.safetensors")
    for name in names:
        (tmp_path / name).write_text(str(values).replace("'", '"'), encoding="utf-8")
    for model in (tmp_path, tmp_path / "config.json"):
        for name in names:
            run = kvcalc("estimate", str(model), "-o", str(tmp_path / name))
            assert (run.code, run.stdout) == (2, "")
            assert "is the model that is read" in run.stderr


def test_no_shard_of_a_gguf_that_is_read_is_written_over(kvcalc: Kvcalc, tmp_path: Path) -> None:
    first, second, another = (tmp_path / f"{name}.gguf" for name in ("a-00001-of-00002", "a-00002-of-00002", "b"))
    for file in (first, second, another):
        file.write_bytes(b"GGUF")
    for target in (first, second):
        assert "is the model that is read" in kvcalc("estimate", str(first), "-o", str(target)).stderr
    assert "is the model that is read" not in kvcalc("estimate", str(first), "-o", str(another)).stderr


READ = [
    ("estimate", "llama-3-8b", "--draft"),
    ("estimate", "llama-3-8b", "--measured"),
    ("estimate", "llama-3-8b", "--mix"),
    ("capacity", "llama-3-8b", "--from-log"),
    ("demand", "llama-3-8b", "--trace"),
    ("plan", "llama-3-8b", "--price"),
    ("plot", "llama-3-8b", "--context", "1k,2k", "--price"),
    ("sweep", "--from"),
]
"""Options that read a file, at the end of what asks for them."""


@pytest.mark.parametrize("words", READ, ids=" ".join)
def test_no_file_that_an_option_reads_is_written_over(kvcalc: Kvcalc, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "read").write_text("kept", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "read")
    for name in ("read", "link"):
        run = kvcalc(*words, str(tmp_path / "read"), "-o", str(tmp_path / name))
        assert (run.code, run.stdout) == (2, "")
        assert " that is read; write to another file" in run.stderr
    assert (tmp_path / "read").read_text(encoding="utf-8") == "kept"


@pytest.mark.parametrize("target", ["missing/x", "new/", "", "/dev/fd/999", "kept"])
def test_nothing_is_computed_for_a_file_that_cannot_be_written(
    kvcalc: Kvcalc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kept").write_text("kept", encoding="utf-8")
    Path("kept").chmod(0o444)
    monkeypatch.setattr("kvcalc.cli.gpus.show_gpu", lambda _: pytest.fail("computed"))
    run = kvcalc(*SHORT, "-o", target)
    assert run.code in {2, 3}
    assert run.stderr.startswith("error: -o: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_an_old_file_is_overwritten_waits(
    number: signal.Signals, result: str, tmp_path: Path
) -> None:
    """It comes as soon as the first bytes are written."""
    old = tmp_path / "old.json"
    old.write_text("before" * 10_000)
    code = (
        "import os, sys\nfrom kvcalc.cli import main\nwrite = os.write\n"
        "def interrupted(descriptor, data):\n"
        "    written = write(descriptor, data[:20])\n"
        f"    os.kill(os.getpid(), {number.value})\n"
        "    return written\n"
        f"os.write, sys.argv = interrupted, ['kvcalc', *{SHORT!r}, '-o', {str(old)!r}]\nmain()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr, old.read_text()) == (128 + number, "", result)
