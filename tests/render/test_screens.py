"""Every command on narrow and wide terminals: no word is cut, and no line is longer than the terminal."""

from __future__ import annotations

import io
import re
import shlex
from typing import Any

import pytest
from conftest import Kvcalc
from fuzzing import some
from rich.cells import cell_len

from kvcalc.cli import help as help_module
from kvcalc.cli import output
from kvcalc.cli.colour import labelled
from kvcalc.cli.examples import GUIDES
from kvcalc.render import Report
from kvcalc.render.terminal.bar import BLOCK
from kvcalc.render.terminal.table import draw
from kvcalc.units import with_unit

WIDTHS = (60, 80, 120)
MORE = (
    "estimate deepseek-v3 -b 16 -c 131072 --gpu h200",
    "estimate deepseek-v3.1 -b 8 -c 4096",
    "estimate llama-3-70b --tp 4 --batch 100 --context 8192 --shared-prefix 1024 --spill --explain",
    "estimate gemma-3-27b --engine vllm --batch 4 --context 32Ki --tp 2 --explain",
    "capacity qwen3.6-27b --engine llama-cpp --weights 14032MiB --cache-dtype q8_0 --gpu rtx3090 --explain",
    "plan deepseek-v3 --gpu h200,b200 --batch 16 --context 131072 --max-gpus 8",
    "plan llama-3-70b -c 8192 --max-gpus 1",
    "compare llama-3-70b --batch 32 --context 8192 --articles --explain",
    "models list --unit GB",
)
EXAMPLES = [
    example.removeprefix("kvcalc ")
    for guide in GUIDES.values()
    for example in guide.examples
    if not re.search(
        r"hf:|\./|\.yaml| -o |verify|models s|^kvcalc sweep|^kvcalc (?:mcp|web|bench|plot)| --emit ", example
    )
]
"""Those with a screen: sweep prints rows, plot a picture, --emit a line, and mcp and web serve."""
_MARKS = re.compile(r"[\u2588\\]+|.*\u2026")
"""Blocks of a bar, the end of a line that goes on, and a name that is shortened."""


def printed(report: Report, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    told = [labelled("note", with_unit(note.text, report.unit), Terminal()) for note in report.notes]
    return [*draw(report.view(), terminal=True).splitlines(), *"\n".join(told).splitlines()]


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        return True


def reported(words: str, kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> Report:
    """What a command line shows, before it is drawn."""
    reports: list[Report] = []

    def caught(report: Report, *_how: Any, **_terminal: Any) -> str:
        reports.append(report)
        return ""

    monkeypatch.setattr(output, "render", caught)
    assert kvcalc(*shlex.split(words)).code in {0, 1}
    (report,) = reports
    return report


@pytest.mark.parametrize("words", some(dict.fromkeys((*EXAMPLES, *MORE))))
def test_a_screen_at_every_width(words: str, kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    report = reported(words, kvcalc, monkeypatch)
    whole = {word for line in printed(report, 10_000, monkeypatch) for word in line.split()}
    for width in WIDTHS:
        lines = printed(report, width, monkeypatch)
        assert [line for line in lines if cell_len(line) > width and len(line.split()) > 1] == []
        shown = {word for line in lines for word in line.split()}
        cut = {word for word in shown - whole if word.removesuffix(":") not in whole and not _MARKS.fullmatch(word)}
        assert cut == set()


@pytest.mark.parametrize("command", GUIDES)
def test_help_at_every_width(command: str, kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}
    for width in (*WIDTHS, 1000):
        monkeypatch.setattr(help_module, "width_of", lambda *_stream, width=width: width)
        lines = shown[width] = kvcalc(*command.split(), "--help").stdout.splitlines()
        assert [line for line in lines if len(line) > width and not line.startswith("  kvcalc ")] == []
        assert {word for line in lines for word in line.split()} == {
            word for line in shown[WIDTHS[0]] for word in line.split()
        }


def test_the_first_screen_is_one_screen(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(reported("estimate llama-3-70b -b 32", kvcalc, monkeypatch), 100, monkeypatch)
    assert len(lines) <= 24
    assert lines[:3] == [
        "4 x h100-sxm, tensor parallel 4: fits                            56.05 of 72.85 GiB used on each GPU",
        "KV cache 80.00 GiB for 32 sequences x 8,192 tokens: 2.50 GiB each, 320 KiB a token",
        f"  weights {BLOCK * 18} 32.85   cache {BLOCK * 11} 20.00   other {BLOCK} 3.20   free {BLOCK * 9} 16.80",
    ]


def test_a_comparison_is_one_screen(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(printed(reported("compare llama-3-70b", kvcalc, monkeypatch), 100, monkeypatch)) <= 40


COLOUR = re.compile(r"\x1b\[(?:\d;)*3\d(?:;\d)*m")


@pytest.mark.parametrize(
    ("words", "colour"),
    [
        ("estimate llama-3-70b -b 32 -c 8192", "\x1b[1;32mfits"),
        ("estimate llama-3-70b -c 8192", "\x1b[1;33mtight"),
        ("estimate llama-3-70b --tp 1 -c 8192", "\x1b[1;31mdoes not fit"),
    ],
)
def test_colours_say_what_words_say(words: str, colour: str, kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    view = reported(words, kvcalc, monkeypatch).view()
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    on_terminal = draw(view, terminal=True)
    assert colour in on_terminal
    assert "\x1b" not in draw(view, terminal=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not COLOUR.search(draw(view, terminal=True))


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"TERM": "xterm"}, "\x1b[1;31merror:\x1b[0m no"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "error: no"),
        ({"TERM": "dumb"}, "error: no"),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, "\x1b[1;31merror:\x1b[0m no"),
    ],
)
def test_labels_obey_the_environment(environment: dict[str, str], shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert labelled("error", "no", Terminal()) == shown
    assert labelled("error", "no", io.StringIO()) == (shown if "FORCE_COLOR" in environment else "error: no")
