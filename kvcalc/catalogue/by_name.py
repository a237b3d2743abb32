"""Which model of the catalogue a name is meant for, where it is none of its names to the letter.

Names match word by word. What people add (-instruct, who made it) and what they leave out (dates, releases) does not
matter as long as all models that a name may be of keep the same cache beside weights of one size; where they do not,
they are named instead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.catalogue import shipped
from kvcalc.catalogue.name_index import KnownName, known_names
from kvcalc.catalogue.name_words import ADDED, SIZE_CLASSES, UNSAID, Kind, Word, spelled, words_of
from kvcalc.catalogue.suggestions import listed_differences, same_cache
from kvcalc.errors import KvcalcError
from kvcalc.formats.told import ToldFormat, told_format

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kvcalc.catalogue.typed_name import TypedName
    from kvcalc.model.model import Model

_SIZES = {"b": 10**9, "m": 10**6, "t": 10**12}
_LABEL = re.compile(r"(\d+(?:\.\d+)?)([bmt])")
_ROUNDED = 0.06
"""How far a size in a name may be off the parameters: phi4:14b has 14.7 billion."""

_UNTRAINED, _TUNED = frozenset({"base", "pt"}), frozenset({"instruct", "chat", "it", "inst"})

_NEWEST = ":latest"
"""A registry's tag that says nothing of sizes: what it stands for is known of whole names alone."""

_VERSION_WITH_DASH = re.compile(r"(?:(?<![\d.])(\d)-|(?<=[a-z])(\d))(\d)(?=-\d+(?:\.\d+)?b)")
"""llama-3-1-8b and llama31-8b, where no model has such a name."""


class ByName(NamedTuple):
    """A model of the catalogue that a name is meant for.

    Attributes:
        path: of its file.
        told: what the name says beyond it.
        same: whether the name is one of its own but for how it is spelled.
        alias: whether it is another name that people use for it.
        others: names of models that it may as well be of; they keep the same cache.
        one_size: whether it says no size, and the catalogue has one of it.
    """

    path: Path
    told: ToldFormat
    same: bool = False
    alias: bool = False
    others: tuple[str, ...] = ()
    one_size: bool = False


def by_name(typed: TypedName) -> ByName | None:
    """The model that a name is meant for; None where there is none.

    Raises:
        KvcalcError: it may be several, which keep different caches.
    """
    if not typed.name.isprintable():
        return None
    known = list(known_names())
    whole = ToldFormat(typed.name)
    told = told_format(typed.name, typed.organisation)
    if typed.file:
        told = told._replace(stored=told_format(typed.file).stored or told.stored, gguf=True)
    asked = [whole] if told.stored is None and not told.gguf else [whole, told]
    for each in asked:
        pointed = each._replace(bare=_with_point(each.bare))
        found = _alike(each, typed, known) or _alike(pointed, typed, known)
        found = found or _short(each, known, typed.name) or _short(pointed, known, typed.name)
        if found is not None:
            return found
    return None


def _with_point(name: str) -> str:
    return _VERSION_WITH_DASH.sub(r"\1\2.\3", re.sub("[ _]", "-", name))


def _alike(told: ToldFormat, typed: TypedName, known: list[KnownName]) -> ByName | None:
    key, organisation = spelled(told.bare), typed.organisation.lower()
    names = [name for name in known if name.spelled == key]
    if not names:
        return None
    found = _only(_distinct(name.path for name in names), told, words_of(told.bare), shown=typed.name)
    alias = all(name.is_alias for name in names)
    told_of_weights = told.stored is not None or told.gguf
    known_there = not organisation or any(name.organisation == organisation for name in names)
    return found._replace(alias=alias, same=known_there and not alias and not told_of_weights)


def _short(told: ToldFormat, known: list[KnownName], shown: str) -> ByName | None:
    asked = words_of(told.bare)
    family = next((word.text for word in asked if word.kind is Kind.NAME), None)
    if family is None:
        return None
    alike = (name for name in known if family in name.text and not name.text.endswith(_NEWEST))
    matched = [(name, unsaid) for name in alike if (unsaid := _unsaid(asked, name)) is not None]
    sized = any(word.kind is Kind.SIZE for word in asked)
    for left_out in (ADDED | {Kind.DTYPE}, UNSAID) if sized else (ADDED | {Kind.DTYPE}, UNSAID | {Kind.SIZE}):
        of_name = [(name, unsaid) for name, unsaid in matched if unsaid <= left_out]
        if of_name and Kind.SIZE in left_out and not any(word.kind is Kind.GENERATION for word in asked):
            # mistral-small is as well Mistral-Small-3.1-24B as the first, whose name has neither size nor number
            of_name = [(name, unsaid) for name, unsaid in matched if unsaid <= left_out | {Kind.GENERATION}]
        paths = _distinct(name.path for name, _ in of_name)
        if len(paths) == 1 and not sized:  # jamba is as well Jamba-Mini as Jamba-v0.1
            paths += _distinct(name.path for name, _ in matched if _says_a_class_more(name, asked))
            paths = _distinct(paths)
        if paths:
            found = _only(paths, told, asked, shown=shown)
            return found._replace(one_size=len(paths) == 1 and all(Kind.SIZE in unsaid for _, unsaid in of_name))
    if sized:
        paths = _distinct(
            name.path for name, unsaid in matched if unsaid <= UNSAID | {Kind.NAME} and _is_sized(name, asked)
        )
        if paths:
            return _only(paths, told, asked, shown=shown)
    left_out = UNSAID | {Kind.GENERATION}
    of_generations = [name for name, unsaid in matched if unsaid <= left_out]
    several = len({_generation(name) for name in of_generations}) > 1
    if several and _has_unnumbered(family, known):
        return _only(_distinct(name.path for name in of_generations), told, asked, shown=shown)
    return None


