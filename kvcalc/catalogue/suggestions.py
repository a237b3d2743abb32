"""Names to offer where none is meant for sure: by family and size before spelling, with what their caches keep."""

from __future__ import annotations

from collections import Counter
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.access import is_closed
from kvcalc.catalogue import shipped
from kvcalc.catalogue.name_index import KnownName, known_names
from kvcalc.catalogue.name_words import Kind, spelled, words_of
from kvcalc.errors import NEXT, either_of
from kvcalc.formats.by_name import find_format
from kvcalc.formats.told import told_format

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kvcalc.catalogue.name_words import Word
    from kvcalc.model.model import Model

MOST = 8
"""Models that a message lists."""

_OFFERED = 3
_NEAR = 0.8
"""How much of a size another one is, at the least, that may be meant for it."""
_ALIKE = 0.75
"""How near two names are spelled, at the least, that have no word in common."""


def same_cache(models: Iterable[Model]) -> bool:
    """Whether all keep the same of every token and sequence."""
    return len({_kept(model) for model in models}) == 1


def _kept(model: Model) -> tuple[object, ...]:
    kinds = tuple(sorted((layer.label, count) for layer, count in model.distinct().items()))
    return (find_format(model.dtype or "bf16", "dtype").block_bytes, kinds)


def cache_in_words(model: Model) -> str:
    """What its layers keep: '32 x gqa 32/8 x 128'."""
    kinds = (f"{count} x {layer.label}" for layer, count in model.distinct().items() if layer.attention.kind != "none")
    return "; ".join(kinds)


def listed_differences(shown: str, paths: list[Path]) -> tuple[str, ...]:
    """The lines of a message that a name may be any of several, each with what it keeps."""
    alike = same_cache(shipped.read_model(path) for path in paths)
    differing = "keep the same cache and differ in size" if alike else "keep different caches"
    listed = _listed(paths[:MOST], sizes=alike)
    more = len(paths) - MOST
    rest = (f"  and {more} more: kvcalc models list '{shown[:60]}'",) if more > 0 else ()
    first = f"model: '{shown[:100]}' may be any of {len(paths)} models that {differing}:"
    return (first, *listed, *rest, *step(f"estimate {paths[0].stem}"))


def _listed(paths: list[Path], *, sizes: bool = False) -> tuple[str, ...]:
    width = max(len(path.stem) for path in paths)
    told = _size_in_words if sizes else cache_in_words
    return tuple(f"  {path.stem:<{width}}  {told(shipped.read_model(path))}" for path in paths)


def _size_in_words(model: Model) -> str:
    return "parameters not known" if model.parameters is None else f"{model.parameters:,} parameters"


def step(words: str) -> tuple[str, ...]:
    """The last line of a message: a command that helps; none where the machine's commands are not for who asks."""
    return () if is_closed() else (f"{NEXT}kvcalc {words}",)


class Nearest(NamedTuple):
    """Names that may be meant.

    Attributes:
        paths: of their models' files, the nearest first.
        lines: of a hint, which tells the difference where they do not all keep the same cache.
    """

    paths: list[Path]
    lines: tuple[str, ...]


def nearest_names(name: str) -> Nearest | None:
    """The nearest names; None where none is near."""
    paths = _nearest(name)
    if not paths:
        return None
    hint = f"did you mean {either_of([path.stem for path in paths])}?"
    if len(paths) == 1 or same_cache(shipped.read_model(path) for path in paths):
        return Nearest(paths, (hint,))
    return Nearest(paths, (f"{hint} They keep different caches:", *_listed(paths)))


