"""Commands whose parameters are text: typer splits the words of a command line, and kvcalc reads the values itself.

All messages are then in one style, and typer's own conversion, which loads half of pydantic, has nothing to do.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from typer.core import TyperCommand, TyperGroup

from kvcalc.cli.output_options import DEFAULT_UNIT
from kvcalc.errors import KvcalcError
from kvcalc.units import SIZE_UNITS, with_unit

COMPLETES = "_KVCALC_COMPLETE"
"""The variable of the environment that is set while a shell completes a command line."""


class TextCommand(TyperCommand):
    """A command whose parameters are text, lists of text or flags, so that there is nothing to convert."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _unconverted(super().get_params(ctx))

    def get_help(self, ctx: Any) -> str:
        return _help(self, ctx)

    def invoke(self, ctx: Any) -> Any:
        if ctx.params.get("output_file") not in {None, "-"} and ctx.params.get("scheduler") is None:  # a folder
            from kvcalc.cli.not_over_input import refuse_destination  # only where a file is written

            refuse_destination(ctx.params)
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
