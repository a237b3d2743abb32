"""Asking the Hub through huggingface_hub: its token, cache and endpoint, with limits of our own on time and size."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from kvcalc.access import own_files
from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.files import read_bytes
from kvcalc.importers.hub.answers import get
from kvcalc.importers.hub.cache import keep
from kvcalc.importers.hub.waiting import together, within
from kvcalc.importers.json_text import MAX_BYTES, decoded, parse_mapping
from kvcalc.importers.safetensors import LENGTH_BYTES, HeaderSizes, header_length

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LIBRARY = "huggingface-hub>=1.0"
"""What is missing without the extra `hub`, as an installer takes it."""

FIRST_BYTES = 200_000
"""Of a safetensors file: more than most headers."""

TOGETHER = 8
"""Headers that are asked for at the same time."""

MAX_ANSWER = 16_000_000
"""Bytes of the Hub's answer on a repository, which lists its files."""

MAIN = "main"
WAITS, HEADER_WAITS = 3, 12
"""How many times the library's own limit for one answer all answers together may take."""

_COMMIT = re.compile(r"[0-9A-Za-z]{7,64}")


class Repository(NamedTuple):
    """A model's repository at one revision.

    Attributes:
        asked: the revision as it was asked for, or the Hub's default.
        revision: the commit.
        files: names of what lies in it; None where the Hub could not be asked and the cache answered.
        folder: of the cache, where that answered.
    """

    asked: str
    revision: str
    files: frozenset[str] | None
    folder: Path | None = None