def _has_unnumbered(family: str, known: list[KnownName]) -> bool:
    """Whether the first models of a family, which have no number, are known: then one that is not there is none.

    ChatGLM-6B came before ChatGLM2-6B, and is another model than that and ChatGLM3-6B, which are alike.
    """
    alike = (name.words for name in known if name.spelled.startswith(family))
    return any(
        words[0].text == family
        and all(word.kind in {Kind.NAME, Kind.SIZE, *UNSAID} for word in words)
        and sum(word.kind is Kind.NAME for word in words) == 1
        for words in alike
    )


def _unsaid(asked: tuple[Word, ...], name: KnownName) -> frozenset[Kind] | None:
    """What kinds of words a name has that were not asked for; None where it lacks one that was."""
    has = {word.text for word in name.words}
    sized = any(word.kind is Kind.SIZE for word in name.words)
    for word in asked:
        if word.text in has or word.kind in ADDED:
            continue
        if word.kind is not Kind.SIZE or sized or not _is_size_of(word.text, name.parameters):
            return None
    wanted = {word.text for word in asked}
    return frozenset(word.kind for word in name.words if word.text not in wanted)


def _is_size_of(label: str, parameters: int | None) -> bool:
    size = _LABEL.fullmatch(label)
    if size is None or parameters is None:
        return False
    return abs(float(size[1]) * _SIZES[size[2]] / parameters - 1) <= _ROUNDED


def _is_sized(name: KnownName, asked: tuple[Word, ...]) -> bool:
    """Whether a name says more than was asked for by words for sizes alone."""
    wanted = {word.text for word in asked}
    return all(word.text in wanted or word.text in SIZE_CLASSES for word in name.words if word.kind is Kind.NAME)


def _says_a_class_more(name: KnownName, asked: tuple[Word, ...]) -> bool:
    """Whether a name has one of the words for sizes, and no other word of its family, beside what was asked for."""
    wanted = {word.text for word in asked}
    more = [word.text for word in name.words if word.kind is Kind.NAME and word.text not in wanted]
    return bool(more) and all(each in SIZE_CLASSES for each in more)


def _generation(name: KnownName) -> tuple[str, ...]:
    return tuple(word.text for word in name.words if word.kind is Kind.GENERATION)


def _distinct(paths: Iterable[Path]) -> list[Path]:
    return list(dict.fromkeys(paths))


def _only(paths: list[Path], told: ToldFormat, asked: tuple[Word, ...], *, shown: str) -> ByName:
    """The newest, where all keep the same cache.

    Raises:
        KvcalcError: they do not, or their weights are of unlike sizes.
    """
    if len(paths) > 1:
        paths = sorted(paths, key=lambda path: _age(path, asked), reverse=True)
        models = [shipped.read_model(path) for path in paths]
        if not same_cache(models) or not _as_large(models):
            raise KvcalcError(*listed_differences(shown, paths))
    newest, *others = paths
    return ByName(newest, told, others=tuple(path.stem for path in others))


def _as_large(models: Iterable[Model]) -> bool:
    """Whether the weights of all take about the same: Llama 4's Scout and Maverick keep one cache, and do not."""
    sizes = [model.parameters for model in models if model.parameters is not None]
    return not sizes or max(sizes) <= min(sizes) * (1 + _ROUNDED)


def _age(path: Path, asked: tuple[Word, ...]) -> tuple[object, ...]:
    """Later generations, releases and dates first; then what was trained as asked for, and the shortest name."""
    words = words_of(path.stem)
    return (
        _numbers(words, Kind.GENERATION),
        _numbers(words, Kind.RELEASE),
        _numbers(words, Kind.DATE),
        _trained(words, _UNTRAINED) == _trained(asked, _UNTRAINED),
        _trained(words, _TUNED) == _trained(asked, _TUNED),
        -len(words),
    )


def _trained(words: tuple[Word, ...], among: frozenset[str]) -> bool:
    return any(word.text in among for word in words)


def _numbers(words: tuple[Word, ...], kind: Kind) -> tuple[float, ...]:
    return tuple(float(part) for word in words if word.kind is kind for part in re.findall(r"\d+", word.text))
