"""Options as typer's parameters: text, lists of text or switches, whose values kvcalc reads itself."""

import os
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, TypeVar

import typer

from kvcalc.cli.text_command import COMPLETES
from kvcalc.scenario.option import Option, options_of
from kvcalc.scenario.options import MODEL

Command = TypeVar("Command", bound=Callable[..., None])


def takes(*tables: Any, without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Gives a command the options of some tables, which reach it as keywords beside its own parameters.

    Args:
        tables: TypedDicts.
        without: options that it does not take.
    """
    options = {name: option for table in tables for name, option in options_of(table).items() if name not in without}
    shared = [_parameter(name, option) for name, option in options.items()]

    def with_options(command: Command) -> Command:
        own = [each for each in signature(command).parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
        vars(command)["__signature__"] = Signature([*own, *shared])
        return command

    return with_options


def may_be_several(given: Mapping[str, Any]) -> bool:
    """Whether an option may have several values: what looks closer takes a moment to import."""
    return any(isinstance(value, str) and ("," in value or ".." in value) for value in given.values())


def given_on_line(given: Mapping[str, Any], *tables: Any) -> dict[str, Any]:
    """Of the options of some tables, those that the command line has."""
    names = {name for table in tables for name in options_of(table)}
    return {name: value for name, value in given.items() if name in names and value not in (None, False, [])}


def _parameter(name: str, option: Option) -> Parameter:
    kind: Any = list[str] | None if option.repeatable else str | None if option.metavar else bool
    info = typer.Option(
        *option.flags,
        metavar=option.metavar or None,
        help=option.sentence,
        rich_help_panel=option.panel,
        autocompletion=_completion(option),
    )
    default = None if option.metavar else False
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info], default=default)


def argument(option: Option) -> Any:
    """What stands beside the type of a command's argument."""
    return typer.Argument(metavar=option.metavar, help=option.sentence, autocompletion=_completion(option))


def _completion(option: Option) -> Callable[..., list[str]] | None:
    """Only while a shell asks for it: typer looks closely at every such function."""
    if COMPLETES not in os.environ:
        return None
    if "--engine-option" in option.flags:
        return _engine_options
    if option.values is None:
        return None
    values = option.values

    def complete(incomplete: str) -> list[str]:
        return list(_completed(incomplete, values(), option.separators))

    return complete


def _engine_options(ctx: typer.Context, incomplete: str) -> list[str]:
    """KEY= of the engine that the line names; nothing where it names none or several."""
    from kvcalc.engines import ENGINES

    given = ctx.params.get("engine")
    engine = ENGINES.get(str(given[-1] if isinstance(given, list) else given or "").partition("@")[0])
    names = engine.options if engine else {}
    return [f"{name}=" for name in names if name.startswith(incomplete.replace("_", "-"))]


def _completed(incomplete: str, values: Any, separators: str) -> Iterator[str]:
    """What the last of several values may be, after those that are there; a card's slices at its colon."""
    start = max((incomplete.rfind(each) + 1 for each in separators), default=0)
    last = incomplete[start:]
    for value in values:
        if value.startswith(last) and (":" in last or ":" not in value):
            yield incomplete[:start] + value


ModelArgument = Annotated[str | None, argument(MODEL)]
RequiredModel = Annotated[str, argument(MODEL)]
ModelsArgument = Annotated[
    list[str] | None,
    argument(MODEL._replace(metavar="MODEL...", help=f"{MODEL.help} Several stand side by side.")),
]
