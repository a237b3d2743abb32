"""A file that is read in pieces, each held against the file's size."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from io import BufferedReader, BytesIO

_LENGTH = struct.Struct("<Q")
CHUNK = 1 << 20


class CutOffError(KvcalcError):
    """A file ends before its header does."""


class Pieces:
    """A place in a file.

    Attributes:
        file: whose bytes are taken.
        size: of it.
        shown: its name in messages.
    """

    def __init__(self, file: BufferedReader | BytesIO, size: int, shown: str) -> None:
        self.file, self.size, self.shown = file, size, shown
        self.buffer, self.at, self.start = b"", 0, 0

    @property
    def place(self) -> int:
        """Bytes from the beginning."""
        return self.start + self.at

    def take(self, count: int) -> bytes:
        """So many bytes."""
        if self.at + count > len(self.buffer):
            self.refill(count)
        taken = self.buffer[self.at : self.at + count]
        self.at += count
        return taken

    def skip(self, count: int) -> None:
        """Skip `count` bytes."""
        if self.at + count <= len(self.buffer):
            self.at += count
            return
        place = self.place + count
        if place > self.size:
            raise CutOffError(f"{self.shown}: cut off within its header")
        self.file.seek(place)
        self.buffer, self.at, self.start = b"", 0, place

    def refill(self, count: int) -> None:
        """Read on, at least so many bytes."""
        place = self.place
        if place + count > self.size:
            raise CutOffError(f"{self.shown}: cut off within its header")
        self.file.seek(place)
        self.buffer, self.at, self.start = self.file.read(max(count, CHUNK)), 0, place
        if len(self.buffer) < count:
            raise CutOffError(f"{self.shown}: cut off within its header")

    def number(self, form: str) -> Any:
        """A number in this form of `struct`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, length: int) -> str:
        """So many bytes, as letters."""
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error("a name or a value that is not UTF-8") from error

    def length(self) -> int:
        """Of a string; versions 2 and 3 have eight bytes for it."""
        return int(self.number("<Q"))

    def word(self, most: int) -> str:
        """A name of at most so many bytes."""
        length = self.length()
        if length > most:
            raise self.error(f"a name of {length:,} bytes")
        return self.text(length)

    def skip_words(self, count: int) -> None:
        """Skip `count` strings; within a piece without a call for each, since there may be a million."""
        while count:
            buffer, at, end = self.buffer, self.at, len(self.buffer)
            while count and at + 8 <= end:
                after = at + 8 + _LENGTH.unpack_from(buffer, at)[0]
                if after > end:
                    break
                at, count = after, count - 1
            self.at = at
            if count:  # one that goes on in the next piece
                self.skip(self.length())
                count -= 1

    def error(self, what: str) -> KvcalcError:
        """An error with the name of the file."""
        return KvcalcError(f"{self.shown}: {what}")
