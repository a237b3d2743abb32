"""What tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import pytest

from kvcalc.cli.app import run


class Run(NamedTuple):
    """One command line's exit code and what it printed."""

    code: int
    stdout: str
    stderr: str


Kvcalc = Callable[..., Run]


@pytest.fixture
def kvcalc(capsys: pytest.CaptureFixture[str]) -> Kvcalc:
    """Run a command line in this process: `kvcalc("estimate", "llama-3-8b").stdout`."""

    def call(*words: str) -> Run:
        capsys.readouterr()
        code = run(list(words))
        return Run(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch computes in one thread: several that share small matrices wait for each other."""
    import torch  # noqa: PLC0415  # most tests do not need it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Where tests with torch are left out (-m 'not torch'), so are those that import it only when they run."""
    try:
        return (yield)
    except ModuleNotFoundError as missing:
        if "not torch" in item.config.option.markexpr and missing.name in {"torch", "transformers"}:
            pytest.skip(f"needs {missing.name}")
        raise
