"""A Python process that has imported what verify needs, and does each case in a copy of itself.

A case has a heap of its own, in which nothing was freed, without waiting for torch to be imported again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple, Self

_SERVER = """
import io, json, os, sys, tempfile, traceback
import torch
import kvcalc, kvcalc.cli.verify, kvcalc.render.verify, kvcalc.verification.boundary, kvcalc.verification.run
torch.nn.functional.linear(torch.empty(1, 1, device="meta"), torch.empty(1, 1, device="meta"))  # loads a compiler

for line in sys.stdin:
    case = json.loads(line)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            code = 99
            try:
                sys.argv = ["case", *case["words"]]
                exec(case["program"], {"__name__": "__main__"})
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        out.seek(0), err.seek(0)
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps([code, out.read().decode(), err.read().decode()]), flush=True)
"""

COMMAND_LINE = "import sys; from kvcalc.cli.app import run; sys.exit(run(sys.argv[1:]))"
"""A case that is a command line of kvcalc."""


class Ended(NamedTuple):
    """What a case printed, and how it ended."""

    code: int
    stdout: str
    stderr: str


class Prepared:
    """The process. It ends with its `with`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, *words: str, program: str = COMMAND_LINE) -> Ended:
        """Run a program, with these as its words, in a copy of the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"program": program, "words": words}) + "\n")
        self._process.stdin.flush()
        return Ended(*json.loads(self._process.stdout.readline()))