def _nearest(name: str) -> list[Path]:
    asked, key = words_of(name), spelled(name)
    names = {word.text for word in asked if word.kind is Kind.NAME and len(word.text) > 1}
    first, letters = _family(asked), _leading_letters(key)
    kin = [(_common(asked, known), known) for known in known_names() if _is_kin(names, first, known)]
    least = sorted({known.path: common for common, known in sorted(kin, key=_common_of)}.values())[-_OFFERED:][:1]
    near = [(common, known) for common, known in kin if common and common >= least[0]]
    if len({known.path for _, known in near}) < _OFFERED:
        alike = (known for known in known_names() if _most_alike(key, known.spelled) >= _ALIKE)
        near += [(0, known) for known in alike if _is_spelled_like(letters, _leading_letters(known.spelled))]
    best: dict[Path, tuple[int, float]] = {}
    for common, known in near:
        ratio = SequenceMatcher(None, key, known.spelled, autojunk=False).ratio()
        if common or ratio >= _ALIKE:
            best[known.path] = max(best.get(known.path, (0, 0.0)), (common, ratio))
    ranked = sorted(best, key=lambda path: (best[path], path.stem), reverse=True)
    return ranked[:_OFFERED]


def _common_of(found: tuple[int, KnownName]) -> int:
    return found[0]


def _is_kin(names: set[str], first: str, known: KnownName) -> bool:
    """Whether a name has the family of one that was asked for, or the other way round: dolphin-2.9-llama3-8b."""
    if first in names and first in known.text and any(word.text == first for word in known.words):
        return True
    return _family(known.words) in names


def _family(words: tuple[Word, ...]) -> str:
    return next((word.text for word in words if word.kind is Kind.NAME), "")


def _leading_letters(name: str) -> str:
    return "".join(takewhile(str.isalpha, name))


def _is_spelled_like(one: str, other: str) -> bool:
    """Whether families are: lama is llama, and zamba2-7b no llama-2-7b, however near they look."""
    return SequenceMatcher(None, one, other, autojunk=False).ratio() >= _ALIKE


def _most_alike(one: str, other: str) -> float:
    """What the ratio of a SequenceMatcher is at most, as its `quick_ratio` has it, before one is made."""
    together = len(one) + len(other)
    shorter = min(len(one), len(other))
    if not together or 2.0 * shorter / together < _ALIKE:
        return 2.0 * shorter / together if together else 1.0
    letters = _letters(other)
    return 2.0 * sum(min(count, letters.get(letter, 0)) for letter, count in _letters(one).items()) / together


@lru_cache(maxsize=4096)
def _letters(text: str) -> Counter[str]:
    return Counter(text)


def _is_about(size: Word, words: tuple[Word, ...]) -> bool:
    """Whether a name has nearly that size: llama-3-7b may be meant for llama-3-8b."""
    others = (word.text for word in words if word.kind is Kind.SIZE and word.text[-1:] == size.text[-1:])
    return any(_number(size.text) and _NEAR <= _number(other) / _number(size.text) <= 1 / _NEAR for other in others)


def _is_of_generation(asked: Word, words: tuple[Word, ...]) -> bool:
    """Whether a name is of that generation but for its second number: qwen3.5 of qwen3."""
    whole = asked.text.partition(".")[0]
    return any(word.kind is Kind.GENERATION and word.text.partition(".")[0] == whole for word in words)


def _number(size: str) -> float:
    """7 of '7b'; 0 of what is no plain number, as 8x7b."""
    digits = size[:-1]
    return float(digits) if digits.replace(".", "", 1).isdigit() else 0.0


def _common(asked: tuple[Word, ...], known: KnownName) -> int:
    """How much two names of one family have in common: size first, then generation and the rest."""
    weights = {Kind.SIZE: 8, Kind.GENERATION: 4, Kind.NAME: 2, Kind.RELEASE: 1, Kind.DATE: 1, Kind.ACTIVE: 1}
    stored = told_format(known.text).stored is not None
    words = words_of(told_format(known.text).bare) if stored else known.words  # the 8 of -fp8 is no generation
    has, wanted = {word.text for word in words}, {word.text for word in asked}
    shared = sum(weights.get(word.kind, 0) for word in asked if word.text in has) - stored
    unmet = [word for word in asked if word.text not in has]
    shared += sum(6 for word in unmet if word.kind is Kind.SIZE and _is_about(word, words))
    shared += sum(3 for word in unmet if word.kind is Kind.GENERATION and _is_of_generation(word, words))
    unasked = sum(1 for word in known.words if word.kind is Kind.NAME and word.text not in wanted)
    return shared - unasked
