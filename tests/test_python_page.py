"""The page on Python and a user's script: they run, and a type checker understands the script."""

from __future__ import annotations

import doctest
import os
import re
from importlib.resources import files

import pytest
import users_script
from conftest import ROOT

import kvcalc

PAGE = ROOT / "docs" / "python.md"


def test_every_example_of_the_page_gives_what_it_shows() -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert tried > 10
    assert failed == 0


def test_the_page_has_every_function() -> None:
    text = PAGE.read_text(encoding="utf-8")
    functions = [name for name in kvcalc.__all__ if name[0].islower()]
    assert [name for name in functions if not re.search(rf"`(?:[\w(), ]*`?, `)?{name}\(", text)] == []


def test_a_users_script_runs() -> None:
    assert users_script.main() == 2 * 80 * 32 * 8192 * 8 * 128 * 2


def test_a_users_script_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what `make lint` has kept of the package, this takes a moment."""
    mypy = pytest.importorskip("mypy.api", reason="the oldest versions are tried without linters")
    assert files("kvcalc").joinpath("py.typed").is_file()
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(os.environ, "MYPYPATH", str(ROOT))
    told, errors, status = mypy.run(["--strict", "tests/users_script.py"])
    assert (status, errors) == (0, ""), told
