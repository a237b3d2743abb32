"""Pages in chromium: on `kvcalc web`, in an exported folder on a server of plain files, in one file on the disk.

Each `Visit` fails its test where the page writes an error to the console, or asks anything of another origin.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

Page = Any
"""Of Playwright, which only `make test-browser` installs."""

FIRST_ANSWER_MS = 60_000
"""How long a page may take to load Python, on a machine that does much else."""


class Visit(NamedTuple):
    """A page that is open.

    Attributes:
        page: Playwright's page.
        errors: what it wrote to the console as an error, and errors that nothing caught.
        requests: addresses of what it asked for, other than data: and blob:.
    """

    page: Page
    errors: list[str]
    requests: list[str]


Visiting = Callable[..., Visit]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.exit("no chromium: run 'apt-get install -y chromium', or name one in CHROMIUM", returncode=1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Visiting]:
    """Open an address: `visit(served).page`. Words for Playwright's new_context follow (viewport, color_scheme)."""
    opened: list[tuple[Visit, str, Any]] = []

    def call(address: str, **context_options: Any) -> Visit:
        context = chromium.new_context(**context_options)
        context.set_default_timeout(FIRST_ANSWER_MS)
        made = Visit(context.new_page(), [], [])
        made.page.on("console", lambda message: made.errors.extend([message.text] if message.type == "error" else []))
        made.page.on("pageerror", lambda error: made.errors.append(str(error)))
        # Of the context: what workers ask for too.
        context.on("request", lambda request: made.requests.extend([request.url] if _asked(request.url) else []))
        opened.append((made, address, context))
        made.page.goto(address)
        return made

    yield call
    for made, address, context in opened:
        context.close()
        assert made.errors == []
        assert [url for url in made.requests if _origin(url) != _origin(address)] == []


def _asked(url: str) -> bool:
    return urlsplit(url).scheme not in {"data", "blob"}


def _origin(url: str) -> tuple[str, str]:
    return urlsplit(url)[:2]


@pytest.fixture(scope="session")
def served() -> Iterator[str]:
    """The address of `kvcalc web`."""
    command = [sys.executable, "-m", "kvcalc", "web", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        first = server.stdout.readline()
        address = re.search(r"http://[^\s]+", first)
        assert address, first + server.stdout.read()
        yield address[0]
        server.terminate()


@pytest.fixture(scope="session")
def exported_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `kvcalc web --export` writes."""
    folder = tmp_path_factory.mktemp("export") / "site"
    _export(str(folder))
    return folder


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file: address of what `kvcalc web --export --single` writes, here without Node.js: nothing is compiled."""
    file = tmp_path_factory.mktemp("single") / "kvcalc.html"
    _export(str(file), "--single", PATH="")
    return file.as_uri()


def _export(*words: str, **environment: str) -> None:
    """With the files of Pyodide that PYODIDE names, else as downloaded."""
    named = os.environ.get("PYODIDE")
    command = [sys.executable, "-m", "kvcalc", "web", "--export", *words, *(["--pyodide", named] if named else [])]
    subprocess.run(command, check=True, env={**os.environ, **environment})


class PlainFiles(SimpleHTTPRequestHandler):
    """A server of plain files, as any host of static pages is one."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm"}  # noqa: RUF012  # as theirs

    def log_message(self, *_: Any) -> None:  # said nothing
        pass


class Hosted(NamedTuple):
    """An exported page on a server of plain files, which can be stopped."""

    address: str
    stop: Callable[[], None]


@pytest.fixture
def hosted(exported_folder: Path) -> Iterator[Hosted]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(PlainFiles, directory=str(exported_folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running = True

        def stop() -> None:
            nonlocal running
            if running:
                server.shutdown()
                server.server_close()
            running = False

        yield Hosted(f"http://127.0.0.1:{server.server_port}/", stop)
        stop()


@pytest.fixture
def exported(hosted: Hosted) -> str:
    """The address of an exported page on a server of plain files."""
    return hosted.address


@pytest.fixture(params=["served", "exported", "single"])
def anywhere(request: pytest.FixtureRequest) -> str:
    """The address of the page in each of its three forms."""
    address: str = request.getfixturevalue(request.param)
    return address
