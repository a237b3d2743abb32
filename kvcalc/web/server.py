"""The page on 127.0.0.1: the standard library's server, with what a page of the web must not do refused.

Any page that is open in a browser can send requests here, under a name of its own that it lets stand for 127.0.0.1. So
the Host must be this server's own address, an Origin too, questions come as JSON only, which another origin cannot send
unasked, and nothing here may be read or framed by another page.
"""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader, RawIOBase
from threading import BoundedSemaphore
from time import monotonic
from typing import TYPE_CHECKING, Any

from kvcalc.catalogue.pasted import MOST
from kvcalc.errors import CannotRunError
from kvcalc.web.answer import answer
from kvcalc.web.files import TYPES, page_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from socket import socket

HOME = "127.0.0.1"
MOST_BYTES = 4 * MOST
"""Of a request's body: a model's text in UTF-8."""
MOST_CONNECTIONS = 32
PATIENCE = 15
"""Seconds that a connection has for all of a request, and for taking its answer."""

_ANSWER = "/answer"
_JSON = "application/json"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class PageServer(ThreadingHTTPServer):
    """The page at `address`. `serve_forever` answers until `shutdown`."""

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, port: int = 0) -> None:
        """Listen on 127.0.0.1.

        Args:
            port: 0 for a free one.

        Raises:
            CannotRunError: it cannot be had.
        """
        self._free = BoundedSemaphore(MOST_CONNECTIONS)
        try:
            super().__init__((HOME, port), _Handler)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise CannotRunError(f"--port: {port}: {why}; without --port a free one is used") from error
        self.names = frozenset(f"{name}:{self.server_port}" for name in (HOME, "localhost"))
        """What a Host may be."""
        self.origins = frozenset(f"http://{name}" for name in self.names)

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        return f"http://{HOME}:{self.server_port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # as it is called
        """Whoever went away is let go; anything else is told in a line."""
        error = sys.exception()
        if not isinstance(error, OSError):
            sys.stderr.write(f"a bug in kvcalc: {type(error).__name__}: {error}\n")


class _Request(RawIOBase):
    """What a connection sends: one that sends a letter now and then has no longer for a request than others."""

    def __init__(self, connection: socket) -> None:
        self._connection, self.until = connection, 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.until - monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version = "kvcalc"
    sys_version = ""
    wbufsize = -1  # one write a response, where headers would be one and the body another
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """A connection begins."""
        super().setup()
        self.rfile.close()
        self._request = _Request(self.connection)
        self.rfile = BufferedReader(self._request)

    def handle_one_request(self) -> None:
        """A request is read and answered, or is not there in time."""
        self._request.until = monotonic() + PATIENCE
        super().handle_one_request()

    def do_GET(self) -> None:
        """A file of the page."""
        name = self.path.partition("?")[0].removeprefix("/") or "index.html"
        if not self._is_from_here():
            return
        if name in TYPES:
            self._send(HTTPStatus.OK, page_file(name), TYPES[name])
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_HEAD(self) -> None:
        """The same without its content."""
        self.do_GET()

    def do_POST(self) -> None:
        """A question."""
        length = self.headers.get("Content-Length", "")
        if not self._is_from_here():
            return
        if self.path != _ANSWER:
            self._refuse(HTTPStatus.NOT_FOUND, "questions are asked of /answer")
        elif self.headers.get_content_type() != _JSON:
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"questions are {_JSON}")
        elif "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a question has a Content-Length")
        elif len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a question has at most {MOST_BYTES:,} bytes")
        else:
            self._answer(int(length))

    def _answer(self, length: int) -> None:
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        self._send(HTTPStatus.OK, answer(body.decode("utf-8", "replace")).encode(), _JSON)

    def _is_from_here(self) -> bool:
        """Whether this server's own page asks, or whoever types its address; else it is refused."""
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        ours = len(hosts) == 1 and hosts[0].lower() in self.server.names
        if not ours or any(each.lower() not in self.server.origins for each in origins):
            self._refuse(HTTPStatus.FORBIDDEN, f"this is {self.server.address}, for its own page alone")
            return False
        return True

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        """In the form of an answer; what was sent with it is not read, so that the connection ends."""
        self.close_connection = True
        self._send(status, json.dumps({"error": {"lines": [why], "exit_code": 2}}).encode(), _JSON)

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.connection.settimeout(PATIENCE)
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002  # the base's
        """What the standard library refuses itself: other methods, lines that are no HTTP."""
        self._refuse(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the standard library calls it
        """Nothing: the terminal is its user's."""
