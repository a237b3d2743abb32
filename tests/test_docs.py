"""The documents name files that exist, and every part of the package."""

from __future__ import annotations

import re

from conftest import ROOT
from each import for_each

DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))

_PATH = re.compile(r"`((?:kvcalc|tests|docs|configs|benchmarks)/[\w./-]*)`")
_LINK = re.compile(r"\]\(([\w./-]+)[)#]")


@for_each("document", DOCUMENTS)
def test_files_that_a_document_names_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    folder = (ROOT / document).parent
    named = [ROOT / path for path in _PATH.findall(text) if "NAME" not in path]
    linked = [folder / path for path in _LINK.findall(text)]
    assert [path for path in (*named, *linked) if not path.exists()] == []


def test_what_adding_says_is_in_a_file_is_in_it() -> None:
    text = " ".join((ROOT / "docs" / "adding.md").read_text(encoding="utf-8").split())
    named = re.findall(r"`(\w+)(?:\(\))?` of `((?:kvcalc|tests)/[\w/]+\.py)`", text)
    assert len(named) > 10
    assert [each for each in named if each[0] not in (ROOT / each[1]).read_text(encoding="utf-8")] == []


def test_every_part_of_the_package_is_described() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files = [path for path in (ROOT / "kvcalc").glob("*.py") if not path.name.startswith("__")]
    folders = [path.parent for path in (ROOT / "kvcalc").glob("*/__init__.py")]
    names = [*(f"`kvcalc/{path.name}`" for path in files), *(f"`kvcalc/{path.name}/`" for path in folders)]
    assert [name for name in names if name not in text] == []


def test_nobody_is_sent_to_a_project_of_the_same_name_on_the_package_index() -> None:
    """The name is not this project's there: what is missing is installed by its own name, or from this folder."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "kvcalc").rglob("*.py")]
    told = [str(page) for page in pages if re.search(r"pip install '?kvcalc\b", page.read_text(encoding="utf-8"))]
    assert told == []
