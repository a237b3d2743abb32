"""Pages of the documentation that are written from the code: the glossary, commands, mechanisms, engines, formats.

mkdocs asks for them as it builds (`hooks.py`). The glossary and the engines' pages also lie in the repository; a test
compares them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from engine_pages import page  # it lies beside this file
from typer.main import get_command

from kvcalc.cli.app import COMMANDS, run
from kvcalc.render.screens.explain import GROUPS
from kvcalc.verbs.explain import topics

if TYPE_CHECKING:
    from kvcalc.verbs.explanation import Explanation

ADDRESS = {"mechanism": "mechanisms/{}.md", "engine": "engines/{}.md"}
"""Topics whose members have a page each."""


def pages() -> dict[str, str]:
    """Markdown by path."""
    found = topics().topics
    written = {"glossary.md": _glossary(found), "reference/formats.md": _formats(found)}
    for each in found:
        if each.topic in ADDRESS:
            written[ADDRESS[each.topic].format(each.name)] = page(each) if each.topic == "engine" else _page(each)
    for name, shown in _commands():
        written[f"commands/{name.replace(' ', '-')}.md"] = f"# kvcalc {name}\n\n```text\n{shown}```\n"
    return written


def _glossary(found: tuple[Explanation, ...]) -> str:
    parts = ["# Glossary", "", "`kvcalc explain WORD` shows the same."]
    for topic, title in GROUPS.items():
        words = [each for each in found if each.topic == topic and topic not in {*ADDRESS, "format", "articles"}]
        if words:
            parts += ["", f"## {title}", ""]
            parts += [line for each in words for line in _entry(each)]
    return "\n".join(parts) + "\n"


def _entry(word: Explanation) -> Iterator[str]:
    yield f"### {word.name}"
    yield ""
    yield f"**{word.title}.** {word.keeps}."
    if word.formula:
        yield f"Formula: {word.formula}."
    if word.flags:
        yield "Engines: " + "; ".join(f"{each.engine} `{each.flag}`" for each in word.flags) + "."
    if word.example:
        yield f"Example: {word.example}."
    yield ""


def _formats(found: tuple[Explanation, ...]) -> str:
    rows = (
        f"| `{each.name}` | {each.keeps} | {each.formula} | {each.source} |" for each in found if each.topic == "format"
    )
    return "\n".join(("# Formats", "", "| format | is | takes | source |", "| --- | --- | --- | --- |", *rows)) + "\n"


def _page(each: Explanation) -> str:
    parts = [
        f"# {each.title}",
        "",
        f"{each.keeps}.",
        "",
        f"**Formula**: {each.formula}",
        "",
        f"**Source**: {each.source}",
        "",
    ]
    if each.fields:
        parts += [f"**Keys of a model file**: {', '.join(f'`{key}`' for key in each.fields)}", ""]
    if each.example:
        parts += [f"**Example**: {each.example}", ""]
    if each.sayings:
        parts += [
            "## What articles say",
            "",
            "| topic | they say | who | by the formula |",
            "| --- | --- | --- | --- |",
        ]
        parts += [
            f"| {one.topic} | {one.words} | {one.source} | {one.verdict}: {one.because} |" for one in each.sayings
        ]
        parts.append("")
    return "\n".join(parts)


def _commands() -> Iterator[tuple[str, str]]:
    """The words of each command, and its help as it is printed."""
    for name, module in COMMANDS.items():
        app = typer.Typer()
        import_module(module).register(app)
        found = get_command(app)
        for words in _members(name, getattr(found, "commands", {}).get(name, found)):
            printed = io.StringIO()
            with redirect_stdout(printed):
                run([*words.split(), "--help"])
            yield words, printed.getvalue()


def _members(name: str, command: Any) -> list[str]:
    members = getattr(command, "commands", {})
    return [f"{name} {each}" for each in members] if members else [name]
