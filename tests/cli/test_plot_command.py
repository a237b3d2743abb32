"""kvcalc plot on the command line: which format, where to, and what is refused."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Kvcalc

WORDS = ("plot", "cache", "llama-3-8b", "-c", "1Ki,2Ki")


def test_the_ending_decides_the_format(kvcalc: Kvcalc, tmp_path: Path) -> None:
    begins = {"a.svg": "<svg", "a.html": "<!doctype html>", "a.txt": "KV cache", "a": "<svg", "a.SVG": "<svg"}
    for name, begin in begins.items():
        run = kvcalc(*WORDS, "-o", str(tmp_path / name))
        assert (run.code, run.stdout, run.stderr) == (0, "", "")
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(begin), name


def test_a_file_that_ends_like_no_format_is_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    for line in (WORDS, ("report", "llama-3-8b")):
        file = tmp_path / "a.pdf"
        run = kvcalc(*line, "-o", str(file))
        assert (run.code, run.stdout, file.exists()) == (2, "", False)
        assert "no format ends in .pdf; " in run.stderr
    assert kvcalc(*WORDS, "-o", str(file), "--format", "svg").code == 0


def test_a_pipe_gets_svg_and_text_where_it_is_asked_for(kvcalc: Kvcalc) -> None:
    assert kvcalc(*WORDS).stdout.startswith("<svg")
    shown = kvcalc(*WORDS, "--format", "text").stdout
    assert shown.startswith("KV cache against context: llama-3-8b\n")
    assert max(map(len, shown.splitlines())) <= 80
    assert max(map(len, kvcalc(*WORDS, "--format", "text", "--width", "40").stdout.splitlines())) <= 40


def test_colours_are_asked_for(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[34m" in kvcalc(*WORDS, "--format", "text").stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in kvcalc(*WORDS, "--format", "text").stdout


def test_dark_and_width(kvcalc: Kvcalc) -> None:
    shown = kvcalc(*WORDS, "--dark", "--width", "500").stdout
    assert 'width="500"' in shown
    assert "prefers-color-scheme" not in shown


def test_png(kvcalc: Kvcalc, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="the extra png")
    target = tmp_path / "a.png"
    assert kvcalc(*WORDS, "-o", str(target)).code == 0
    data = target.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20], "big") == 1440
    assert kvcalc(*WORDS, "-o", str(tmp_path / "b.png")).code == 0
    assert (tmp_path / "b.png").read_bytes() == data


def test_png_without_its_extra_names_what_to_install(
    kvcalc: Kvcalc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *others: Any, **more: Any) -> Any:
        if name == "resvg_py":
            raise ImportError(name)
        return real(name, *others, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    run = kvcalc(*WORDS, "-o", str(tmp_path / "a.png"))
    assert run.code == 3
    assert "python -m pip install 'resvg-py>=0.5'" in run.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((*WORDS, "--format", "png"), 2, "give -o FILE.png"),
        ((*WORDS, "--format", "jpeg"), 2, "no format 'jpeg'"),
        ((*WORDS, "--width", "5"), 2, "--width: must be at least 30"),
        ((*WORDS, "--width", "5e9"), 2, "--width"),
        (("plot", "cache"), 2, "MODEL: missing"),
        (("plot", "cake", "llama-3-8b"), 2, "KIND: no picture of 'cake'"),
        (("plot",), 2, "KIND"),
        ((*WORDS, "--tp", "3"), 2, "is illegal"),
        ((*WORDS, "-o", "/nosuch/a.svg"), 3, "cannot be written"),
    ],
)
def test_what_cannot_be_is_refused(kvcalc: Kvcalc, words: tuple[str, ...], code: int, told: str) -> None:
    run = kvcalc(*words)
    assert (run.code, run.stdout) == (code, "")
    assert told in run.stderr


def test_a_refused_picture_leaves_the_old_file(kvcalc: Kvcalc, tmp_path: Path) -> None:
    target = tmp_path / "a.svg"
    target.write_text("old", encoding="utf-8")
    assert kvcalc(*WORDS, "--tp", "3", "-o", str(target)).code == 2
    assert target.read_text(encoding="utf-8") == "old"
