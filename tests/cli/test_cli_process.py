"""kvcalc as a process among others: pipes, full disks, colours and encodings.

Where it matters neither how Python begins nor how it ends, the process is a copy of one that has imported kvcalc.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prepared import Prepared

KVCALC = [sys.executable, "-m", "kvcalc"]
LLAMA = ["estimate", "llama-3-70b", "-c", "8192"]
_CHOICES_OF_THE_TESTER = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONIOENCODING", "TTY_COMPATIBLE")


def environment(**changes: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in _CHOICES_OF_THE_TESTER} | changes


def kvcalc(*words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run kvcalc with its output piped here."""
    return subprocess.run(
        [*KVCALC, *words], capture_output=True, text=True, encoding="utf-8", env=environment(**changes), check=False
    )


PROGRAM = "import sys; sys.argv[0] = 'kvcalc'; from kvcalc.cli import main; main()"


class Copies:
    """Copies of a process."""

    def __init__(self, process: Prepared) -> None:
        self._process = process

    def piped(self, *words: str, **changes: str) -> str:
        """What kvcalc writes where its output is no terminal."""
        [run] = self._process.together([changes], *words, program=PROGRAM)
        assert run.code == 0
        return run.stdout

    def on_a_terminal(self, *words: str, columns: int = 0, **changes: str) -> str:
        """What kvcalc writes to a terminal."""
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        with ThreadPoolExecutor(1) as beside:
            written = beside.submit(_read_all, ours)
            [run] = self._process.together([changes], *words, program=PROGRAM, terminal=os.ttyname(its))
            os.close(its)
        os.close(ours)
        assert run.code == 0
        return written.result().decode()


def _read_all(descriptor: int) -> bytes:
    written = b""
    while chunk := _read(descriptor):
        written += chunk
    return written


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # the other end is closed
        return b""


@pytest.fixture(scope="module")
def copies() -> Iterator[Copies]:
    needs = ("kvcalc.cli.estimate", "kvcalc.cli.gpus", "kvcalc.cli.models", "kvcalc.render.screens.estimate")
    with Prepared(needs, without=_CHOICES_OF_THE_TESTER) as process:
        yield Copies(process)


def test_the_module_runs_as_a_program() -> None:
    run = kvcalc(*LLAMA, "--tp", "4")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("4 x h100-sxm, tensor parallel 4: fits")


@pytest.mark.parametrize(
    ("words", "code"),
    [(["estimate", "nope"], 2), (["nope"], 2), ([*LLAMA, "--check"], 1), ([*LLAMA, "-o", "missing/x"], 3), ([], 0)],
    ids=["bad input", "bad usage", "the answer is no", "cannot run", "help"],
)
def test_a_process_ends_with_the_code_of_its_answer(words: list[str], code: int) -> None:
    run = kvcalc(*words)
    assert run.returncode == code
    assert "Traceback" not in run.stderr


