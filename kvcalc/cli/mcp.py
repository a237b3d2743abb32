"""kvcalc mcp: the verbs as tools for agents, on standard input and output."""

import os
import sys
from typing import Annotated, Any, TypedDict

import typer

from kvcalc.cli.parameters import takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.scenario.option import Option


class Allowed(TypedDict, total=False):
    """What agents may have read."""

    files: Annotated[
        list[str] | None,
        Option("FOLDER", "Let models be files in FOLDER (none is read); repeatable.", repeatable=True),
    ]
    hub: Annotated[bool, Option("", "Let models be hf:ORG/NAME, which asks the Hugging Face Hub.", default=False)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp", cls=TextCommand)(mcp_command)


@takes(Allowed)
def mcp_command(**given: Any) -> None:
    """A server of the Model Context Protocol on stdio: the other commands as tools for agents."""
    if getattr(sys.stdin, "buffer", None) is None or getattr(sys.stdout, "buffer", None) is None:
        raise CannotRunError("mcp: standard input and output are closed, on which a client asks and is answered")
    from kvcalc.access import Access
    from kvcalc.mcp.server import serve

    serve(Access(tuple(_real(folder) for folder in given["files"] or ()), hub=given["hub"]))


def _real(folder: str) -> str:
    if not os.path.isdir(folder):  # noqa: PTH112  # as given
        raise KvcalcError(f"--files: {folder[:200]}: no such folder")
    return os.path.realpath(folder)
