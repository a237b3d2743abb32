"""Which command is meant, and what happens to its errors."""

import shlex
import sys
from functools import cache
from importlib import import_module
from os import environ
from typing import Any

import typer

from kvcalc.cli.colour import coloured_next, labelled
from kvcalc.cli.interrupt import STATUS
from kvcalc.cli.text_command import COMPLETES, TextGroup
from kvcalc.errors import ExitCode, KvcalcError, one_line
from kvcalc.units import AmbiguousCountError

COMMANDS = {
    "estimate": "kvcalc.cli.estimate",
    "capacity": "kvcalc.cli.capacity",
    "plan": "kvcalc.cli.plan",
    "compare": "kvcalc.cli.compare",
    "demand": "kvcalc.cli.demand",
    "sweep": "kvcalc.cli.sweep",
    "plot": "kvcalc.cli.plot",
    "report": "kvcalc.cli.report",
    "verify": "kvcalc.cli.verify",
    "bench": "kvcalc.cli.bench",
    "models": "kvcalc.cli.models",
    "gpus": "kvcalc.cli.gpus",
    "explain": "kvcalc.cli.explain",
    "mcp": "kvcalc.cli.mcp",
    "web": "kvcalc.cli.web",
}
"""Command -> the module whose `register(app)` adds it."""

_ALONE: tuple[list[str], ...] = ([], ["models"], ["gpus"])
"""Lines that lack a command, and are answered with those that there are."""

UsageError: Any = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "UsageError")
"""What typer raises where it cannot split the words of a command line."""

_ABOUT = "Size the KV cache of a language model, exactly, and count the GPUs that hold it."


def run(arguments: list[str]) -> int:
    """Run one command line and give its exit code."""
    try:
        return _call([*arguments, "--help"] if arguments in _ALONE else arguments)
    except AmbiguousCountError as error:
        return _complain(error.exit_code, *error.args, *_readings(arguments, error))
    except KvcalcError as error:
        from kvcalc.cli.typed_again import typed_again  # only where something went wrong

        return _complain(error.exit_code, *typed_again(arguments, error))
    except KeyboardInterrupt:
        return STATUS
    except OSError as error:
        return _complain(ExitCode.CANNOT_RUN, f"{error.filename or 'output'}: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001  # a user gets a sentence, never a traceback
        message = f"a bug in kvcalc: {type(error).__name__}: {error}; nothing was computed"
        return _complain(ExitCode.CANNOT_RUN, message)


def _call(arguments: list[str]) -> int:
    try:
        command = _command(arguments)
        made = _made(command if command in COMMANDS else "", completing=COMPLETES in environ)
        code = made(args=arguments, prog_name="kvcalc", obj=arguments, standalone_mode=False)
    except SystemExit as done:
        sys.stdout.flush()
        return done.code if isinstance(done.code, int) else ExitCode.DONE
    except UsageError as error:
        from kvcalc.cli.typed_again import step_of_usage  # only where something went wrong

        command = error.ctx.command_path if error.ctx else f"kvcalc {arguments[0]}"
        told = _first_small(error.format_message())
        step = step_of_usage(arguments, command, getattr(error, "option_name", None), told)
        return _complain(ExitCode.BAD_INPUT, told, step)
    sys.stdout.flush()
    return code if isinstance(code, int) else ExitCode.DONE


def _first_small(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].removesuffix(".")


SO_FAR = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
"""Variables of the environment for the words that a shell would complete: bash's, and those of the other shells."""


def _command(arguments: list[str]) -> str:
    """The first word; of a line that a shell has so far, the word after the program's name."""
    if COMPLETES not in environ:
        return arguments[0]
    _, *words = " ".join(environ.get(name, "") for name in SO_FAR).split() or [""]
    return words[0] if words else arguments[0]


@cache
def _made(command: str, *, completing: bool) -> Any:  # noqa: ARG001  # which _app looks for too
    """What splits a command line and calls the command: made once for all lines that a process runs."""
    return typer.main.get_command(_app(command))


def _app(command: str) -> typer.Typer:
    """The application with the command that is called, or with all of them where help or a correction is needed.

    Args:
        command: its name, or another word.
    """
    app = typer.Typer(
        name="kvcalc",
        cls=TextGroup,
        help=_ABOUT,
        rich_markup_mode=None,
        add_completion=command not in COMMANDS or COMPLETES in environ,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def _root(
        version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
    ) -> None:
        pass

    modules = [COMMANDS[command]] if command in COMMANDS else list(COMMANDS.values())
    for module in modules:
        import_module(module).register(app)
    return app


def _version(asked: bool) -> None:
    if asked:
        from kvcalc import __version__  # a cycle otherwise

        typer.echo(f"kvcalc {__version__}")
        raise typer.Exit


def _complain(code: ExitCode, *lines: str) -> ExitCode:
    first, *others = map(one_line, lines)
    told = [labelled("error", first, sys.stderr), *(coloured_next(line, sys.stderr) for line in others)]
    sys.stderr.write("\n".join(told) + "\n")
    return code


def _readings(arguments: list[str], error: AmbiguousCountError) -> tuple[str, str]:
    """The command line that was typed, mended in both ways."""

    def mended(reading: str) -> str:
        words = [
            reading
            if word == error.text
            else word.removesuffix(error.text) + reading
            if word.endswith(f"={error.text}") or (word.startswith("-") and word.endswith(error.text))
            else word
            for word in arguments
        ]
        return f"  {shlex.join(['kvcalc', *words])}"

    return mended(error.decimal), mended(error.binary)