def test_a_closed_pipe_ends_it_quietly() -> None:
    with subprocess.Popen(
        [*KVCALC, "models", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""


def test_head_takes_the_first_line() -> None:
    line = f"'{sys.executable}' -m kvcalc models list | head -1"
    run = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, env=environment(), check=True)
    assert run.stdout.startswith("model ")
    assert len(run.stdout.splitlines()) == 1
    assert run.stderr == ""


@pytest.mark.parametrize(
    "words",
    [[*LLAMA, "--json"], [*LLAMA, "-o", "/dev/full"], ["models", "schema"]],
    ids=" ".join,
)
def test_a_full_disk_is_told_in_a_line(words: list[str]) -> None:
    """Tables, help and the version: test_streams."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        run = subprocess.run(
            [*KVCALC, *words], stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False
        )
    assert run.returncode == 3
    assert run.stderr.startswith("error: ")
    assert run.stderr.endswith("No space left on device\n")
    assert len(run.stderr.splitlines()) == 1


def test_a_file_that_is_not_written_whole_is_not_left_behind(tmp_path: Path) -> None:
    line = f"ulimit -f 0; exec '{sys.executable}' -m kvcalc estimate llama-3-70b -c 1 -o '{tmp_path}/result.txt'"
    run = subprocess.run(
        ["/bin/sh", "-c", line],
        capture_output=True,
        text=True,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        check=False,
    )
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr.startswith("error: -o: ")
    assert list(tmp_path.iterdir()) == []


def test_a_piped_table_is_as_wide_as_it_needs_to_be(copies: Copies) -> None:
    narrow, wide = (copies.piped("models", "list", COLUMNS=columns) for columns in ("40", "400"))
    assert narrow == wide
    assert "\u2026" not in narrow
    assert "mistral-small-3.1-24b-2503" in narrow
    assert "2 x 80 layers x 1 sequence x 8,192 tokens x" in copies.piped(*LLAMA, COLUMNS="40")


def test_a_piped_table_has_no_colour_unless_it_is_forced(copies: Copies) -> None:
    assert "\x1b" not in copies.piped(*LLAMA)
    assert "\x1b" not in copies.piped(*LLAMA, NO_COLOR="1")
    assert "\x1b" not in copies.piped(*LLAMA, FORCE_COLOR="")
    assert "\x1b[" in copies.piped(*LLAMA, FORCE_COLOR="1")


@pytest.mark.parametrize("how", ["json", "csv", "markdown"])
def test_what_scripts_read_has_no_colour_even_if_forced(copies: Copies, how: str) -> None:
    assert "\x1b" not in copies.piped(*LLAMA, "--format", how, FORCE_COLOR="1")


def test_no_color_is_stronger_than_force_color(copies: Copies) -> None:
    codes = re.findall(r"\x1b\[([\d;]*)m", copies.piped(*LLAMA, FORCE_COLOR="1", NO_COLOR="1"))
    assert [code for code in codes if re.search(r"\b(3|4|9|10)\d\b", code)] == []


def test_a_copy_writes_what_a_process_of_its_own_does(
    copies: Copies, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in _CHOICES_OF_THE_TESTER:
        monkeypatch.delenv(each, raising=False)
    assert pty.spawn([*KVCALC, *LLAMA]) == 0
    assert capfd.readouterr().out == copies.on_a_terminal(*LLAMA)
    assert copies.piped(*LLAMA) == kvcalc(*LLAMA).stdout


def test_a_terminal_may_have_styles_and_a_dumb_one_has_none(copies: Copies) -> None:
    assert "\x1b[" in copies.on_a_terminal(*LLAMA, TERM="xterm")
    assert "\x1b" not in copies.on_a_terminal(*LLAMA, TERM="dumb")
    assert "\x1b" not in copies.on_a_terminal(*LLAMA, "--json", TERM="xterm")


def test_a_narrow_terminal_folds_and_cuts_nothing(copies: Copies) -> None:
    shown = re.sub(
        r"\x1b\[[\d;]*m",
        "",
        copies.on_a_terminal(*LLAMA, "--tp", "2", "--temporary", "1.5GiB", TERM="xterm", COLUMNS="40"),
    )
    assert "\u2026" not in shown
    assert max(map(len, shown.splitlines())) <= 40
    for number in ("65.71", "1.25", "69.66", "2,684,354,560"):
        assert number in shown


@pytest.mark.parametrize("columns", [20, 40])
def test_a_very_narrow_terminal_loses_no_name_and_no_formula(copies: Copies, columns: int) -> None:
    shown = re.sub(
        r"\x1b\[[\d;]*m",
        "",
        copies.on_a_terminal(*LLAMA, "--tp", "2", "--temporary", "1GiB", columns=columns, TERM="xterm"),
    )
    assert max(map(len, shown.splitlines())) <= columns
    together = "".join(shown.split())
    for text in ("weights", "temporary", "cudagraphs", "2x80layersx1sequencex8,192tokensx4headsx128x2bytes"):
        assert text in together


@pytest.mark.parametrize("words", [LLAMA, ["gpus", "list"], ["estimate", "--help"]], ids=" ".join)
def test_a_terminal_that_says_it_has_no_columns_is_taken_at_its_size(copies: Copies, words: list[str]) -> None:
    without, sized = copies.on_a_terminal(*words, COLUMNS="0"), copies.on_a_terminal(*words, columns=100, COLUMNS="0")
    assert without == copies.on_a_terminal(*words, COLUMNS="80")
    assert sized == copies.on_a_terminal(*words, columns=100)
    assert len(sized) > 500


def test_help_on_a_narrow_terminal_has_every_option(copies: Copies) -> None:
    options = set(re.findall(r"--[a-z-]+", copies.piped("estimate", "--help")))
    assert len(options) > 30
    assert options <= set(re.findall(r"--[a-z-]+", copies.on_a_terminal("estimate", "--help", columns=30)))


def test_an_encoding_without_a_letter_still_gets_the_figures() -> None:
    run = kvcalc(*LLAMA, "--tp", "4", PYTHONIOENCODING="ascii")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.isascii()
    assert "2,684,354,560" in run.stdout


def test_no_figure_depends_on_the_folder_or_the_language(tmp_path: Path) -> None:
    elsewhere = subprocess.run(
        [*KVCALC, *LLAMA, "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(LC_ALL="C", LANG="de_DE.UTF-8"),
        check=True,
    )
    assert elsewhere.stdout == kvcalc(*LLAMA, "--json").stdout
