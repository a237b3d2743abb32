"""Commands whose parameters are text: typer splits the words of a command line, and kvcalc reads the values itself.

All messages are then in one style, and typer's own conversion, which loads half of pydantic, has nothing to do.
"""

from __future__ import annotations

import glob
import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from kvcalc.cli.output_options import DEFAULT_UNIT
from kvcalc.errors import KvcalcError
from kvcalc.units import SIZE_UNITS, with_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COMPLETES = "_KVCALC_COMPLETE"
"""The variable of the environment that is set while a shell completes a command line."""

_SHARD = re.compile(r"-\d+-of-\d+\.gguf$")


class TextCommand(TyperCommand):
    """A command whose parameters are text, lists of text or flags, so that there is nothing to convert."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _unconverted(super().get_params(ctx))

    def get_help(self, ctx: Any) -> str:
        return _help(self, ctx)

    def invoke(self, ctx: Any) -> Any:
        if ctx.params.get("output_file") not in {None, "-"} and ctx.params.get("scheduler") is None:  # a folder
            _refuse_destination(ctx.params)
        try:
            return super().invoke(ctx)
        except KvcalcError as error:
            unit = (ctx.params["unit"] or DEFAULT_UNIT) if "unit" in ctx.params else None
            if unit in SIZE_UNITS:
                error.args = tuple(with_unit(str(line), unit) for line in error.args)
            raise


class TextGroup(TyperGroup):
    """A group of such commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _unconverted(super().get_params(ctx))

    def get_help(self, ctx: Any) -> str:
        return _help(self, ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if ctx.resilient_parsing or args[0] in self.commands or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        from kvcalc.cli.unknown_command import unknown_command  # only where it is wrong

        raise unknown_command(ctx.command_path, args, self.commands)


def _help(command: Any, context: Any) -> str:
    from kvcalc.cli.help import help_of

    return help_of(command, context).removesuffix("\n")


def _unconverted(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        parameter.process_value = partial(_process, parameter)
        if _takes_one_value(parameter):
            parameter.add_to_parser = partial(_collect, parameter)
    return parameters


def _takes_one_value(parameter: Any) -> bool:
    return parameter.param_type_name == "option" and not (parameter.multiple or parameter.is_flag or parameter.count)


def _collect(parameter: Any, parser: Any, context: Any) -> None:  # noqa: ARG001  # as typer calls it
    """Have the parser keep every value, of which it would pass on the last."""
    parser.add_option(obj=parameter, opts=parameter.opts, dest=parameter.name, action="append", nargs=parameter.nargs)


def _process(parameter: Any, context: Any, value: Any) -> Any:
    if value is None and parameter.required:
        return type(parameter).process_value(parameter, context, value)  # says what is missing
    if parameter.multiple and value is None:
        value = []
    if isinstance(value, list) and _takes_one_value(parameter):
        if len(value) > 1 and not context.resilient_parsing:  # while a shell completes, nothing is said
            raise KvcalcError(
                f"{'/'.join(parameter.opts)}: takes one value, and is given {' and '.join(map(_quoted, value))}"
            )
        value = value[-1]
    return value if parameter.callback is None else parameter.callback(context, parameter, value)


def _quoted(value: str) -> str:
    return f"'{value[:60]}'"


def _refuse_destination(given: Mapping[str, Any]) -> None:
    """Refuse to write the result over the model that it is of, or where it cannot be written."""
    from kvcalc.cli.destination import refuse_unwritable

    target = str(given["output_file"])
    models = (given.get("model"), given.get("source"), *(given.get("models") or ()))
    if any(model is not None and _is_read(model, target) for model in models):
        raise KvcalcError(f"-o: {target} is the model that is read; write to another file")
    for name, read in (("from_log", "log"), ("from_file", "file")):
        if given.get(name) is not None and _is_read(given[name], target):
            raise KvcalcError(f"-o: {target} is the {read} that is read; write to another file")
    refuse_unwritable(target)


def _is_read(model: str, target: str) -> bool:
    """Whether a model's name leads to the file."""
    with suppress(OSError, ValueError):  # no file, or a name that cannot be one
        return any(path.samefile(os.path.realpath(target)) for path in _files_of(Path(model)))
    return False


def _files_of(model: Path) -> Iterator[Path]:
    """The file itself; of a checkpoint's folder, all that tells of it; beside a shard, the others."""
    if model.is_dir() or model.name == "config.json":
        folder = model if model.is_dir() else model.parent
        yield from (
            path for path in folder.iterdir() if path.name.endswith(("config.json", "safetensors", ".index.json"))
        )
    elif _SHARD.search(model.name):
        yield from model.parent.glob(f"{glob.escape(_SHARD.sub('', model.name))}-*-of-*.gguf")
    yield model
