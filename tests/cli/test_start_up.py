"""What a start imports. Modules are counted, not milliseconds: a slow import shows here on every machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = (
    *("typer", "rich", "pydantic", "yaml", "torch", "numpy", "requests", "urllib.request", "http.client", "asyncio"),
    "kvcalc.importers",
)
OF_OTHER_QUESTIONS = (
    *("kvcalc.verbs.offload", "kvcalc.engines.module_names", "kvcalc.scenario.spelled", "kvcalc.cli.typed"),
    *("kvcalc.catalogue.yaml_reader", "kvcalc.catalogue.gpu_words", "kvcalc.verbs.requests.pools", "csv"),
    *("kvcalc.engines.vllm", "kvcalc.engines.llama_cpp", "kvcalc.render.screens.estimate_view"),
)
MOST_MODULES = 158
"""Of kvcalc's own for an estimate: each takes a sixth of a millisecond."""
LLAMA = ("estimate", "llama-3-70b")


def imported(code: str) -> set[str]:
    """Which of the slow modules are there after some Python."""
    script = f"import sys\n{code}\nsys.stderr.write(' '.join(name for name in {SLOW!r} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stderr.split())


def imported_by(*words: str) -> set[str]:
    """Which of them are there after a command line."""
    return imported(
        f"sys.argv = ['kvcalc', *{words!r}]\n"
        "from kvcalc.cli import main\n"
        "notes, sys.stderr = sys.stderr, sys.stdout\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "sys.stderr = notes"
    )


def test_the_package_imports_nothing() -> None:
    assert imported("import kvcalc; kvcalc.__version__") == set()


def test_the_version_imports_nothing() -> None:
    assert imported_by("--version") == set()


@pytest.mark.parametrize("words", [("--help",), ("-h",), (), ("estimate", "--help"), ("models", "-h")], ids=" ".join)
def test_help_draws_nothing_and_checks_nothing(words: tuple[str, ...]) -> None:
    assert imported_by(*words) <= {"typer"}


@pytest.mark.parametrize(
    "words",
    [
        (*LLAMA, "--json"),
        (*LLAMA, "--format", "csv"),
        (*LLAMA, "--format", "markdown"),
        (*LLAMA, "--tp", "8", "--explain", "--json"),
        ("estimate", "--layers", "32", "--heads", "32", "--head-dim", "128", "--json"),
        ("estimate", "meta-llama/Meta-Llama-3-70B", "--json"),
        ("models", "list", "--json"),
        ("models", "show", "llama-3-70b", "--json"),
        ("gpus", "list", "--json"),
        ("gpus", "show", "h100", "--json"),
    ],
    ids=" ".join,
)
def test_figures_of_the_catalogue_need_neither_rich_nor_a_reader_of_files(words: tuple[str, ...]) -> None:
    assert imported_by(*words) == {"typer"}


@pytest.mark.parametrize("words", [("compare", "llama-3-70b", "--json"), ("explain", "mla", "--json")], ids=" ".join)
def test_what_articles_say_is_read_from_its_file(words: tuple[str, ...]) -> None:
    assert imported_by(*words) == {"typer", "yaml"}


@pytest.mark.parametrize("words", [LLAMA, (*LLAMA, "--explain"), ("models", "list"), ("plan", "llama-3-70b")])
def test_a_table_needs_no_more(words: tuple[str, ...]) -> None:
    assert imported_by(*words) == {"typer"}


def test_an_estimate_needs_nothing_of_other_questions() -> None:
    code = f"import sys\nfrom kvcalc.cli.app import run\nassert run([*{LLAMA!r}, '--json']) == 0\n"
    code += f"assert not sys.modules.keys() & set({OF_OTHER_QUESTIONS!r})\n"
    code += f"assert len([name for name in sys.modules if name.startswith('kvcalc')]) <= {MOST_MODULES}"
    assert imported(code) == {"typer"}


def test_the_calculations_need_none_of_them() -> None:
    assert imported("import kvcalc; kvcalc.estimate('llama-3-70b', batch=32, tp=8)") == set()


def test_all_of_it_works_without_torch_and_numpy() -> None:
    code = (
        "for name in ('torch', 'numpy'):\n    sys.modules[name] = None  # importing it fails\n"
        "import kvcalc\n"
        "assert kvcalc.estimate('deepseek-v3').cache.bytes\n"
        "del sys.modules['torch'], sys.modules['numpy']"
    )
    assert imported(code) == set()


def test_the_page_is_imported_by_its_command_alone() -> None:
    """Neither the server nor what answers comes with another; and an answer needs no reader of files."""
    code = "import sys\nfrom kvcalc.cli.app import run\n"
    code += "run(['estimate', 'llama-3-8b', '--json'])\nrun(['web', '--help'])\n"
    code += "assert not any(name.startswith('kvcalc.web') or name == 'http.server' for name in sys.modules)\n"
    assert imported(code) == {"typer"}
    asked = '{"ask": "estimate", "model": "llama-3-8b"}'
    assert imported(f"from kvcalc.web.answer import answer\nassert 'error' not in answer({asked!r})[:20]") == set()


def test_the_end_looks_through_nothing_for_garbage() -> None:
    """Python collects garbage as it ends: what is frozen it passes over."""
    code = (
        "import gc\nsys.argv = ['kvcalc', 'estimate', 'llama-3-8b', '--json']\n"
        "from kvcalc.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "assert gc.get_freeze_count() > 100 * len(gc.get_objects())"
    )
    assert imported(code) == {"typer"}
