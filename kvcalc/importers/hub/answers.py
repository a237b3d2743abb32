"""Bounded answers over huggingface_hub's session: no server decides how much is read, kept or followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.errors import CannotRunError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_REDIRECTS = 5
PIECE = 1 << 16
WHOLE, PARTIAL = 200, 206
"""HTTP's status for a file, and for a part of one."""

_OF_ERRORS = ("x-error-code", "x-error-message")
"""Headers with the Hub's reason for a failure; nothing else of such an answer is read."""


class Answer(NamedTuple):
    """What a server sent.

    Attributes:
        partial: whether it is the part that was asked for, and not the file from its beginning.
        body: no more of it than was asked for.
    """

    partial: bool
    body: bytes


def get(utils: Any, url: str, shown: str, seconds: float, most: int, part: tuple[int, int] | None = None) -> Answer:
    """What a server sends, up to `most` bytes.

    It is asked not to compress, since a few compressed bytes could be any number. Redirects are followed here, since
    the session would read all that comes with one.

    Args:
        utils: of huggingface_hub.
        url: of what is asked for.
        shown: its name in messages.
        seconds: without a byte, after which nothing is expected any more.
        most: bytes.
        part: first and last byte.

    Raises:
        CannotRunError: redirects that do not end, or a compressed answer.
        Exception: what huggingface_hub and its session raise.
    """
    headers = {**utils.build_hf_headers(), "accept-encoding": "identity"}
    if part is not None:
        headers["range"] = f"bytes={part[0]}-{part[1]}"
    session = utils.get_session()
    request = session.build_request("GET", url, headers=headers, timeout=seconds)
    for _ in range(1 + MAX_REDIRECTS):
        response = session.send(request, stream=True, follow_redirects=False)
        try:
            if response.next_request is None:
                return _read(utils, response, shown, most)
            request = response.next_request
        finally:
            response.close()
    raise CannotRunError(f"{shown}: more than {MAX_REDIRECTS} redirects")


def _read(utils: Any, response: Any, shown: str, most: int) -> Answer:
    status = response.status_code
    if status not in {WHOLE, PARTIAL}:
        stated = [(name, response.headers[name]) for name in _OF_ERRORS if name in response.headers]
        utils.hf_raise_for_status(type(response)(status, headers=stated, request=response.request))
        raise CannotRunError(f"{shown}: the Hub answers {status}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise CannotRunError(f"{shown}: the answer is compressed, though it was asked for as it is")
    return Answer(status == PARTIAL, b"".join(_pieces(response, most)))


def _pieces(response: Any, most: int) -> Iterator[bytes]:
    for piece in response.iter_raw(PIECE):
        yield piece[:most]
        most -= len(piece)
        if most <= 0:
            return
