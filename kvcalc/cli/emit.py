"""--emit: the launch line or the file of what a command has found, instead of its result."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from kvcalc.cli.colour import labelled
from kvcalc.cli.output import deliver
from kvcalc.errors import KvcalcError, one_line
from kvcalc.note import Note
from kvcalc.scenario.option import Option

TARGETS = ("vllm", "sglang", "llama-server", "trtllm-serve", "compose", "helm")
"""What can be emitted."""
_OTHERWISE = ("how", "json", "unit", "explain", "check", "cache_memory")
"""Options of a result that is not printed, or of no server."""


class Emit(TypedDict, total=False):
    """Instead of a result."""

    emit: Annotated[
        str | None,
        Option(
            "|".join(TARGETS),
            "Print the line that launches the server, or a file, instead of the result.",
            panel="Output",
            values=lambda: TARGETS,
        ),
    ]


def emit(command: str, model: str | None, given: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Write the line or the file, and notes to stderr.

    Args:
        command: whose result it is of.
        model: as it is named.
        given: all that the command line has.
        options: those of them that the result depends on.

    Raises:
        KvcalcError: an option that says how a result is printed, or no such server can be launched.
    """
    from kvcalc.verbs.launch.of_verbs import launched

    for name in _OTHERWISE:
        if given.get(name):
            flag = "--format" if name == "how" else f"--{name.replace('_', '-')}"
            raise KvcalcError(f"{flag}: is of a result, and --emit prints a launch line instead; leave one of them out")
    found = launched(command, given["emit"], model, options)
    deliver(found.text, given.get("output_file"))
    _tell(found.notes)


def _tell(notes: tuple[Note, ...]) -> None:
    for note in notes:
        sys.stderr.write(labelled("note", one_line(note.text), sys.stderr) + "\n")
