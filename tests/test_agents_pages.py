"""What agents are told: each command works, each flag and each field is there, each page exists."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import typer
from conftest import ROOT, Kvcalc
from vllm_start_ups import V0_6_6

from kvcalc.cli.app import _app
from kvcalc.schema import commands, output_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("SKILL.md", "llms.txt", "agents.md")}
SKILL = PAGES["SKILL.md"]
LINES = sorted({line for text in PAGES.values() for line in re.findall(r"`kvcalc ([^`]+)`", text)})
RUN = [line for line in LINES if len(line.split()) > 1 and not line.startswith(("mcp", "verify --device"))]


def test_commands_were_found() -> None:
    assert len(RUN) >= 12


@pytest.mark.parametrize("line", [pytest.param(each, marks=[pytest.mark.torch] * ("verify" in each)) for each in RUN])
def test_a_command_works(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kvcalc: Kvcalc) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.log").write_text(V0_6_6, encoding="utf-8")
    run = kvcalc(*shlex.split(line))
    assert (run.code, bool(run.stdout)) == (0, True), run.stderr


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_is_there(page: str) -> None:
    known = {
        flag for command in _all(typer.main.get_command(_app(""))) for each in command.params for flag in each.opts
    }
    told = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(re.findall(r"`([^`]+)`", PAGES[page]))))
    assert told - known == set()


def _all(command: Any) -> Iterator[Any]:
    yield command
    for inner in getattr(command, "commands", {}).values():
        yield from _all(inner)


def test_every_field_is_there() -> None:
    """Under its command's heading, and everywhere else under any command."""
    known = {name: {*_paths(output_schema(name))} for name in commands()}
    every = {path for paths in known.values() for path in paths}
    section = SKILL.split("## What to read of the JSON\n")[1].split("\n## ")[0]
    for command, text in re.findall(r"^- `(\w+)`: (.*?)(?=^- |\Z)", section, re.MULTILINE | re.DOTALL):
        fields = set(re.findall(r"`([a-z_.]+)`", text))
        assert fields, command
        assert {each for each in fields if not _among(each, known[command])} == set()
    told = set(re.findall(r"`([a-z]+(?:[._][a-z_.]+)+)`", SKILL))
    assert {each for each in told if not _among(each, every)} == set()


def _among(field: str, paths: set[str]) -> bool:
    """A path, or the end of one: the key of a row."""
    return any(path == field or path.endswith(f".{field}") for path in paths)


def _paths(schema: dict[str, Any]) -> Iterator[str]:
    definitions = schema.get("$defs", {})
    waiting: list[tuple[dict[str, Any], str]] = [(schema, "")]
    seen: set[tuple[str, str]] = set()
    while waiting:
        here, at = waiting.pop()
        if "$ref" in here:
            if (here["$ref"], at) in seen:
                continue
            seen.add((here["$ref"], at))
            here = definitions[here["$ref"].rpartition("/")[2]]
        waiting += [(each, at) for each in (*here.get("anyOf", ()), here.get("items")) if isinstance(each, dict)]
        for name, inner in here.get("properties", {}).items():
            path = f"{at}.{name}" if at else name
            yield path
            if path.count(".") <= 4:
                waiting.append((inner, path))


@pytest.mark.parametrize("page", PAGES)
def test_every_page_that_is_linked_is_there(page: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]) if "://" not in link]
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []


def test_the_list_of_pages_has_every_page_of_the_site() -> None:
    nav = re.findall(r"^ +- [^:]+: (\S+)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    without = {"index.md", "models-left-out.md"}
    assert {page for page in nav if page not in without} <= set(re.findall(r"\((\S+\.md)\)", PAGES["llms.txt"]))


def test_a_skill_begins_with_its_name_and_what_it_is_for() -> None:
    front = re.match(r"---\nname: ([a-z-]{1,64})\ndescription: ((?:.|\n  )+)\n---\n", SKILL)
    assert front is not None
    assert front[1] == "kvcalc"
    assert len(front[2]) <= 1024
    assert "Use it for" in front[2]
