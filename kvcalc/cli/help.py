"""Help as text: what a command does, examples, its options by panel, and related commands.

As wide as the terminal, and never wider than is pleasant to read.
"""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

from kvcalc.cli.colour import coloured, width_of
from kvcalc.cli.examples import GUIDES

if TYPE_CHECKING:
    from collections.abc import Iterator

PANELS = (
    "Axes",
    "Workload",
    "Requests",
    "Deployment",
    "Memory",
    "Tiers",
    "Drafting",
    "Adapters",
    "Verification",
    "Model",
    "Rows",
    "Output",
)
"""In this order; options without a panel come last."""

_WIDEST = 100
_NAMES = 28
"""Columns of an option's name, behind which its sentence begins."""


def help_of(command: Any, context: Any) -> str:
    """The whole help of a command or of a group of commands."""
    width = max(30, min(width_of(sys.stdout, _WIDEST) or _WIDEST, _WIDEST))
    path = context.command_path
    guide = GUIDES.get(path.removeprefix("kvcalc").strip())
    blocks = [
        f"{_heading('Usage:')} {path} {' '.join(_usage(command))}",
        *(_folded(paragraph, width) for paragraph in (command.help or "").strip().split("\n\n")),
    ]
    if guide is not None and guide.examples:
        blocks.append(_section("Examples", (f"  {_literal(example)}" for example in guide.examples)))
    if commands := getattr(command, "commands", None):
        rows = [(name, (each.help or "").strip().split("\n\n")[0]) for name, each in commands.items()]
        blocks.append(_section("Commands", _rows(rows, width)))
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    if arguments:
        blocks.append(_section("Arguments", _rows([(_argument(each), each.help) for each in arguments], width)))
    for panel, options in _panels(command, context).items():
        blocks.append(_section(panel, _rows([(_names(each), _sentence(each)) for each in options], width)))
    if guide is not None and guide.see_also:
        blocks.append(_folded(f"See also: {', '.join(guide.see_also)}", width))
    return "\n\n".join(blocks) + "\n"


def _usage(command: Any) -> Iterator[str]:
    yield "[OPTIONS]"
    if getattr(command, "commands", None):
        yield "COMMAND [ARGS]..."
    for each in command.params:
        if each.param_type_name == "argument":
            yield _argument(each)


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return name if parameter.required else f"[{name}]"


def _panels(command: Any, context: Any) -> dict[str, list[Any]]:
    """Options by the heading that they stand under, in the order of PANELS."""
    options = [each for each in command.get_params(context) if each.param_type_name == "option" and not each.hidden]
    named = {(getattr(each, "rich_help_panel", None) or PANELS[-1]) for each in options}
    order = [*(panel for panel in PANELS if panel in named), *sorted(named - {*PANELS})]
    grouped = {panel: [each for each in options if (each.rich_help_panel or PANELS[-1]) == panel] for panel in order}
    return {"Options": grouped[PANELS[-1]]} if list(grouped) == [PANELS[-1]] else grouped


def _names(parameter: Any) -> str:
    """Its letter and its first long name; further names for the same are told behind the sentence."""
    letters = [name for name in parameter.opts if not name.startswith("--")]
    shown = ", ".join([*letters, *_long_names(parameter)[:1]])
    return f"{shown} {parameter.metavar}" if parameter.metavar and not parameter.is_flag else shown


def _long_names(parameter: Any) -> list[str]:
    return [name for name in parameter.opts if name.startswith("--")]


def _sentence(parameter: Any) -> str:
    also = _long_names(parameter)[1:]
    return f"{parameter.help} Also {', '.join(also)}." if also else parameter.help or ""


def _section(title: str, lines: Iterator[str]) -> str:
    return "\n".join((_heading(f"{title}:"), *lines))


def _rows(rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    """A name and its sentence side by side; a long name has a line of its own, and all have on a narrow screen."""
    column = min(_NAMES, max(len(name) for name, _ in rows) + 2)
    if width < _NAMES + 30:
        column = 4
    for name, sentence in rows:
        lines = _wrapped(" ".join((sentence or "").split()), width - column - 2)
        if len(name) + 2 > column:
            yield f"  {_literal(name)}"
        else:
            yield f"  {_literal(name)}{' ' * (column - len(name))}{lines.pop(0) if lines else ''}".rstrip()
        yield from (f"  {' ' * column}{line}" for line in lines)


def _folded(text: str, width: int) -> str:
    return "\n".join(_wrapped(" ".join(text.split()), width))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(10, width), break_long_words=False, break_on_hyphens=False)


def _heading(text: str) -> str:
    return coloured(text, "heading", sys.stdout)


def _literal(text: str) -> str:
    return coloured(text, "literal", sys.stdout)
