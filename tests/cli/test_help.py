"""Help: whole texts, their panels and examples, and what is said of a first word that is no command."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import Kvcalc

from kvcalc.cli.app import _app
from kvcalc.cli.examples import GUIDES
from kvcalc.cli.help import PANELS

GOLDEN = Path(__file__).parent / "help"


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    yield " ".join(path)
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def test_every_command_has_examples() -> None:
    assert {*commands(typer.main.get_command(_app("")))} == {*GUIDES}
    assert all(guide.examples and guide.see_also for guide in GUIDES.values())
    assert max(len(example) for guide in GUIDES.values() for example in guide.examples) <= 78


@pytest.mark.parametrize("command", GUIDES)
def test_help_is_as_it_was(command: str, kvcalc: Kvcalc) -> None:
    """UPDATE_GOLDENS=1 writes it anew; read the difference before committing it."""
    printed = kvcalc(*command.split(), "--help").stdout
    golden = GOLDEN / f"{command.replace(' ', '-') or 'kvcalc'}.txt"
    if os.environ.get("UPDATE_GOLDENS"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(printed, encoding="utf-8")
    assert printed == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["estimate", "capacity", "plan", "compare", "verify"])
def test_panels_have_one_order(command: str, kvcalc: Kvcalc) -> None:
    shown = kvcalc(command, "-h").stdout
    headings = re.findall(r"^(\w[\w ]*):$", shown, re.MULTILINE)
    assert headings == ["Examples", "Arguments", *(panel for panel in PANELS if panel in headings)]
    assert {"Workload", "Memory", "Output"} <= {*headings}
    assert "<" not in shown


EXAMPLES = [
    example
    for guide in GUIDES.values()
    for example in guide.examples
    if not re.search(r"hf:|\./| -o |verify|kvcalc (mcp|web|bench)", example) and " list" not in example
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_an_example_of_what_works(example: str, kvcalc: Kvcalc) -> None:
    run = kvcalc(*shlex.split(example)[1:])
    assert run.code == 0, run.stderr
    assert run.stdout


def test_a_model_in_the_place_of_a_command(kvcalc: Kvcalc) -> None:
    run = kvcalc("llama-3-70b", "-b", "32")
    assert (run.code, run.stdout) == (2, "")
    assert run.stderr == (
        "error: no command 'llama-3-70b': it names a model, and a command comes first\n"
        "next: kvcalc estimate llama-3-70b -b 32\n"
    )
    assert "next: kvcalc estimate hf:ORG/NAME" in kvcalc("hf:ORG/NAME").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("estimat llama-3-70b", "error: no command 'estimat'; did you mean 'estimate'?\nnext: kvcalc --help\n"),
        ("models lst", "error: no command 'lst'; did you mean 'list'?\nnext: kvcalc models --help\n"),
        ("estimate llama-3-8b --bath 3", "error: no such option: --bath"),
        ("gpus show", "error: missing argument"),
    ],
)
def test_a_mistaken_word(words: str, said: str, kvcalc: Kvcalc) -> None:
    run = kvcalc(*words.split())
    assert (run.code, run.stdout) == (2, "")
    assert run.stderr.startswith(said)
    assert run.stderr.endswith("--help\n")


@pytest.mark.parametrize("command", ["estimate", "plan", "sweep"])
def test_an_option_of_capacity_alone_leads_there(command: str, kvcalc: Kvcalc) -> None:
    run = kvcalc(command, "--from-command", "vllm serve Qwen/Qwen3-8B", "--gpu", "l40s")
    assert run.code == 2
    assert run.stderr.endswith("next: kvcalc capacity --from-command 'vllm serve Qwen/Qwen3-8B' --gpu l40s\n")


@pytest.mark.parametrize("name", ["--users", "--concurrency"])
def test_other_names_of_the_batch(name: str, kvcalc: Kvcalc) -> None:
    for command in ("estimate", "plan", "capacity"):
        words = (command, "llama-3-8b", "-c", "8192", "--json")
        assert kvcalc(*words, name, "4") == kvcalc(*words, "--batch", "4")
