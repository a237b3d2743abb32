"""Streams that cannot be written: the exit status stays the answer's or is 3, and nobody sees a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fuzzing import some

KVCALC = f"'{sys.executable}' -m kvcalc"
ESTIMATE = "estimate llama-3-8b -c 8192"
LISTED = "models list --format csv"
TOO_MUCH = f"{ESTIMATE} -b 1000 --tp 1 --check"
VERIFY = "verify qwen2.5-0.5b -c 16 --device meta"
WITH_A_NOTE = "estimate llama-3-8b"

NO_READER = "| closed"
GONE, CANNOT_RUN = 141, 3
"""128 and the number of SIGPIPE, as a shell tells it; and kvcalc's own."""


def in_a_shell(line: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = ["/bin/bash", "-c", f"{line}; exit $?"]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


@contextmanager
def pipe_without_a_reader() -> Iterator[int]:
    theirs, ours = os.pipe()
    os.close(theirs)
    yield ours
    os.close(ours)


@pytest.mark.parametrize(
    ("words", "streams", "code"),
    some(
        [
            ("--version", ">&-", CANNOT_RUN),
            ("--version", ">/dev/full", CANNOT_RUN),
            ("--version", "2>&-", 0),
            ("--version", NO_READER, GONE),
            ("--help", ">&-", CANNOT_RUN),
            ("--help", ">/dev/full", CANNOT_RUN),
            ("estimate --help", NO_READER, GONE),
            (ESTIMATE, ">&-", CANNOT_RUN),
            (ESTIMATE, ">/dev/full", CANNOT_RUN),
            (ESTIMATE, ">/dev/full 2>&-", CANNOT_RUN),
            (ESTIMATE, ">/dev/full 2>/dev/full", CANNOT_RUN),
            (WITH_A_NOTE, "2>&-", 0),
            (WITH_A_NOTE, "2>/dev/full", 0),
            (WITH_A_NOTE, "2> >(true)", 0),
            (f"{ESTIMATE} --json", NO_READER, GONE),
            (f"{ESTIMATE} -o /dev/null", ">&- 2>&-", 0),
            (f"{ESTIMATE} -o /dev/stdout", NO_READER, GONE),
            (f"{ESTIMATE} -o /dev/stdout", ">&-", CANNOT_RUN),
            (f"{ESTIMATE} -o /dev/stderr", "2>/dev/full", CANNOT_RUN),
            (TOO_MUCH, "2>/dev/full", 1),
            (TOO_MUCH, "2>&-", 1),
            (TOO_MUCH, ">/dev/full", CANNOT_RUN),
            ("estimate nope", "2>/dev/full", 2),
            ("estimate nope", "2>&-", 2),
            ("estimate nope", ">&-", 2),
            ("estimate --nope", "2>/dev/full", 2),
            ("estimate --nope", "2>&-", 2),
            ("nope", ">/dev/full 2>/dev/full", 2),
            ("capacity llama-3-8b", ">/dev/full", CANNOT_RUN),
            ("capacity llama-3-8b", "2>/dev/full", 0),
            ("plan llama-3-8b", "2>/dev/full", 0),
            ("plan llama-3-8b", NO_READER, GONE),
            ("compare llama-3-8b", ">&-", CANNOT_RUN),
            ("compare llama-3-8b", "2>&-", 0),
            (LISTED, ">/dev/full", CANNOT_RUN),
            (LISTED, NO_READER, GONE),
            ("models schema", ">&-", CANNOT_RUN),
            ("gpus list", NO_READER, GONE),
            ("explain mla", ">/dev/full", CANNOT_RUN),
            pytest.param(VERIFY, ">/dev/full", CANNOT_RUN, marks=pytest.mark.torch),
            pytest.param(VERIFY, "2>/dev/full", 0, marks=pytest.mark.torch),
        ]
    ),
)
def test_streams_that_cannot_be_written(words: str, streams: str, code: int) -> None:
    if streams == NO_READER:
        with pipe_without_a_reader() as pipe:
            run = in_a_shell(f"{KVCALC} {words}", pipe)
    else:
        run = in_a_shell(f"{KVCALC} {words} {streams}")
    assert run.returncode == code
    assert "Traceback" not in run.stderr
    assert "ignored" not in run.stderr
    told = "error: stdout: " if code == CANNOT_RUN and words.find("-o ") < 0 else ""
    assert told in run.stderr or "2>" in streams
    if told and streams == ">/dev/full":
        assert run.stderr.endswith("No space left on device\n")


def test_a_result_is_whole_where_stderr_is_not_there() -> None:
    assert in_a_shell(f"{KVCALC} {WITH_A_NOTE} 2>&-").stdout == in_a_shell(f"{KVCALC} {WITH_A_NOTE}").stdout


def test_no_file_takes_the_place_of_a_closed_stream() -> None:
    code = (
        "import os; from kvcalc.cli.streams import prepare; prepare(); os.write(9, b'%d' % os.open('/', os.O_RDONLY))"
    )
    run = in_a_shell(f"'{sys.executable}' -c \"{code}\" 9>&1 <&- >&- 2>&-")
    assert int(run.stdout) > 2


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    theirs, ours = os.pipe()
    os.set_blocking(ours, False)
    words = [sys.executable, "-m", "kvcalc", "models", "schema"]  # longer than a page
    os.write(ours, b"x" * 60_000)
    with subprocess.Popen(words, stdout=ours, stderr=subprocess.PIPE) as process, os.fdopen(theirs, "rb") as pipe:
        os.close(ours)
        read = pipe.read()
        assert process.stderr
        assert process.stderr.read() == b""
    assert process.returncode == 0
    assert read[60_000:].startswith(b"{")
    assert read.endswith(b"}\n")
