"""The types of a class's fields, and what its docstring says of them.

Results keep their annotations as text, and import most types for type checkers alone. Here, where nobody waits for a
start, those imports are made.
"""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_ATTRIBUTES = re.compile(r"^Attributes:\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def hints_of(kind: type[Any]) -> dict[str, Any]:
    """The type of each annotated name of a class, in order; those of `Annotated` with what stands beside it."""
    found: dict[str, Any] = {}
    for each in reversed(kind.__mro__[:-1]):
        found |= inspect.get_annotations(each, globals=dict(names_in(each.__module__)), eval_str=True)
    return found


def returned_by(kind: type[Any], name: str) -> Any:
    """The type of a property."""
    getter = inspect.getattr_static(kind, name).fget
    return inspect.get_annotations(getter, globals=dict(names_in(getter.__module__)), eval_str=True)["return"]


@cache
def names_in(module: str) -> Mapping[str, Any]:
    """The names of a module, and those that it imports for type checkers alone."""
    loaded = import_module(module)
    names: dict[str, Any] = dict(vars(loaded))
    for statement in ast.parse(inspect.getsource(loaded)).body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for each in statement.body:
                if isinstance(each, ast.ImportFrom) and each.module:
                    home = import_module(each.module)
                    names |= {alias.asname or alias.name: getattr(home, alias.name) for alias in each.names}
    return names


def sentence_of(kind: type[Any]) -> str:
    """What a class is: the beginning of its docstring."""
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())


def said_of(kind: type[Any]) -> dict[str, str]:
    """What the docstrings of a class and of its bases say of each attribute."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        section = _ATTRIBUTES.search(inspect.cleandoc(each.__doc__ or ""))
        if section:
            found |= {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(section[1])}
    return found
