"""The command line: parse, call, render, exit code."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as typing's, without importing it

if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """The program `kvcalc`."""
    from kvcalc.cli.streams import prepare  # `import kvcalc.cli` needs nothing

    prepare()
    arguments = sys.argv[1:]
    if arguments == ["--version"]:  # answered before anything else is imported
        from kvcalc import __version__  # only for this answer

        try:
            sys.stdout.write(f"kvcalc {__version__}\n")
            sys.stdout.flush()
        except OSError as error:
            sys.stderr.write(f"error: {error.filename}: {error.strerror}\n")
            sys.exit(3)
        sys.exit(0)
    import gc

    # Importing makes objects that stay: looking through them for garbage takes a tenth of a run.
    gc.set_threshold(100_000)
    from kvcalc.cli.interrupt import STATUS, end_on_interrupt

    end_on_interrupt()
    try:
        from kvcalc.cli.app import run  # typer is needed from here on

        status = run(arguments)
        gc.freeze()  # else Python looks through all of it for garbage as it ends, which takes a sixth of a run
    except KeyboardInterrupt:
        status = STATUS
    sys.exit(status)
