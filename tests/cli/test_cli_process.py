"""kvcalc as a process among others: pipes, full disks, colours and encodings."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

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


def on_a_terminal(*words: str, columns: int = 0, **changes: str) -> str:
    """What kvcalc writes to a terminal."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([*KVCALC, *words], stdout=its, stderr=its, env=environment(**changes)) as process:
        os.close(its)
        written = b""
        while chunk := _read(ours):
            written += chunk
    os.close(ours)
    assert process.returncode == 0
    return written.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # the other end is closed
        return b""


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
    [LLAMA, [*LLAMA, "--json"], [*LLAMA, "-o", "/dev/full"], ["--help"], ["models", "schema"], ["--version"]],
    ids=" ".join,
)
def test_a_full_disk_is_told_in_a_line(words: list[str]) -> None:
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


def test_a_piped_table_is_as_wide_as_it_needs_to_be() -> None:
    narrow, wide = (kvcalc("models", "list", COLUMNS=columns) for columns in ("40", "400"))
    assert narrow.stdout == wide.stdout
    assert "\u2026" not in narrow.stdout
    assert "mistral-small-3.1-24b-2503" in narrow.stdout
    assert "2 x 80 layers x 1 sequence x 8,192 tokens x" in kvcalc(*LLAMA, COLUMNS="40").stdout


def test_a_piped_table_has_no_colour_unless_it_is_forced() -> None:
    assert "\x1b" not in kvcalc(*LLAMA).stdout
    assert "\x1b" not in kvcalc(*LLAMA, NO_COLOR="1").stdout
    assert "\x1b" not in kvcalc(*LLAMA, FORCE_COLOR="").stdout
    assert "\x1b[" in kvcalc(*LLAMA, FORCE_COLOR="1").stdout


@pytest.mark.parametrize("how", ["json", "csv", "markdown"])
def test_what_scripts_read_has_no_colour_even_if_forced(how: str) -> None:
    assert "\x1b" not in kvcalc(*LLAMA, "--format", how, FORCE_COLOR="1").stdout


def test_no_color_is_stronger_than_force_color() -> None:
    codes = re.findall(r"\x1b\[([\d;]*)m", kvcalc(*LLAMA, FORCE_COLOR="1", NO_COLOR="1").stdout)
    assert [code for code in codes if re.search(r"\b(3|4|9|10)\d\b", code)] == []


def test_a_terminal_may_have_styles_and_a_dumb_one_has_none() -> None:
    assert "\x1b[" in on_a_terminal(*LLAMA, TERM="xterm")
    assert "\x1b" not in on_a_terminal(*LLAMA, TERM="dumb")
    assert "\x1b" not in on_a_terminal(*LLAMA, "--json", TERM="xterm")


def test_a_narrow_terminal_folds_and_cuts_nothing() -> None:
    shown = re.sub(
        r"\x1b\[[\d;]*m", "", on_a_terminal(*LLAMA, "--tp", "2", "--temporary", "1.5GiB", TERM="xterm", COLUMNS="40")
    )
    assert "\u2026" not in shown
    assert max(map(len, shown.splitlines())) <= 40
    for number in ("65.71", "1.25", "69.66", "2,684,354,560"):
        assert number in shown


@pytest.mark.parametrize("columns", [20, 40])
def test_a_very_narrow_terminal_loses_no_name_and_no_formula(columns: int) -> None:
    shown = re.sub(
        r"\x1b\[[\d;]*m", "", on_a_terminal(*LLAMA, "--tp", "2", "--temporary", "1GiB", columns=columns, TERM="xterm")
    )
    assert max(map(len, shown.splitlines())) <= columns
    together = "".join(shown.split())
    for text in ("weights", "temporary", "cudagraphs", "2x80layersx1sequencex8,192tokensx4headsx128x2bytes"):
        assert text in together


@pytest.mark.parametrize("words", [LLAMA, ["gpus", "list"], ["estimate", "--help"]], ids=" ".join)
def test_a_terminal_that_says_it_has_no_columns_is_taken_at_its_size(words: list[str]) -> None:
    without, sized = on_a_terminal(*words, COLUMNS="0"), on_a_terminal(*words, columns=100, COLUMNS="0")
    assert without == on_a_terminal(*words, COLUMNS="80")
    assert sized == on_a_terminal(*words, columns=100)
    assert len(sized) > 500


def test_help_on_a_narrow_terminal_has_every_option() -> None:
    options = set(re.findall(r"--[a-z-]+", kvcalc("estimate", "--help").stdout))
    assert len(options) > 30
    assert options <= set(re.findall(r"--[a-z-]+", on_a_terminal("estimate", "--help", columns=30)))


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
