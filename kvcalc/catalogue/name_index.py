"""The names of every model that ships, read from its file without building it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.catalogue.hub_ids import model_texts
from kvcalc.catalogue.name_words import Word, spelled, words_of

if TYPE_CHECKING:
    from pathlib import Path

_LIST = re.compile(r"^(hub_ids|aliases): \[(.*)\]$", re.MULTILINE)
_PARAMETERS = re.compile(r"^parameters: (\d+)$", re.MULTILINE)


class KnownName(NamedTuple):
    """One name of a model: of its file, on the Hub without its organisation, or another that people use.

    Attributes:
        path: of the model's file.
        organisation: on the Hub, in lower case; empty without one.
        is_alias: whether it is another name that people use.
        parameters: of the model, where its file has them.
        text: the name, in lower case.
        spelled: the same without separators.
    """

    path: Path
    organisation: str
    is_alias: bool
    parameters: int | None
    text: str
    spelled: str

    @property
    def words(self) -> tuple[Word, ...]:
        return _words(self.text)


def known_names() -> tuple[KnownName, ...]:
    """Every name of every model that ships. A file is read again only where it has changed."""
    return _names(model_texts())


@lru_cache(maxsize=2)
def _names(texts: tuple[tuple[Path, str], ...]) -> tuple[KnownName, ...]:
    return tuple(name for path, text in texts for name in _names_of(path, text))


def paths_named(text: str) -> list[Path]:
    """The files of models that have a text in one of their names, however it is spelled, or each of its words."""
    key, parts = spelled(text), [spelled(part) for part in text.split()]
    found = (
        known.path
        for known in known_names()
        if _is_in(key, known.spelled) or (parts and all(_is_in(part, known.spelled) for part in parts))
    )
    return list(dict.fromkeys(found))


def _is_in(part: str, name: str) -> bool:
    """Whether a part stands in a name with whole numbers: qwen3 is not in qwen32b."""
    return bool(part) and re.search(rf"(?<!\d(?=\d)){re.escape(part)}(?!(?<=\d)\d)", name) is not None


@lru_cache(maxsize=4096)
def _words(name: str) -> tuple[Word, ...]:
    return words_of(name)


@lru_cache(maxsize=2048)
def _names_of(path: Path, text: str) -> tuple[KnownName, ...]:
    parameters = _PARAMETERS.search(text)
    count = None if parameters is None else int(parameters[1])
    names = {(path.stem, "", False): None}
    for listed in _LIST.finditer(text):
        for each in listed[2].split(","):
            organisation, _, name = each.strip().strip("\"'").rpartition("/")
            names[name, organisation, listed[1] == "aliases"] = None
    return tuple(
        KnownName(path, organisation, is_alias, count, name, spelled(name)) for name, organisation, is_alias in names
    )
