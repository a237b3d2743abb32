"""YAML that may be hostile, read to plain values with the place of each.

PyYAML's event parser does the syntax; this composes the values itself, so that it can keep every position, follow YAML
1.2's core schema ('no' is a word, '1e9' is a number) and refuse what no model file needs: duplicate keys, aliases and
anchors, tags, merge keys, second documents, deep nesting, large files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from kvcalc.catalogue.yaml_scalars import Scalar, plain_scalar
from kvcalc.errors import KvcalcError
from kvcalc.files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_VALUES = 100_000
_SHOWN = 120

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_NOT_ALLOWED = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|(?:(?<=[\n\r\x85\u2028\u2029])|\\A)%"
)
"""What YAML calls not printable, and directives, which no model file needs."""

Value = Scalar | list["Value"] | dict[str, "Value"]
Place = tuple[str | int, ...]


class Mark(NamedTuple):
    """A position, counted from zero."""

    line: int
    column: int


class Document(NamedTuple):
    """A file's values, and where each of them is.

    Attributes:
        name: of the file, for messages.
        lines: of the file.
        values: where the value at a path begins.
        keys: where the key at a path begins.
    """

    name: str
    lines: tuple[str, ...]
    root: Value
    values: dict[Place, Mark]
    keys: dict[Place, Mark]

    def error(self, mark: Mark, message: str) -> KvcalcError:
        """An error that shows the place: file:line:column, the line, a caret."""
        return KvcalcError(*_located(self.name, self.lines, mark, message))


def read_yaml(path: Path, name: str | None = None) -> Document:
    """The one document in a YAML file.

    Raises:
        KvcalcError: the file cannot be read, is too large, or is not the YAML that is accepted here.
    """
    shown = name or str(path)
    data = read_bytes(path, shown, MAX_BYTES)
    if len(data) > MAX_BYTES:
        raise KvcalcError(f"{shown}: larger than {MAX_BYTES:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise KvcalcError(f"{shown}:{line}: not UTF-8 text (byte {error.start})") from error
    return parse_yaml(text, shown)


def parse_yaml(text: str, name: str) -> Document:
    """The one document in a YAML text; `name` is the file's in messages."""
    refused = _NOT_ALLOWED.search(text)
    if refused:
        before = _BREAK.split(text[: refused.start()])
        what = "a directive (%)" if refused[0] == "%" else "a character that YAML does not allow"
        place = Mark(len(before) - 1, len(before[-1]))
        raise KvcalcError(*_located(name, _BREAK.split(text), place, what))
    lines = tuple(text.splitlines())
    try:
        return _Reader(name, lines).read(_events(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Mark(mark.line, mark.column) if mark else Mark(0, 0)
        problem = error.problem or error.context or "not valid YAML"
        raise KvcalcError(*_located(name, lines, place, f"not valid YAML: {problem}")) from error


def _events(text: str) -> Iterator[yaml.Event]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return iter(yaml.parse(text, Loader=loader))


class _Reader:
    def __init__(self, name: str, lines: Sequence[str]) -> None:
        self.name, self.lines = name, tuple(lines)
        self.values: dict[Place, Mark] = {}
        self.keys: dict[Place, Mark] = {}
        self.count = 0

    def read(self, events: Iterator[yaml.Event]) -> Document:
        root: Value = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.error(_mark(event), "a second document: one file holds one")
                root = self.value(next(events), events, ())
        if not documents:
            raise KvcalcError(f"{self.name}: the file is empty")
        return Document(self.name, self.lines, root, self.values, self.keys)

    def value(self, event: yaml.Event, events: Iterator[yaml.Event], path: Place) -> Value:
        mark = _mark(event)
        self.values[path] = mark
        self.count += 1
        if self.count > MAX_VALUES:
            raise self.error(mark, f"more than {MAX_VALUES:,} values")
        if len(path) > MAX_DEPTH:
            raise self.error(mark, f"nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            raise self.error(mark, "an alias (*name): write the value out")
        if getattr(event, "anchor", None) is not None:
            raise self.error(mark, "an anchor (&name): write the value out where it is used")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self.error(mark, f"a tag ({str(tag)[:40]}): values have their plain types")
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(events, path)
        return self.mapping(events, path)

    def sequence(self, events: Iterator[yaml.Event], path: Place) -> list[Value]:
        items: list[Value] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self.value(event, events, (*path, len(items))))
        return items

    def mapping(self, events: Iterator[yaml.Event], path: Place) -> dict[str, Value]:
        items: dict[str, Value] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                raise self.error(_mark(event), "a key must be a word")
            key: str = event.value
            mark = _mark(event)
            if event.anchor is not None or event.tag is not None:
                raise self.error(mark, "a key must be a plain word, without anchor or tag")
            if key == "<<":
                raise self.error(mark, "a merge key (<<): write the values out")
            here = (*path, key)
            if key in items:
                first = self.keys[here].line + 1
                raise self.error(mark, f"duplicate key '{_short(key)}' (first at line {first})")
            self.keys[here] = mark
            items[key] = self.value(next(events), events, here)
        return items

    def scalar(self, event: yaml.ScalarEvent) -> Scalar:
        text: str = event.value
        if event.style:  # quoted, or a block of text
            return text
        try:
            return plain_scalar(text)
        except ValueError as error:
            raise self.error(_mark(event), str(error)) from error

    def error(self, mark: Mark, message: str) -> KvcalcError:
        return KvcalcError(*_located(self.name, self.lines, mark, message))


def _mark(event: yaml.Event) -> Mark:
    start: Any = event.start_mark
    return Mark(start.line, start.column)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _located(name: str, lines: Sequence[str], mark: Mark, message: str) -> tuple[str, ...]:
    """The message with its place, and where the line exists, the line and a caret below."""
    head = f"{name}:{mark.line + 1}:{mark.column + 1}: {message}"
    if mark.line >= len(lines):
        return (head,)
    line = lines[mark.line].replace("\t", " ")
    start = max(0, mark.column - _SHOWN // 2)
    shown = "".join(character if character.isprintable() else "?" for character in line[start : start + _SHOWN])
    number = f"{mark.line + 1:>6} | "
    return head, f"{number}{shown}", f"{' ' * (len(number) - 2)}| {' ' * (mark.column - start)}^"
