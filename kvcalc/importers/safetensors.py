"""Headers of safetensors files: what every tensor takes, without reading any of them.

A file is eight bytes with the length of its header, the header (JSON: dtype, shape and place of each tensor), and the
tensors. Source: https://github.com/safetensors/safetensors#format.
"""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from kvcalc.errors import KvcalcError
from kvcalc.files import is_there, open_file, read_bytes
from kvcalc.formats.weights import find_weight_format
from kvcalc.importers.json_text import decoded, parse_mapping, parse_word
from kvcalc.importers.tensors import WITHOUT_FILES, AddedUp, StoredTensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import BufferedReader
    from pathlib import Path

LENGTH_BYTES = 8
MAX_HEADER, MAX_HEADERS = 16_000_000, 200_000_000
"""Bytes of a file's header, and of all files' together."""

FORMATS_HEADER = 100_000_000
"""What the format's own library allows; a longer one is no such file."""

MAX_INDEX, MAX_FILES = 100_000_000, 10_000
"""Bytes of an index, and files that it names."""

MAX_DIMS, MAX_ELEMENTS = 16, 10**12
"""Of a tensor, and along each of them."""

ADAPTER = "adapter_"
"""How files begin that hold what is added to a checkpoint, not one."""

INDEX_FILE, SINGLE_FILE = "model.safetensors.index.json", "model.safetensors"

FORMAT_OF: Mapping[str, str] = {
    "F64": "fp64",
    "F32": "fp32",
    "F16": "fp16",
    "BF16": "bf16",
    "F8_E4M3": "fp8",
    "F8_E5M2": "fp8_e5m2",
    "F8_E8M0": "fp8_e8m0",
    "F6_E2M3": "fp6_e2m3",
    "F6_E3M2": "fp6_e3m2",
    "F4": "fp4",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "BOOL": "bool",
}
"""What kvcalc calls the dtypes of safetensors 0.8.0 (safetensors/src/tensor.rs)."""

_WEIGHT_MAP = re.compile(rb'"weight_map"\s*:\s*\{')
_PLACE = re.compile(rb"""\s*"(?:[^"\\]|\\.){1,1000}+"\s*:\s*("(?:[^"\\]|\\.){1,1000}+")\s*([,}])""")
"""A tensor's name and its file's, and what follows."""

_SHARD = re.compile(r".*-(\d{1,6})-of-(\d{1,6})\.safetensors")


class Headers(NamedTuple):
    """Where tensors were found.

    Attributes:
        tensors: all, added up by role, layer and format.
        files: how many files hold them.
    """

    tensors: tuple[StoredTensor, ...]
    files: int


class HeaderSizes:
    """The length of all headers together, which is known before any of them is read."""

    def __init__(self, shown: str) -> None:
        self._shown, self._total = shown, 0

    def add(self, length: int) -> None:
        """One more.

        Raises:
            KvcalcError: more than any checkpoint has.
        """
        self._total += length
        if self._total > MAX_HEADERS:
            raise KvcalcError(f"{self._shown}: headers of more than {MAX_HEADERS:,} bytes in all")


def folder_headers(folder: Path, shown: str) -> Headers | None:
    """The tensors of a checkpoint's files; None where a folder has none.

    Only files that lie in the folder are opened: an index's words are compared with their names.

    Raises:
        KvcalcError: a file is missing, cut off, or not what it is called; or several checkpoints lie there.
    """
    there = sorted(path.name for path in folder.glob("*.safetensors"))
    there = [name for name in there if not name.startswith(ADAPTER)]
    if is_there(folder / INDEX_FILE):
        index = f"{shown}/{INDEX_FILE}"
        wanted = indexed_files(read_bytes(folder / INDEX_FILE, index, MAX_INDEX), index)
        missing = [name for name in wanted if name not in there]
        if missing:
            raise KvcalcError(
                f"{shown}: {INDEX_FILE} names {missing[0][:60]}, which is not there ({len(missing)} of {len(wanted)} "
                "files are missing)"
            )
    elif not there:
        return None
    else:
        wanted = _one_checkpoint(there, shown)
    sizes, found = HeaderSizes(shown), AddedUp(shown)
    for name in wanted:
        with open_file(folder / name, f"{shown}/{name}") as file:
            sizes.add(header_length(_read(file, LENGTH_BYTES, f"{shown}/{name}"), f"{shown}/{name}"))
    for name in wanted:
        found.add(file_header(folder / name, f"{shown}/{name}"))
    return Headers(found.tensors, len(wanted))


