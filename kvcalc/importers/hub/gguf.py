"""A GGUF file of a repository on the Hub: `hf:ORG/NAME:Q4_K_M`, of which the header alone is asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.importers.gguf.header import Header, header_of
from kvcalc.importers.gguf.pieces import CutOffError
from kvcalc.importers.gguf.read import MAX_FILES, model_of_header
from kvcalc.importers.imported_model import model_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.importers.hub.client import Client, Repository
    from kvcalc.importers.imported_model import ImportedModel

PIECES = (1 << 20, 1 << 23, 1 << 26)
"""Bytes that are asked for until the header is whole; those with a tokenizer of 260,000 words take about 15 million."""

_PART = re.compile(r"(?P<stem>.*?)(-(?P<number>\d{5})-of-(?P<count>\d{5}))?\.gguf", re.IGNORECASE)
_LABEL = re.compile(r"(?:^|[-._/])((?:UD-)?(?:I?Q\d\w*|BF16|F16|F32|FP16|MXFP4\w*|TQ\d\w*))(?=[-./]|$)", re.IGNORECASE)
_NOT_MODELS = re.compile(r"(^|/)(mmproj|imatrix)", re.IGNORECASE)
MOST_SHOWN = 12


def gguf_model(client: Client, found: Repository, label: str, assumed: Mapping[str, Any]) -> ImportedModel:
    """The model of the one file, or the parts of one, whose name has a label.

    Args:
        client: of the repository.
        found: what it has.
        label: a file's name, or the quantisation in it, in any case.
        assumed: keys and values that decide what the file does not.

    Raises:
        CannotRunError: it cannot be had.
        KvcalcError: no file has that label, several have, or the file is not understood.
    """
    names = _chosen(client, sorted(found.files or ()), label)
    headers = [_header(client, found, name) for name in names]
    whole = Header(headers[0].values, tuple(tensor for header in headers for tensor in header.tensors))
    shown = f"{client.shown}/{names[0]}"
    stem = names[0].rpartition("/")[2]
    match = _PART.fullmatch(stem)
    return model_of_header(whole, model_name(match["stem"] if match else stem), shown, assumed)


def _chosen(client: Client, files: list[str], label: str) -> list[str]:
    groups: dict[str, list[str]] = {}
    for name in files:
        match = _PART.fullmatch(name)
        if match is not None and not _NOT_MODELS.search(name):
            groups.setdefault(match["stem"], []).append(name)
    wanted = label.lower()
    chosen = [names for stem, names in groups.items() if wanted in {_label(stem), *(each.lower() for each in names)}]
    if len(chosen) != 1:
        labels = sorted({_label(stem) or f"{stem}.gguf" for stem in groups})
        shown = ", ".join(labels[:MOST_SHOWN]) + (", ..." if len(labels) > MOST_SHOWN else "")
        what = f"{len(chosen)} files are" if chosen else "no GGUF file is"
        raise KvcalcError(f"{client.shown}: {what} called '{label[:60]}'; there are {shown or 'none'}")
    names = chosen[0]
    match = _PART.fullmatch(names[0])
    count = int(match["count"]) if match and match["count"] else 1
    if len(names) != count or count > MAX_FILES:
        raise KvcalcError(f"{client.shown}: {len(names)} of {count} parts of '{label[:60]}' are there")
    return names


def _label(stem: str) -> str:
    """The quantisation in a file's name, in lower case; the last where there are several."""
    found = _LABEL.findall(stem)
    return str(found[-1]).lower() if found else ""


def _header(client: Client, found: Repository, name: str) -> Header:
    shown = f"{client.shown}/{name}"
    for count in PIECES:
        data = client.start(found, name, count)
        try:
            return header_of(data, shown)
        except CutOffError:
            if len(data) < count:
                raise
    raise KvcalcError(f"{shown}: its header is longer than {PIECES[-1]:,} bytes")
