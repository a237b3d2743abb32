"""The pages that are written from the code: whole, and the one that lies in the repository is up to date."""

from __future__ import annotations

import os
import re
import sys

import pytest
import yaml
from conftest import ROOT, Kvcalc

from kvcalc.cli.app import COMMANDS
from kvcalc.engines import ENGINES
from kvcalc.mechanisms import KINDS

GLOSSARY = ROOT / "docs" / "glossary.md"


sys.path.insert(0, str(ROOT / "docs" / "site"))
from engine_pages import MARK  # noqa: E402  # beside the documents
from pages import pages  # noqa: E402  # beside the documents
from picture import COMMAND, ENVIRONMENT, picture  # noqa: E402  # as above

WORKED_OUT = {
    "exact": ("3,120,562,176",),
    "vllm": ("64,842", "4.40"),
    "sglang": ("362,841", "49.83", "13.33"),
    "llama-cpp": ("2 x 27 layers", "6.75"),
    "transformers": ("4.00", "3.62"),
    "mlx": ("808,452,096",),
    "tensorrt-llm": ("14,282", "55.79"),
    "lmdeploy": ("6,496", "50.75"),
}
"""What the words of each engine's page work out for its example, which the screen below them prints."""
PICTURE = ROOT / "docs" / "images" / "estimate.svg"


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return pages()


def test_every_member_has_a_page(written: dict[str, str]) -> None:
    assert {f"mechanisms/{kind}.md" for kind in KINDS} <= set(written)
    assert {f"engines/{name}.md" for name in ENGINES} <= set(written)
    for command in COMMANDS:
        assert any(path.startswith(f"commands/{command}") for path in written), command


def test_a_page_of_a_command_is_its_help(written: dict[str, str]) -> None:
    assert "--cache-dtype" in written["commands/estimate.md"]
    assert "# kvcalc models list" in written["commands/models-list.md"]


def test_the_glossary_is_up_to_date(written: dict[str, str]) -> None:
    if os.environ.get("UPDATE_GOLDENS"):
        GLOSSARY.write_text(written["glossary.md"], encoding="utf-8")
    assert GLOSSARY.read_text(encoding="utf-8") == written["glossary.md"]


def test_every_engine_has_a_page_that_is_up_to_date(written: dict[str, str]) -> None:
    """A new engine is given a file that says what it reserves, with an example; the rest is written."""
    for name in ENGINES:
        path, whole = ROOT / "docs" / "engines" / f"{name}.md", written[f"engines/{name}.md"]
        assert path.exists(), f"{path} is missing: write what {name} reserves, then UPDATE_GOLDENS=1 writes the rest"
        if os.environ.get("UPDATE_GOLDENS"):
            path.write_text(whole, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == whole
        words, _, screen = whole.split(MARK)[0].partition("```console\n$ kvcalc ")
        assert screen, f"{path} shows no example"
        for figure in WORKED_OUT[name]:
            assert figure in words, (path, figure)
            assert figure in screen, (path, figure)


def test_every_document_is_in_the_table_of_contents() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = {path for section in nav for entries in section.values() for entry in entries for path in entry.values()}
    assert {path.name for path in (ROOT / "docs").glob("*.md")} == listed - {"index.md"}


def test_the_picture_is_the_screen(monkeypatch: pytest.MonkeyPatch, kvcalc: Kvcalc) -> None:
    """Word by word: how rich draws SVG differs from version to version."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    drawn = picture(kvcalc(*COMMAND.split()).stdout)
    if os.environ.get("UPDATE_GOLDENS"):
        PICTURE.write_text(drawn, encoding="utf-8")
    assert words_of(PICTURE.read_text(encoding="utf-8")) == words_of(drawn)
    assert "56.05" in words_of(drawn)


def words_of(svg: str) -> list[str]:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)).replace("&#160;", " ").split()
