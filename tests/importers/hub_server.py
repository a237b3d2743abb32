"""A small Hub on this machine: what huggingface_hub asks of the real one, with every way to fail."""

from __future__ import annotations

import json
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SHA = "0123456789abcdef0123456789abcdef01234567"
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


ENDLESS = 500_000_000
"""Bytes after which an endless answer ends all the same, so that a test does."""


def _endless(start: bytes = b"") -> Iterator[bytes]:
    yield start
    for _ in range(ENDLESS >> 16):
        yield b" " * (1 << 16)


def _bomb() -> Iterator[bytes]:
    """So many spaces, compressed."""
    squeezed = zlib.compressobj(wbits=31)
    for piece in _endless():
        yield squeezed.compress(piece)
    yield squeezed.flush()


TEXT, SQUEEZED = {"Content-Type": "application/json"}, {"Content-Encoding": "gzip"}
HOSTILE: dict[str, tuple[int, dict[str, str], Callable[[], Iterator[bytes]]]] = {
    "endless": (200, TEXT, lambda: _endless(b'{"a": ')),
    "large": (200, {**TEXT, "Content-Length": str(ENDLESS)}, _endless),
    "bomb": (200, {**TEXT, **SQUEEZED}, _bomb),
    "endless failure": (500, TEXT, _endless),
    "bomb of a failure": (404, {**TEXT, **SQUEEZED, "X-Error-Code": "RepoNotFound"}, _bomb),
    "endless redirects": (302, TEXT, _endless),
    "bombs of redirects": (302, SQUEEZED, _bomb),
    "page": (200, {"Content-Type": "text/html"}, lambda: iter([b"<html><h1>Log in</h1></html>"])),
    "list": (200, TEXT, lambda: iter([b"[]"])),
    "no commit": (200, TEXT, lambda: iter([b'{"id": "org/x", "siblings": [{"rfilename": "config.json"}]}'])),
    "no such commit": (200, TEXT, lambda: iter([b'{"sha": "../../x", "siblings": [{"rfilename": "config.json"}]}'])),
    "not modified": (304, TEXT, lambda: iter([])),
}
"""What hostile servers answer: status, headers, and what follows."""


class Server(ThreadingHTTPServer):
    """It serves repositories: name -> file -> content, or how the name fails."""

    daemon_threads = True

    def __init__(self, repositories: dict[str, dict[str, bytes] | str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = repositories
        self.asked: list[tuple[str, str, str | None, str | None]] = []
        """Method, path, range and authorization of every request."""
        self.elsewhere: str | None = None
        self.ranges, self.sent = True, 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Tests read what was asked from the server."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        told = self.headers.get("range"), self.headers.get("authorization")
        self.server.asked.append((self.command, self.path, *told))
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/?]+))?(?:\?.*)?", self.path)
        file = re.fullmatch(r"/(?:cdn/)?([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)", self.path)
        found = api or file
        name = found[1] if found else ""
        repository = self.server.repositories.get(name, "RepoNotFound")
        if isinstance(repository, str) and repository in HOSTILE:
            self.hostile(repository)
        elif isinstance(repository, str):
            self.fail(repository)
        elif api:
            if api[2] not in (None, "main", SHA):
                self.fail("RevisionNotFound")
            else:
                names = [{"rfilename": each} for each in repository]
                self.send(json.dumps({"id": name, "modelId": name, "sha": SHA, "siblings": names}).encode(), body=body)
        elif file and file[3] in repository:
            self.file(repository[file[3]], body=body)
        else:
            self.fail("EntryNotFound")

    def fail(self, how: str) -> None:
        if how == "slow":
            time.sleep(20)
        status = {"GatedRepo": 403, "broken": 500}.get(how, 404)
        self.send_response(status)
        self.send_header("X-Error-Code", how)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def hostile(self, how: str) -> None:
        """An answer that harms whoever believes in it."""
        status, head, pieces = HOSTILE[how]
        self.close_connection = True
        self.send_response(status)
        for name, value in head.items():
            self.send_header(name, value)
        if status == 302:
            self.send_header("Location", self.path)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        for piece in pieces():
            try:
                self.wfile.write(piece)
            except OSError:  # the other side has read enough
                return
            self.server.sent += len(piece)

    def file(self, content: bytes, *, body: bool) -> None:
        how = content[:20].decode(errors="replace")
        if how in HOSTILE:
            self.hostile(how)
            return
        if self.server.elsewhere and self.path.endswith(".safetensors"):
            self.send_response(302)
            self.send_header("Location", f"{self.server.elsewhere}/cdn{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = _RANGE.fullmatch(self.headers.get("range") or "")
        if asked and self.server.ranges:
            part = content[int(asked[1]) : int(asked[2]) + 1]
            self.send(part, body=body, status=206, total=len(content), begin=int(asked[1]))
        else:
            self.send(content, body=body)

    def send(self, content: bytes, *, body: bool, status: int = 200, total: int | None = None, begin: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hash(content) & 0xFFFFFFFF:x}"')
        self.send_header("X-Repo-Commit", SHA)
        if total is not None:
            self.send_header("Content-Range", f"bytes {begin}-{begin + len(content) - 1}/{total}")
        self.end_headers()
        if body:
            for at in range(0, len(content), 1 << 16):
                try:
                    self.wfile.write(content[at : at + (1 << 16)])
                except OSError:  # the other side has read enough
                    return
                self.server.sent += 1 << 16


@contextmanager
def serving(repositories: dict[str, dict[str, bytes] | str]) -> Iterator[Server]:
    """A server for as long as a test needs it."""
    server = Server(repositories)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
