"""From a name on the Hub to a model: its config.json at one revision, and what its safetensors files take."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvcalc.access import check_hub, own_files
from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.importers.config_json.quantisation import BESIDE, folder_quantisation, quantised_beside
from kvcalc.importers.config_json.read import import_config
from kvcalc.importers.hub.client import Client
from kvcalc.importers.json_text import decoded, parse_mapping
from kvcalc.importers.safetensors import (
    INDEX_FILE,
    MAX_HEADER,
    MAX_INDEX,
    SINGLE_FILE,
    Headers,
    folder_headers,
    header_tensors,
    indexed_files,
)
from kvcalc.importers.sourced import Sourced
from kvcalc.importers.tensors import AddedUp
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.importers.hub.client import Repository
    from kvcalc.importers.imported_model import ImportedModel

PREFIX, CONFIG_FILE = "hf:", "config.json"
_NAME = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95})(@(?P<revision>[\w./-]{1,100}))?"
    r"(:(?P<file>[\w./-]{1,200}))?"
)


def import_hub(text: str, assumed: Mapping[str, Any]) -> ImportedModel:
    """The model of `hf:ORG/NAME`, or `hf:ORG/NAME@REVISION`; of `hf:ORG/NAME:Q4_K_M` a GGUF file's.

    Args:
        text: which.
        assumed: keys and values that decide what config.json does not.

    Raises:
        CannotRunError: no huggingface_hub, no network, no access.
        KvcalcError: no such name, or a config.json that is not understood.
    """
    check_hub(text[:100])
    match = _NAME.fullmatch(text[len(PREFIX) :].strip())
    if match is None:
        raise KvcalcError(f"{text[:100]}: not {PREFIX}ORG/NAME or {PREFIX}ORG/NAME@REVISION")
    client = Client(match["repository"], f"{PREFIX}{match['repository']}")
    found = client.repository(match["revision"])
    if match["file"]:
        from kvcalc.importers.hub.gguf import gguf_model

        return _placed(gguf_model(client, found, match["file"], assumed), match["repository"], found, ())
    config = client.file(found, CONFIG_FILE, _checked)
    headers, notes = _headers(client, found)
    shown, name = f"{client.shown}/{CONFIG_FILE}", match["repository"].rpartition("/")[2]
    quantised = _quantised(client, found)
    imported = import_config(config, shown, name, assumed, headers, quantised)
    return _placed(imported, match["repository"], found, notes)


def _checked(raw: bytes, shown: str) -> str:
    """A JSON text, which nothing else is kept as."""
    text = decoded(raw, shown)
    parse_mapping(text, shown)
    return text


def _quantised(client: Client, found: Repository) -> Mapping[str, Any] | None:
    if found.folder is not None:
        return folder_quantisation(found.folder, client.shown)
    for name in BESIDE:
        if found.files is not None and name in found.files:
            return client.file(found, name, lambda raw, shown: quantised_beside(decoded(raw, shown), shown))
    return None


def _placed(imported: ImportedModel, repository: str, found: Repository, notes: tuple[Note, ...]) -> ImportedModel:
    """The model with where it came from among its fields, and in a note."""
    address = f"https://huggingface.co/{repository}/tree/{found.revision}"
    where = (
        ("hub_ids", Sourced((repository,), "the name asked for")),
        ("source", Sourced(address, "the revision read")),
    )
    name, *others = imported.fields
    cached = "" if found.files is not None else ", from the cache: the Hub was not asked"
    revision = note(
        "hub-revision", f"revision {found.revision}{cached}", revision=found.revision, from_cache=found.files is None
    )
    return imported.at(address, (name, *where, *others), (revision, *notes))


def _headers(client: Client, found: Repository) -> tuple[Headers | None, tuple[Note, ...]]:
    """What the repository's safetensors files hold, and a note where that could not be read."""
    if found.files is None:  # offline: only what was downloaded before is there
        try:
            with own_files():
                return None if found.folder is None else folder_headers(found.folder, client.shown), ()
        except KvcalcError:
            text = "its safetensors files are not all in the cache: their headers were not read"
            return None, (note("files-not-read", text, reason="not all in the cache"),)
    if INDEX_FILE in found.files:
        names = client.file(found, INDEX_FILE, indexed_files, MAX_INDEX)
    elif SINGLE_FILE in found.files:
        names = [SINGLE_FILE]
    else:
        return None, ()
    missing = [name for name in names if name not in found.files]
    if missing:
        raise KvcalcError(f"{client.shown}: {INDEX_FILE} names files that are not there ({missing[0][:60]})")
    added = AddedUp(client.shown)

    def take(name: str, raw: bytes) -> None:
        shown = f"{client.shown}/{name}"
        added.add(header_tensors(decoded(raw, shown, MAX_HEADER), shown))

    try:
        client.headers(found, names, take)
    except CannotRunError as error:
        text = f"the headers of its safetensors files could not be read: {error}"
        return None, (note("files-not-read", text, reason=str(error)),)
    return Headers(added.tensors, len(names)), ()
