"""What an option is: its name, how it is written and read, its default. The command line and Python are made of it."""

from __future__ import annotations

import inspect
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from kvcalc.errors import did_you_mean
from kvcalc.named_tuple import NamedTuple
from kvcalc.scenario.reading import as_given

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kvcalc.scenario.reading import Reader

F = TypeVar("F", bound="Callable[..., object]")


class Option(NamedTuple):
    """Stands beside the type of a keyword, in a TypedDict: `batch: Annotated[int | str, Option("N", ...)]`.

    Attributes:
        metavar: stands for the value in help; empty for a switch, which is there or not.
        help: a sentence.
        panel: the heading in help that it stands under.
        default: as it is where nothing is given, already read; help shows it behind the sentence.
        read: makes what a scenario takes of the value given; it refuses what cannot be.
        flags: as a command line has it; empty for the keyword with dashes.
        repeatable: whether a command line may give it several times.
        values: what a shell completes it to; a function, since it is hardly ever wanted.
        separators: characters of a value after which another of those begins.
    """

    metavar: str
    help: str
    panel: str | None = None
    default: Any = None
    read: Reader = as_given
    flags: tuple[str, ...] = ()
    repeatable: bool = False
    values: Callable[[], Iterable[str]] | None = None
    separators: str = ""

    @property
    def label(self) -> str:
        """Its long flag, as messages name it."""
        return next(each for each in self.flags if each.startswith("--"))

    @property
    def sentence(self) -> str:
        """Its help, with the default."""
        if self.default is None or self.default is False:
            return self.help
        return f"{self.help.removesuffix('.')} ({self.default})."


@cache
def options_of(table: Any) -> Mapping[str, Option]:
    """Keyword -> option of a TypedDict, in its order."""
    found: dict[str, Option] = {}
    for name, hint in table.__annotations__.items():
        option: Option = hint.__metadata__[0]
        found[name] = option if option.flags else option._replace(flags=(f"--{name.replace('_', '-')}",))
    return found


def given_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are given: None is not, and neither is a switch that is off."""
    return {name: value for name, value in options.items() if value is not None and value is not False}


def split_options(table: Any, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that the table has, and all others."""
    known = options_of(table)
    own = {name: value for name, value in options.items() if name in known}
    return own, {name: value for name, value in options.items() if name not in known}


def read_options(table: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every option of the table, read; of those that are not given the default.

    Raises:
        KvcalcError: a value cannot be.
    """
    known = options_of(table)
    values = {name: option.default for name, option in known.items()}
    for name, value in options.items():
        if value is not None:
            values[name] = known[name].read(value, known[name].label)
    return values


def accepts(table: Any) -> Callable[[F], F]:
    """Shows the options of a function in its signature and its help, and refuses others.

    Args:
        table: the TypedDict that the function's `**options` unpack.
    """

    def decorated(function: F) -> F:
        options = options_of(table)
        own = inspect.signature(function)
        named = [each for each in own.parameters.values() if each.kind is not each.VAR_KEYWORD]
        known = {each.name for each in named} | options.keys()

        @wraps(function)
        def checked(*args: Any, **given: Any) -> object:
            if unknown := given.keys() - known:
                near = did_you_mean(min(unknown), known)
                raise TypeError(f"{function.__name__}() got an unexpected keyword argument '{min(unknown)}'{near}")
            return function(*args, **given)

        keywords = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=option.default,
                annotation=table.__annotations__[name].__origin__,
            )
            for name, option in options.items()
        ]
        checked.__signature__ = own.replace(parameters=[*named, *keywords])  # type: ignore[attr-defined]  # for help()
        lines = "\n".join(f"        {name}: {option.sentence}" for name, option in options.items())
        checked.__doc__ = f"{function.__doc__ or ''}\n    Options:\n{lines}\n"
        return cast("F", checked)

    return decorated
