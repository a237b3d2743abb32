"""The server, over real connections: its own page is answered, and nobody else's."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from threading import Thread
from typing import Any

import pytest
from conftest import Kvcalc

from kvcalc.web import server as server_module
from kvcalc.web.files import PAGE, TYPES
from kvcalc.web.server import MOST_BYTES, PageServer

JSON = {"Content-Type": "application/json"}
FORM = b'{"ask":"form"}'


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with PageServer() as served:
        thread = Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def ask(server: PageServer, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def raw(server: PageServer, sent: bytes) -> bytes:
    """What comes back on a connection, until it ends."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize("name", TYPES)
def test_each_file_of_the_page_is_served_and_allows_nothing_from_elsewhere(server: PageServer, name: str) -> None:
    status, body, headers = ask(server, "GET", f"/{name}")
    assert (status, body, headers["Content-Type"]) == (200, (PAGE / name).read_bytes(), TYPES[name])
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert ask(server, "HEAD", f"/{name}")[:2] == (200, b"")


def test_the_page_lists_its_files_and_has_no_script_of_its_own() -> None:
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    assert set(TYPES) == {path.name for path in PAGE.iterdir()}
    assert set(re.findall(r'(?:src|href)="([^"]+)"', page)) == {*TYPES} - {"index.html"} | {"data:,"}
    assert "style=" not in page
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|<style", page)
    scripts = "".join((PAGE / name).read_text(encoding="utf-8") for name in TYPES if name.endswith(".js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|https?://(?!www\.w3)", scripts)


def test_a_question_is_answered_on_one_connection_after_another(server: PageServer) -> None:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    for _ in range(3):
        connection.request("POST", "/answer", FORM, {**JSON, "Origin": server.address.rstrip("/")})
        assert "fields" in json.loads(connection.getresponse().read())
    connection.close()


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1", "localhost:1", "[::1]", ""])
def test_another_name_that_stands_for_this_address_is_refused(server: PageServer, name: str) -> None:
    for method, path, body in (("GET", "/", None), ("POST", "/answer", FORM)):
        status, found, headers = ask(server, method, path, body, Host=name, **JSON)
        assert status == 403
        assert b"fields" not in found
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1", "http://localhost:1", "file://"]
)
def test_the_page_of_another_origin_is_refused(server: PageServer, origin: str) -> None:
    assert ask(server, "POST", "/answer", FORM, Origin=origin, **JSON)[0] == 403
    assert ask(server, "GET", "/page.js", Origin=origin)[0] == 403


def test_a_refusal_is_told_once(server: PageServer) -> None:
    told = raw(server, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert told.count(b"HTTP/1.1 403 ") == 1


def test_localhost_is_this_address(server: PageServer) -> None:
    assert ask(server, "GET", "/", Host=f"LOCALHOST:{server.server_port}")[0] == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "FOO"])
def test_other_methods_are_refused(server: PageServer, method: str) -> None:
    status, body, headers = ask(server, method, "/answer")
    assert status in {403, 405, 501}
    assert "Access-Control-Allow-Methods" not in headers
    assert b"Traceback" not in body


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/..%2fserver.py", "/etc/passwd", "//etc/passwd", "/page", "/answer", "/%00", "/page.js/"],
)
def test_there_is_nothing_but_the_page(server: PageServer, path: str) -> None:
    assert ask(server, "GET", path)[0] == 404


def test_a_question_is_json_of_a_length_that_is_told(server: PageServer) -> None:
    assert ask(server, "POST", "/answer", FORM, Content_Type="text/plain")[0] == 415
    assert ask(server, "POST", "/elsewhere", FORM, Content_Type="application/json")[0] == 404
    host = f"127.0.0.1:{server.server_port}"
    head = f"POST /answer HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n".encode()
    for length in (b"", b"Content-Length: -1\r\n", b"Content-Length: 1_0\r\n", b"Transfer-Encoding: chunked\r\n"):
        assert b" 411 " in raw(server, head + length + b"\r\n").split(b"\r\n")[0]
    for size in (str(MOST_BYTES + 1), "50000000", "9" * 5000):
        assert b" 413 " in raw(server, head + f"Content-Length: {size}\r\n\r\n".encode()).split(b"\r\n")[0]
    assert raw(server, head + b"Content-Length: 100\r\n\r\n{") == b""


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G" * 70_000])
def test_what_is_no_http_ends_the_connection(server: PageServer, sent: bytes) -> None:
    assert b"Traceback" not in raw(server, sent)


def test_text_that_is_no_utf8_is_a_request_like_another(server: PageServer) -> None:
    status, body, _ = ask(server, "POST", "/answer", b"\xff\xfe", Content_Type="application/json")
    assert (status, json.loads(body)["error"]["lines"]) == (200, ["request: no JSON"])


def test_who_sends_nothing_is_left_and_others_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "PATIENCE", 0.2)  # else the test takes as long
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 2)
    with PageServer() as served:
        thread = Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        slow = [socket.create_connection(("127.0.0.1", served.server_port), timeout=10) for _ in range(4)]
        assert all(each.recv(1) == b"" for each in slow)
        assert ask(served, "GET", "/")[0] == 200
        for each in slow:
            each.close()
        served.shutdown()
        thread.join()


def test_who_sends_a_letter_now_and_then_has_no_longer_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "PATIENCE", 0.5)
    body = (
        b"POST /answer HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\nHost: 127.0.0.1:%d\r\n\r\n"
    )
    for sent in (b"GET / HTTP/1.1\r\n", body):
        with PageServer() as served:
            thread = Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            with socket.create_connection(("127.0.0.1", served.server_port), timeout=0.05) as slow:
                slow.sendall(sent % served.server_port if b"%d" in sent else sent)
                letters = 0
                while letters < 1000 and _takes_a_letter(slow):  # each comes long before half a second
                    letters += 1
            assert letters < 1000
            served.shutdown()
            thread.join()


def _takes_a_letter(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"x")
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def test_a_port_that_is_taken_is_refused_with_what_to_do(server: PageServer, kvcalc: Kvcalc) -> None:
    run = kvcalc("web", "--no-open", "--port", str(server.server_port))
    assert run.code == 3
    assert run.stderr.endswith("without --port a free one is used\n")
    assert kvcalc("web", "--port", "99999").code == 2


def test_an_answer_that_nobody_waits_for_leaves_nothing_on_the_terminal(
    server: PageServer, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        host = f"127.0.0.1:{server.server_port}"
        head = f"POST /answer HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(FORM)}"
        connection.sendall(head.encode() + b"\r\n\r\n" + FORM)
    assert ask(server, "GET", "/")[0] == 200
    assert capfd.readouterr() == ("", "")