def indexed_files(raw: bytes, shown: str) -> list[str]:
    """The files that an index names.

    Its weight_map, which may name a million tensors, is passed over; only the files that it names are kept.

    Raises:
        KvcalcError: it is no index.
    """
    if len(raw) > MAX_INDEX:
        raise KvcalcError(f"{shown}: larger than {MAX_INDEX:,} bytes")
    begin = _WEIGHT_MAP.search(raw)
    if begin is None:
        raise KvcalcError(f"{shown}: it has no weight_map")
    names, end = set[bytes](), begin.end()
    place = _PLACE.match(raw, begin.end())
    while place is not None:
        names.add(place[1])
        if len(names) > MAX_FILES:
            raise KvcalcError(f"{shown}: more than {MAX_FILES:,} files")
        end = place.end()
        place = _PLACE.match(raw, end) if place[2] == b"," else None
    if raw[end - 1 : end] != b"}":
        raise KvcalcError(f"{shown}: it has no weight_map of a file for each tensor")
    if parse_mapping(decoded(raw[: begin.end()] + b"}" + raw[end:], shown), shown).get("weight_map") != {}:
        raise KvcalcError(f"{shown}: it has no weight_map")
    return sorted(parse_word(name, shown) for name in names)


def _one_checkpoint(there: list[str], shown: str) -> list[str]:
    if SINGLE_FILE in there:
        return [SINGLE_FILE]
    shards = [match for match in map(_SHARD.fullmatch, there) if match]
    if len(there) == 1 and not shards:
        return there
    numbers = sorted((int(match[1]), int(match[2])) for match in shards)
    if numbers == [(number, len(there)) for number in range(1, len(there) + 1)]:
        return there
    if len(numbers) == len(there) and len({count for _, count in numbers}) == 1:
        raise KvcalcError(f"{shown}: {len(there)} of {numbers[0][1]} *.safetensors files; the others are not there")
    raise KvcalcError(
        f"{shown}: {len(there)} *.safetensors files and no {INDEX_FILE} that says which belong together; "
        f"{WITHOUT_FILES}"
    )


def file_header(path: Path, shown: str) -> list[StoredTensor]:
    """The tensors of one file.

    Raises:
        KvcalcError: it is cut off, or no safetensors file.
    """
    with open_file(path, shown) as file:
        size = os.fstat(file.fileno()).st_size
        length = header_length(_read(file, LENGTH_BYTES, shown), shown)
        text = decoded(_read(file, length, shown), shown, MAX_HEADER)
    found = list(header_tensors(text, shown))
    end = LENGTH_BYTES + length + sum(tensor.size for tensor in found)
    if size != end:
        raise KvcalcError(f"{shown}: {size:,} bytes, and its header lists {end:,}: cut off, or not whole")
    return found


def _read(file: BufferedReader, count: int, shown: str) -> bytes:
    try:
        return file.read(count)
    except OSError as error:
        raise KvcalcError(f"{shown}: cannot be read: {error.strerror or error}") from error


def header_length(start: bytes, shown: str) -> int:
    """How long a header is, from a file's first eight bytes.

    Raises:
        KvcalcError: no header is that long.
    """
    length = int.from_bytes(start, "little")
    if MAX_HEADER < length <= FORMATS_HEADER:
        raise KvcalcError(f"{shown}: a header of {length:,} bytes is beyond the limit of {MAX_HEADER:,}")
    if len(start) < LENGTH_BYTES or not len("{}") <= length <= MAX_HEADER:
        pointer = " (a Git LFS pointer: the file itself was not downloaded)" if start.startswith(b"version ") else ""
        raise KvcalcError(f"{shown}: not a safetensors file{pointer}")
    return length


def header_tensors(text: str, shown: str) -> Iterator[StoredTensor]:
    """The tensors that a header lists.

    Raises:
        KvcalcError: it is something else, or lists a tensor whose bytes are not those of its shape.
    """
    for name, about in parse_mapping(text, shown).items():
        if name == "__metadata__":
            continue
        yield _tensor(name, about, shown)


def _tensor(name: str, about: Any, shown: str) -> StoredTensor:
    where = f"{shown}: tensor '{name[:60]}'"
    values = about if isinstance(about, dict) else {}
    dtype, shape, offsets = values.get("dtype"), values.get("shape"), values.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in FORMAT_OF:
        raise KvcalcError(f"{where}: dtype {str(dtype)[:40]} is not known")
    if not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != len(("begin", "end")):
        raise KvcalcError(f"{where}: no shape and data_offsets")
    if len(shape) > MAX_DIMS or any(each > MAX_ELEMENTS for each in shape):
        raise KvcalcError(f"{where}: a shape that no tensor has")
    elements, form = math.prod(shape), find_weight_format(FORMAT_OF[dtype], "dtype")
    size = math.prod(factor.value for factor in form.parameters(elements))
    if offsets[1] - offsets[0] != size:
        raise KvcalcError(f"{where}: {offsets[1] - offsets[0]:,} bytes, and its shape in {dtype} takes {size:,}")
    return StoredTensor(name, form.name, elements, size)


def _whole_numbers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)
