"""Asking the Hub through huggingface_hub: its token, cache and endpoint, with limits of our own on time and size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.importers.hub.waiting import together, within
from kvcalc.importers.json_text import MAX_BYTES, decoded
from kvcalc.importers.safetensors import LENGTH_BYTES, MAX_HEADER, header_length

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LIBRARY = "huggingface-hub>=1.0"
"""What is missing without the extra `hub`, as an installer takes it."""

FIRST_BYTES = 200_000
"""Of a safetensors file: more than most headers."""

TOGETHER = 8
"""Headers that are asked for at the same time."""

MAIN = "main"
WAITS, HEADER_WAITS = 3, 12
"""How many times the library's own limit for one answer all together may take."""


class Repository(NamedTuple):
    """A model's repository at one revision.

    Attributes:
        asked: the revision as it was asked for, or the Hub's default.
        revision: the commit.
        files: names of what lies in it; None where the Hub could not be asked and the cache answered.
    """

    asked: str
    revision: str
    files: frozenset[str] | None


class Client:
    """One repository on the Hub.

    Attributes:
        name: ORG/NAME.
        shown: how messages call it.
    """

    def __init__(self, name: str, shown: str) -> None:
        self.name, self.shown = name, shown
        try:
            import huggingface_hub  # noqa: PLC0415  # an extra, and slow to import
            from huggingface_hub import constants, errors, utils  # noqa: PLC0415
        except ImportError as error:
            command = f"python -m pip install '{LIBRARY}'"
            raise CannotRunError(f"{shown}: needs huggingface_hub, which is not installed here: {command}") from error
        self.hub: Any = huggingface_hub
        self.errors: Any = errors
        self.utils: Any = utils
        self.utils.disable_progress_bars()
        self.utils.logging.set_verbosity_error()
        self.limit: float = constants.HF_HUB_ETAG_TIMEOUT

    def repository(self, revision: str | None) -> Repository:
        """Which commit a revision is, and what lies in it.

        Raises:
            CannotRunError: the Hub cannot be asked, and the cache has no such commit; or no access.
            KvcalcError: no such repository or revision.
        """
        try:
            info = self._asked(
                lambda: self.hub.HfApi().model_info(self.name, revision=revision, timeout=self.limit), WAITS
            )
        except CannotRunError as error:
            return self._cached(revision, error)
        names = frozenset(str(each.rfilename) for each in info.siblings or ())
        return Repository(revision or MAIN, str(info.sha), names)

    def _cached(self, revision: str | None, error: CannotRunError) -> Repository:
        found = self.hub.try_to_load_from_cache(self.name, "config.json", revision=revision)
        if not isinstance(found, str):
            raise error
        return Repository(revision or MAIN, Path(found).parent.name, None)

    def file(self, repository: Repository, name: str, most: int = MAX_BYTES) -> Path:
        """A file of a repository, in the library's cache.

        Raises:
            CannotRunError: it cannot be had.
            KvcalcError: there is none, or it is too large.
        """
        if repository.files is not None and name not in repository.files:
            raise KvcalcError(f"{self.shown}: has no {name}" + self._what_instead(repository.files))
        cached = self.hub.try_to_load_from_cache(self.name, name, revision=repository.revision)
        if isinstance(cached, str):
            return Path(cached)
        url = self.hub.hf_hub_url(self.name, name, revision=repository.revision)

        def download() -> str:
            size = self.hub.get_hf_file_metadata(url, timeout=self.limit).size
            if size is not None and size > most:
                raise KvcalcError(f"{self.shown}/{name}: larger than {most:,} bytes")
            return str(self.hub.hf_hub_download(self.name, name, revision=repository.asked, etag_timeout=self.limit))

        found = Path(self._asked(download, WAITS))
        if found.parent.name != repository.revision:  # as asked for, so that the cache knows it by that name too
            raise CannotRunError(f"{self.shown}: {repository.asked} changed while it was read; ask again")
        return found

    def _what_instead(self, files: frozenset[str]) -> str:
        quantised = sorted(name for name in files if name.lower().endswith(".gguf"))
        return f"; of its {len(quantised)} GGUF files, download one and name it" if quantised else ""

    def headers(self, repository: Repository, names: list[str]) -> list[tuple[str, str]]:
        """The headers of safetensors files, in the order of their names.

        Raises:
            CannotRunError: they cannot be had.
            KvcalcError: a file is none.
        """

        def all_of_them() -> list[str]:
            return together(TOGETHER, names, lambda name: self._header(repository, name))

        return list(zip(names, self._asked(all_of_them, HEADER_WAITS), strict=True))

    def _header(self, repository: Repository, name: str) -> str:
        shown = f"{self.shown}/{name}"
        url = self.hub.hf_hub_url(self.name, name, revision=repository.revision)
        start = self._bytes(url, 0, FIRST_BYTES)
        length = header_length(start[:LENGTH_BYTES], shown)
        data = start[LENGTH_BYTES:]
        if len(data) < length:
            data += self._bytes(url, LENGTH_BYTES + len(data), length - len(data))
        if len(data) < length:
            raise KvcalcError(f"{shown}: cut off")
        return decoded(data[:length], shown, MAX_HEADER)

    def _bytes(self, url: str, begin: int, count: int) -> bytes:
        """So many bytes of a file, and never more, also of a server that sends the whole.

        Raises:
            KvcalcError: the server cannot send a part that is not the first.
        """
        headers = {**self.utils.build_hf_headers(), "range": f"bytes={begin}-{begin + count - 1}"}
        session, found = self.utils.get_session(), bytearray()
        with session.stream("GET", url, headers=headers, timeout=self.limit, follow_redirects=True) as response:
            self.utils.hf_raise_for_status(response)
            if begin and response.status_code != PARTIAL:
                raise KvcalcError(f"{self.shown}: the server does not send parts of files")
            for piece in response.iter_bytes(1 << 16):
                found += piece
                if len(found) >= count:
                    break
        return bytes(found[:count])

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
        except Exception as error:  # whatever a network library raises: told, never a traceback
            raise self._told(error) from error

    def _told(self, error: Exception) -> KvcalcError:
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
"""huggingface_hub's errors, the narrower first, what each means for the exit code, and how it is told."""

PARTIAL = 206
"""HTTP's status for a part of a file."""
