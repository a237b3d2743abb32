"""A Python process that has imported what its cases need, and does each of them in a copy of itself.

A case has a heap of its own, in which nothing was freed, without waiting for torch to be imported again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NamedTuple, Self

_SERVER = """
import gc, importlib, io, json, os, sys, tempfile, traceback
again, *names = sys.argv[1:]
for name in names:
    __import__(name)
gc.collect()
gc.freeze()

def started(program, words, environment, terminal):
    out = open(terminal, "wb", 0) if terminal else tempfile.TemporaryFile()
    err = out if terminal else tempfile.TemporaryFile()
    child = os.fork()
    if child:
        return child, out, err
    os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
    code = 99
    try:
        os.environ.update(environment)
        if again:
            importlib.reload(sys.modules[again])
        sys.argv = ["case", *words]
        exec(program, {"__name__": "__main__"})
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code)

def ended(child, out, err):
    _, status = os.waitpid(child, 0)
    if out is err:
        out.close()
        return os.waitstatus_to_exitcode(status), "", ""
    out.seek(0), err.seek(0)
    return os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode()

for line in sys.stdin:
    case = json.loads(line)
    copies = [started(case["program"], case["words"], each, case["terminal"]) for each in case["environments"]]
    print(json.dumps([ended(*copy) for copy in copies]), flush=True)
"""

VERIFY = (
    "kvcalc.cli.verify",
    "kvcalc.render.screens.verify",
    "kvcalc.verification.boundary",
    "kvcalc.verification.run",
    "kvcalc.catalogue.validation",
)
"""What verify needs."""

COMMAND_LINE = "import sys; from kvcalc.cli.app import run; sys.exit(run(sys.argv[1:]))"
"""A case that is a command line of kvcalc."""


class Ended(NamedTuple):
    """What a case printed, and how it ended."""

    code: int
    stdout: str
    stderr: str


class Prepared:
    """The process. It ends with its `with`."""

    def __init__(self, modules: tuple[str, ...] = VERIFY, without: tuple[str, ...] = (), anew: str = "") -> None:
        """Start it.

        Args:
            modules: that it imports.
            without: variables of the environment that begin with one of these are left out.
            anew: one of the modules, which each case executes anew, since it looks at the environment then.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith(without)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, anew, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, *words: str, program: str = COMMAND_LINE) -> Ended:
        """Run a program, with these as its words, in a copy of the process."""
        [ended] = self.together([{}], *words, program=program)
        return ended

    def together(
        self, environments: list[dict[str, str]], *words: str, program: str = COMMAND_LINE, terminal: str = ""
    ) -> list[Ended]:
        """Run a program in several copies at the same time, each with what its environment has more.

        Args:
            environments: of the copies.
            words: of all.
            program: of all.
            terminal: the path of one to which they write, in place of what is given back.
        """
        assert self._process.stdin
        assert self._process.stdout
        case = {"program": program, "words": words, "environments": environments, "terminal": terminal}
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        return [Ended(*each) for each in json.loads(self._process.stdout.readline())]
