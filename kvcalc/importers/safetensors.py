"""Headers of safetensors files: what every tensor takes, without reading any of them.

A file is eight bytes that say how long its header is, the header (JSON: dtype, shape and place of each tensor), and the
tensors. Source: https://github.com/safetensors/safetensors#format.
"""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from kvcalc.errors import KvcalcError
from kvcalc.files import is_there, open_file
from kvcalc.importers.json_text import decoded, parse_mapping, read_text
from kvcalc.importers.tensors import StoredTensor
from kvcalc.weight_formats import find_weight_format

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LENGTH_BYTES = 8
MAX_HEADER = 100_000_000
"""As the format's own library allows."""

MAX_INDEX = 100_000_000
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

WITHOUT_FILES = "name config.json itself, and give --weights SIZE"
"""The way on where a checkpoint's files tell nothing."""

_SHARD = re.compile(r".*-(\d{1,6})-of-(\d{1,6})\.safetensors")


class Headers(NamedTuple):
    """Where tensors were found.

    Attributes:
        tensors: all.
        files: how many files hold them.
    """

    tensors: tuple[StoredTensor, ...]
    files: int


def folder_headers(folder: Path, shown: str) -> Headers | None:
    """The tensors of a checkpoint's files; None where a folder has none.

    Only files that lie in the folder are opened: an index's words are compared with their names.

    Raises:
        KvcalcError: a file is missing, cut off, or not what it is called; or several checkpoints lie there.
    """
    there = sorted(path.name for path in folder.glob("*.safetensors"))
    there = [name for name in there if not name.startswith(ADAPTER)]
    if is_there(folder / INDEX_FILE):
        wanted = indexed_files(
            read_text(folder / INDEX_FILE, f"{shown}/{INDEX_FILE}", MAX_INDEX), f"{shown}/{INDEX_FILE}"
        )
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
    tensors = [tensor for name in wanted for tensor in file_header(folder / name, f"{shown}/{name}")]
    if not tensors:
        raise KvcalcError(f"{shown}: its {len(wanted)} *.safetensors files hold no tensors; {WITHOUT_FILES}")
    return Headers(tuple(tensors), len(wanted))


def indexed_files(text: str, shown: str) -> list[str]:
    """The files that an index names.

    Raises:
        KvcalcError: it is no index.
    """
    names = parse_mapping(text, shown).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise KvcalcError(f"{shown}: it has no weight_map")
    return sorted(set(names.values()))


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
        try:
            size = os.fstat(file.fileno()).st_size
            length = header_length(file.read(LENGTH_BYTES), shown)
            text = decoded(file.read(length), shown, MAX_HEADER)
        except OSError as error:
            raise KvcalcError(f"{shown}: cannot be read: {error.strerror or error}") from error
    found = list(header_tensors(text, shown))
    end = LENGTH_BYTES + length + sum(tensor.size for tensor in found)
    if size != end:
        raise KvcalcError(f"{shown}: {size:,} bytes, where its header tells of {end:,}: cut off, or not whole")
    return found


def header_length(start: bytes, shown: str) -> int:
    """How long a header is, from a file's first eight bytes.

    Raises:
        KvcalcError: no header is that long.
    """
    length = int.from_bytes(start, "little")
    if len(start) < LENGTH_BYTES or not len("{}") <= length <= MAX_HEADER:
        pointer = " (a Git LFS pointer: the file itself was not downloaded)" if start.startswith(b"version ") else ""
        raise KvcalcError(f"{shown}: not a safetensors file{pointer}")
    return length


def header_tensors(text: str, shown: str) -> Iterator[StoredTensor]:
    """The tensors that a header tells of.

    Raises:
        KvcalcError: it tells something else, or of a tensor whose bytes are not those of its shape.
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
