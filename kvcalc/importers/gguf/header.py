"""The header of a GGUF file: keys with values, and each tensor's name, shape and type. Tensors are not read.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.

Files are hostile until read: every length is held against the file's size before anything is taken of it, and what a
model's shape does not need (a vocabulary of words) is passed over.
"""

from __future__ import annotations

import math
import os
import struct
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.files import open_file
from kvcalc.formats.weights import find_weight_format
from kvcalc.importers.gguf.fork_types import FORK_TYPES
from kvcalc.importers.gguf.pieces import Pieces
from kvcalc.importers.gguf.types import TENSOR_TYPES, WITHDRAWN
from kvcalc.importers.tensors import StoredTensor

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

MAGIC, VERSIONS = b"GGUF", (2, 3)
MAX_KEYS, MAX_TENSORS, MAX_DIMS = 10_000, 100_000, 4
MAX_KEY, MAX_TENSOR_NAME = 65_535, 64
"""Bytes of names: the format's limits."""

MAX_KEPT, MAX_KEPT_IN_ALL = 10_000, 1_000_000
"""Bytes or entries of a value that is kept, and of all with their keys."""

MAX_PASSED = 3_000_000
"""Words of lists that are passed over, in all."""

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


class Skipped(NamedTuple):
    """A list that was not read: how long it is."""

    length: int


MAX_SIZE = 10**15
"""Bytes of a file; the largest published are below 10^13."""


class Header(NamedTuple):
    """The keys and tensors that a file's header lists.

    Attributes:
        values: by key; a long list of words is only its length.
        tensors: in order.
        missing: bytes of them that the file lacks, such as one that has the header alone.
    """

    values: dict[str, Any]
    tensors: tuple[StoredTensor, ...]
    missing: int = 0


def header_of(data: bytes, shown: str) -> Header:
    """The header at the beginning of a file, of which these bytes are the start.

    Raises:
        CutOffError: they are fewer than the header has.
        KvcalcError: no GGUF file.
    """
    try:
        return _Cursor(BytesIO(data), len(data), shown).header()._replace(missing=0)
    except ValueError as error:
        raise KvcalcError(f"{shown}: cannot be read: {error}") from error


def read_header(path: Path, shown: str) -> Header:
    """The header of one file.

    Raises:
        KvcalcError: it cannot be read, is cut off, or no GGUF file.
    """
    with open_file(path, shown) as file:
        try:
            return _Cursor(file, os.fstat(file.fileno()).st_size, shown).header()
        except (OSError, ValueError) as error:
            raise KvcalcError(f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


class _Cursor(Pieces):
    """A place in a header: what stands there is read as keys, values and tensors."""

    def __init__(self, file: BufferedReader | BytesIO, size: int, shown: str) -> None:
        super().__init__(file, size, shown)
        self.passed = self.kept = 0

    def header(self) -> Header:
        if self.take(4) != MAGIC:
            raise self.error("not a GGUF file")
        version = self.number("<I")
        if version not in VERSIONS:
            raise self.error(f"GGUF version {version} is not one of {VERSIONS[0]} and {VERSIONS[1]}")
        tensors, keys = self.number("<Q"), self.number("<Q")
        if keys > MAX_KEYS or tensors > MAX_TENSORS:
            raise self.error(f"{keys:,} keys and {tensors:,} tensors are beyond {MAX_KEYS:,} and {MAX_TENSORS:,}")
        values: dict[str, Any] = {}
        for _ in range(keys):
            key = self.word(MAX_KEY)
            self.keep(len(key))
            if key in values:
                raise self.error(f"key '{key[:60]}' is there twice")
            values[key] = self.value(self.number("<I"))
        found = [self.tensor() for _ in range(tensors)]
        missing = self.check_places(found, values.get("general.alignment", 32))
        return Header(values, tuple(tensor for tensor, _ in found), missing)

    def tensor(self) -> tuple[StoredTensor, int]:
        """A tensor, and where its bytes begin after the header."""
        name = self.word(MAX_TENSOR_NAME)
        where = f"tensor '{name[:60]}'"
        dims = self.number("<I")
        if dims > MAX_DIMS:
            raise self.error(f"{where}: {dims:,} dims are more than {MAX_DIMS}")
        shape = [self.number("<Q") for _ in range(dims)]
        kind, offset = self.number("<I"), self.number("<Q")
        fork = FORK_TYPES.get(kind)
        known = TENSOR_TYPES.get(kind) or (fork.format if fork else None)
        if known is None and kind in WITHDRAWN:
            raise self.error(
                f"{where}: {WITHDRAWN[kind]} is no type that llama.cpp loads; another file of the model is"
            )
        if known is None:
            raise self.error(f"{where}: type {kind} is not known")
        form = find_weight_format(known, "type")
        row = shape[0] if shape else 1
        if any(each > self.size * form.block_elems for each in shape) or row % form.block_elems:
            raise self.error(f"{where}: a shape that {form.name} does not have")
        elements = math.prod(shape)
        size = math.prod(factor.value for factor in form.parameters(elements))
        beside = elements // row * fork.row_scale if fork and elements else 0
        return StoredTensor(name, form.name, elements, size + beside, beside), offset

    def check_places(self, found: list[tuple[StoredTensor, int]], alignment: Any) -> int:
        """Tensors lie after the header, and none over another; how many bytes of them the file lacks."""
        if type(alignment) is not int or alignment < 1:
            raise self.error(f"alignment {str(alignment)[:20]} is none")
        begin, end = -(-self.place // alignment) * alignment, 0
        for tensor, offset in sorted(found, key=lambda each: each[1]):
            if offset < end:
                raise self.error(f"tensor '{tensor.name[:60]}' lies over another")
            end = offset + tensor.size
        if begin + end > MAX_SIZE:
            raise self.error(f"its header lists {begin + end:,} bytes, beyond {MAX_SIZE:,}")
        return max(0, begin + end - self.size) if found else 0

    def value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            length = self.length()
            if length > MAX_KEPT:
                self.skip(length)
                return Skipped(length)
            self.keep(length)
            return self.text(length)
        if kind == _ARRAY:
            return self.array()
        raise self.error(f"a value of type {kind} is not known")

    def array(self) -> Any:
        kind, length = self.number("<I"), self.number("<Q")
        if kind in _SCALARS:
            form = _SCALARS[kind]
            size = struct.calcsize(form) * length
            if length > MAX_KEPT:
                self.skip(size)
                return Skipped(length)
            self.keep(length)
            return list(struct.unpack(f"<{length}{form[1]}", self.take(size)))
        if kind != _STRING:
            raise self.error(f"a list of type {kind} is not known")
        self.passed += length
        if self.passed > MAX_PASSED:
            raise self.error(f"lists of more than {MAX_PASSED:,} words")
        self.skip_words(length)
        return Skipped(length)

    def keep(self, count: int) -> None:
        """Hold what is kept against its limit."""
        self.kept += count
        if self.kept > MAX_KEPT_IN_ALL:
            raise self.error("more keys and values than a model has")