class Client:
    """One repository on the Hub.

    Attributes:
        name: ORG/NAME.
        shown: its name in messages.
    """

    def __init__(self, name: str, shown: str) -> None:
        self.name, self.shown = name, shown
        try:
            import huggingface_hub  # an extra, and slow to import
            from huggingface_hub import constants, errors, utils
        except ImportError as error:
            command = f"python -m pip install '{LIBRARY}'"
            raise CannotRunError(f"{shown}: needs huggingface_hub, which is not installed here: {command}") from error
        self.hub: Any = huggingface_hub
        self.errors: Any = errors
        self.utils: Any = utils
        self.limit: float = constants.HF_HUB_ETAG_TIMEOUT
        self.endpoint: str = constants.ENDPOINT
        self.cache = Path(constants.HF_HUB_CACHE)

    def repository(self, revision: str | None) -> Repository:
        """Which commit a revision is, and what lies in it.

        Raises:
            CannotRunError: the Hub cannot be asked, and the cache has no such commit; or no access.
            KvcalcError: no such repository or revision.
        """
        place = "" if revision is None else f"/revision/{revision.replace('/', '%2F')}"
        url = f"{self.endpoint}/api/models/{self.name}{place}"
        try:
            stated = self._parsed(self._asked(lambda: self._get(url, self.shown, MAX_ANSWER + 1), WAITS))
        except CannotRunError as error:
            return self._cached(revision, error)
        commit, files = stated.get("sha"), stated.get("siblings")
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise self._not_the_hub("its answer names no commit (sha)")
        each = files if isinstance(files, list) else []
        names = frozenset(str(file.get("rfilename")) for file in each if isinstance(file, dict))
        return Repository(revision or MAIN, commit, names)

    def _parsed(self, answer: bytes) -> dict[str, Any]:
        try:
            return parse_mapping(decoded(answer, "its answer", MAX_ANSWER), "its answer")
        except KvcalcError as error:
            raise self._not_the_hub(str(error)) from error

    def _not_the_hub(self, reason: str) -> CannotRunError:
        return CannotRunError(
            f"{self.shown}: what answers at {self.endpoint} is not the Hub: {reason}; HF_ENDPOINT says who is asked, "
            "and a network may have a page of its own to log in"
        )

    def _cached(self, revision: str | None, error: CannotRunError) -> Repository:
        found = self.hub.try_to_load_from_cache(self.name, "config.json", revision=revision)
        if not isinstance(found, str):
            raise error
        folder = Path(found).parent
        return Repository(revision or MAIN, folder.name, None, folder)

    def file(self, repository: Repository, name: str, read: Callable[[bytes, str], T], most: int = MAX_BYTES) -> T:
        """The content of a repository's file, from the library's cache, or downloaded and kept there.

        Args:
            repository: where it lies.
            name: of the file.
            read: reads its bytes, given its name in messages; what this refuses is not kept.
            most: bytes.

        Raises:
            CannotRunError: it cannot be had.
            KvcalcError: there is none, it is too large, or is refused.
        """
        shown = f"{self.shown}/{name}"
        if repository.files is not None and name not in repository.files:
            raise KvcalcError(f"{self.shown}: has no {name}" + self._what_instead(repository.files))
        cached = self.hub.try_to_load_from_cache(self.name, name, revision=repository.revision)
        if isinstance(cached, str):
            with own_files():
                raw = read_bytes(Path(cached), shown, most)
            return read(raw, shown)
        url = self.hub.hf_hub_url(self.name, name, revision=repository.revision)
        raw = self._asked(lambda: self._get(url, shown, most + 1), WAITS)
        if len(raw) > most:
            raise KvcalcError(f"{shown}: larger than {most:,} bytes")
        found = read(raw, shown)
        with suppress(OSError):  # a cache that cannot be written
            keep(self.cache, self.name, repository.asked, repository.revision, name, raw)
        return found

    def start(self, repository: Repository, name: str, count: int) -> bytes:
        """The first bytes of a file, all of it where it has fewer.

        Args:
            repository: where it lies.
            name: of the file.
            count: how many.

        Raises:
            CannotRunError: they cannot be had.
        """
        url = self.hub.hf_hub_url(self.name, name, revision=repository.revision)
        return self._asked(lambda: self._get(url, f"{self.shown}/{name}", count, begin=0), HEADER_WAITS)

    def _what_instead(self, files: frozenset[str]) -> str:
        quantised = sorted(name for name in files if name.lower().endswith(".gguf"))
        return f"; of its {len(quantised)} GGUF files, name one: {self.shown}:Q4_K_M" if quantised else ""

    def headers(self, repository: Repository, names: list[str], take: Callable[[str, bytes], None]) -> None:
        """The headers of safetensors files, one after the other, in any order.

        Args:
            repository: where they lie.
            names: of the files.
            take: what becomes of each, with its file's name.

        Raises:
            CannotRunError: they cannot be had.
            KvcalcError: a file is none, or they are too long.
        """
        sizes, alone = HeaderSizes(self.shown), threading.Lock()

        def one(name: str) -> None:
            shown, url = f"{self.shown}/{name}", self.hub.hf_hub_url(self.name, name, revision=repository.revision)
            start = self._get(url, shown, FIRST_BYTES, begin=0)
            length, data = header_length(start[:LENGTH_BYTES], shown), start[LENGTH_BYTES:]
            with alone:
                sizes.add(length)
            if len(data) < length:
                data += self._get(url, shown, length - len(data), begin=LENGTH_BYTES + len(data))
            if len(data) < length:
                raise KvcalcError(f"{shown}: cut off")
            with alone:
                take(name, data[:length])

        self._asked(lambda: together(TOGETHER, names, one), HEADER_WAITS)

    def _get(self, url: str, shown: str, count: int, *, begin: int | None = None) -> bytes:
        """So many bytes, and never more, also of a server that sends the whole.

        Raises:
            KvcalcError: the server cannot send a part that is not the first.
        """
        part = None if begin is None else (begin, begin + count - 1)
        answer = get(self.utils, url, shown, self.limit, count, part)
        if begin and not answer.partial:
            raise KvcalcError(f"{self.shown}: the server does not send parts of files")
        return answer.body

    def _asked(self, ask: Callable[[], T], waits: int) -> T:
        """An answer, within a time, and every failure as one clear line.

        Raises:
            CannotRunError: no answer, no access, no network.
            KvcalcError: the answer is that there is no such thing.
        """
        limit = self.limit * waits
        try:
            return within(limit, ask)
        except TimeoutError:
            raise CannotRunError(f"{self.shown}: no answer from the Hub within {limit:g} seconds") from None
        except KvcalcError:
            raise
        except Exception as error:  # whatever a network library raises becomes a message
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> KvcalcError:
        """What went wrong, for a person."""
        for name, kind, what in FAILURES:
            if isinstance(error, getattr(self.errors, name)):
                status = getattr(getattr(error, "response", None), "status_code", "an error")
                return kind(f"{self.shown}: {what.format(name=self.name, status=status)}")
        return CannotRunError(f"{self.shown}: the Hub cannot be reached ({type(error).__name__})")


FAILURES: tuple[tuple[str, type[KvcalcError], str], ...] = (
    (
        "GatedRepoError",
        CannotRunError,
        "gated: accept the terms at https://huggingface.co/{name}, then 'hf auth login'",
    ),
    ("RepositoryNotFoundError", KvcalcError, "not on the Hub, or private ('hf auth login' gives access)"),
    ("RevisionNotFoundError", KvcalcError, "no such revision"),
    ("LocalEntryNotFoundError", CannotRunError, "the Hub cannot be reached, and the cache does not have it"),
    ("EntryNotFoundError", KvcalcError, "a file that it lists is not there"),
    ("OfflineModeIsEnabled", CannotRunError, "the Hub is not asked (HF_HUB_OFFLINE), and the cache does not have it"),
    ("HFValidationError", KvcalcError, "no name that the Hub can have"),
    ("HfHubHTTPError", CannotRunError, "the Hub answers {status}"),
)
"""huggingface_hub's errors, the narrower first, the class that decides the exit code, and the message."""
