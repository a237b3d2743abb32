"""What a word of kvcalc means: words of its screens, mechanisms, formats and engines, and what articles say of them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from kvcalc.catalogue.articles import articles
from kvcalc.catalogue.words import words
from kvcalc.engines import ENGINES
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.formats.by_name import by_hand
from kvcalc.formats.element import ALIASES, FORMATS, TENSOR_FORMATS
from kvcalc.formats.file_types import file_type_of, is_mix, tables_of
from kvcalc.formats.turboquant import TURBOQUANT
from kvcalc.formats.weights import WEIGHT_ALIASES, WEIGHT_FORMATS, find_asked_format
from kvcalc.mechanisms import KINDS
from kvcalc.memory.overhead import overhead_figures
from kvcalc.memory.temporary import temporary_figures
from kvcalc.term import Factor
from kvcalc.verbs.explanation import EngineOption, EngineRule, Explanation, Topics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.catalogue.words import Word
    from kvcalc.engines import Engine
    from kvcalc.formats.element import ElementFormat
    from kvcalc.mechanisms import Mechanism

_ARTICLES = "articles"
_ALL = "; kvcalc explain lists all that there is"
_FIGURES = {"temporary": temporary_figures, "overhead": overhead_figures}
"""Words whose formula and source are figures that the code holds."""

FLASH_MLA = "DeepSeek, FlashMLA csrc/api/sparse_decode.h"


def topics() -> Topics:
    """Everything that can be explained: words of the screens, mechanisms, formats, engines, articles."""
    return Topics(tuple(_all()))


def explain(name: str) -> Explanation:
    """The explanation of a word, however it is spelled: KV cache, kv_cache and kv-cache are one.

    Raises:
        KvcalcError: nothing has that name; the nearest are in the message.
    """
    named: dict[str, Explanation] = {}
    titled: dict[str, Explanation] = {}
    for each in _all():
        titled.setdefault(_plain(each.title), each)
        for spelling in (each.name, *each.also):
            named.setdefault(_plain(spelling), each)
    wanted = _plain(name)
    known = {**titled, **named}
    wanted = wanted if wanted in known else _plain(ALIASES.get(name.lower(), name))
    if wanted not in known and (written := by_hand(name.strip().lower().replace("-", "_"), "explain")) is not None:
        return _format(written)
    if wanted not in known:
        raise KvcalcError(f"explain: no '{name[:60]}'{did_you_mean(wanted, named) or _ALL}")
    return known[wanted]


def _plain(name: str) -> str:
    return name.strip().lower().removeprefix("--").replace("_", "-").replace(" ", "-")


def _all() -> Iterator[Explanation]:
    """Each is made once: a name may be that of any."""
    for word in words():
        yield _word(word)
    for kind, mechanism in KINDS.items():
        yield _mechanism(kind, mechanism)
    for element_format in (*FORMATS.values(), *WEIGHT_FORMATS.values()):
        yield _format(element_format)
    for name, tensors in TENSOR_FORMATS.items():
        each = ", ".join(f"{tensor} in {format_name}" for tensor, format_name in tensors.items())
        yield Explanation(
            name, "format", f"Cache format {name}", each, "each tensor by its own format", source=FLASH_MLA
        )
    for name, packed in TURBOQUANT.items():
        yield _turboquant(name, packed)
    for engine in ENGINES.values():
        yield _engine(engine)
    yield _articles()


@cache
def _word(word: Word) -> Explanation:
    formula, source = _FIGURES[word.name]() if word.name in _FIGURES else (word.formula, word.source)
    return Explanation(
        name=word.name,
        topic=word.group,
        title=word.title,
        keeps=word.means,
        formula=formula,
        source=source,
        example=word.example,
        also=word.also,
        option=word.option,
        flags=word.flags,
        see=word.see,
        sayings=articles().of(word.name),
    )


@cache
def _mechanism(kind: str, mechanism: type[Mechanism]) -> Explanation:
    return Explanation(
        name=kind,
        topic="mechanism",
        title=mechanism.title,
        keeps=mechanism.keeps,
        formula=f"{mechanism.formula_of_kind()} elements per {mechanism.kept_per} and layer",
        fields=mechanism.keys(),
        source=mechanism.source,
        example=mechanism.example,
        sayings=articles().of(kind),
    )


@cache
def _format(element_format: ElementFormat) -> Explanation:
    elements, size = element_format.block_elems, element_format.block_bytes
    sized = Factor("bytes", size, "byte")
    formula = f"{sized} an element" if elements == 1 else f"{sized} for {elements} elements"
    if element_format.head_bytes:
        formula += f" + {element_format.head_bytes} bytes for each head and token"
    if elements > 1:
        formula += f"; a row that blocks do not fill is {element_format.ragged.value}"
    return Explanation(
        name=element_format.name,
        topic="format",
        title=f"Element format {element_format.name}",
        keeps=element_format.about,
        formula=formula,
        source=element_format.source,
        example=_as_file_type(element_format.name),
        also=tuple(alias for alias, name in WEIGHT_ALIASES.items() if name == element_format.name),
    )


def _as_file_type(name: str) -> str:
    """What `--weight-dtype` counts where a file type of llama.cpp has the format's name."""
    file_type = file_type_of(name)
    tables = tables_of(file_type)
    if tables is None:
        return ""
    kept = find_asked_format(name, "--weight-dtype")
    layers = (
        f"{8 * kept.block_bytes / kept.block_elems:g} bits a weight of Llama-3.1-8B"
        if is_mix(kept)
        else "the layers as here"
    )
    return (
        f"--weight-dtype {name} counts llama.cpp's files of this type: output head in {tables.head}, embedding in "
        f"{tables.embedding}, {layers}"
    )


def _turboquant(name: str, packed: Mapping[str, ElementFormat]) -> Explanation:
    each = {tensor: _format(element_format) for tensor, element_format in packed.items()}
    return Explanation(
        name=name,
        topic="format",
        title=f"Cache format {name}",
        keeps="; ".join(f"{tensor}: {one.keeps}" for tensor, one in each.items()) + "; of vLLM alone",
        formula="; ".join(f"{tensor}: {one.formula}" for tensor, one in each.items()),
        source=each["v"].source,
    )


@cache
def _engine(engine: type[Engine]) -> Explanation:
    return Explanation(
        name=engine.name,
        topic="engine",
        title=f"Engine {engine.name}",
        keeps=engine.about,
        formula=engine.formula,
        source=engine.source,
        versions=engine.versions,
        options=tuple(
            EngineOption(name, each.default_in_words, each.help, each.source) for name, each in engine.options.items()
        ),
        rules=tuple(EngineRule(*each) for each in engine.rules),
    )


@cache
def _articles() -> Explanation:
    known = articles()
    return Explanation(
        name=_ARTICLES,
        topic=_ARTICLES,
        title="What articles say of attention and its cache, and what the formulas say of that",
        keeps="restated; single words and figures of tables stand as they are. Of quality kvcalc knows nothing",
        source="; ".join(known.sources),
        sayings=known.sayings,
        contradictions=known.contradictions,
    )
