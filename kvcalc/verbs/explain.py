"""What a word of kvcalc means: mechanisms, formats, engines and parts of memory, each with its formula and source."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines import ENGINES
from kvcalc.errors import KvcalcError, nearest_or_all
from kvcalc.formats.element import ALIASES, FORMATS, TENSOR_FORMATS
from kvcalc.formats.weights import WEIGHT_FORMATS
from kvcalc.mechanisms import KINDS
from kvcalc.memory.overhead import overhead_topic
from kvcalc.memory.temporary import temporary_topic
from kvcalc.memory.topics import DECODE_TOPIC, GPUS_TOPIC, WEIGHTS_TOPIC
from kvcalc.record import Record, Result, record
from kvcalc.term import Factor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines import Engine
    from kvcalc.formats.element import ElementFormat
    from kvcalc.mechanisms import Mechanism


@record
class EngineOption(Record):
    """An option of an engine.

    Attributes:
        default: in words; empty where there is none.
        source: where the engine has it; empty where that is not said.
    """

    name: str
    default: str
    help: str
    source: str


@record
class EngineRule(Record):
    """What an engine does, and where in its source."""

    about: str
    formula: str
    source: str


@record
class Explanation(Result):
    """One word explained.

    Attributes:
        topic: mechanism, format, engine or memory.
        keeps: what it keeps or counts, in words.
        formula: in the names that model files use.
        fields: keys of a model file that belong to it.
        example: a worked example or a trap.
        versions: of an engine, those whose rules are known.
        options: of an engine.
        rules: of an engine, beside its formula.
    """

    command: ClassVar[str] = "explain"

    name: str
    topic: str
    title: str
    keeps: str
    formula: str
    fields: tuple[str, ...]
    source: str
    example: str
    versions: tuple[str, ...] = ()
    options: tuple[EngineOption, ...] = ()
    rules: tuple[EngineRule, ...] = ()

    @property
    def brief(self) -> str:
        return self.title


@record
class Topics(Result):
    """Everything that can be explained."""

    command: ClassVar[str] = "explain"

    topics: tuple[Explanation, ...]

    @property
    def brief(self) -> str:
        return f"{len(self.topics):,} topics"


def topics() -> Topics:
    """Everything that can be explained, mechanisms first."""
    return Topics(tuple(_all()))


def explain(name: str) -> Explanation:
    """The explanation of a name.

    Raises:
        KvcalcError: nothing has that name; the nearest are in the message.
    """
    wanted = ALIASES.get(name.lower(), name.lower())
    known = {explanation.name: explanation for explanation in _all()}
    if wanted not in known:
        raise KvcalcError(f"explain: no '{name[:60]}'{nearest_or_all(name, known)}")
    return known[wanted]


def _all() -> Iterator[Explanation]:
    for kind, mechanism in KINDS.items():
        yield _mechanism(kind, mechanism)
    for element_format in (*FORMATS.values(), *WEIGHT_FORMATS.values()):
        yield _format(element_format)
    for name, tensors in TENSOR_FORMATS.items():
        each = ", ".join(f"{tensor} in {format_name}" for tensor, format_name in tensors.items())
        yield Explanation(
            name, "format", f"Cache format {name}", each, "each tensor by its own format", (), FLASH_MLA, ""
        )
    for engine in ENGINES.values():
        yield _engine(engine)
    for topic in (WEIGHTS_TOPIC, temporary_topic(), overhead_topic(), GPUS_TOPIC, DECODE_TOPIC):
        yield Explanation(topic.name, "memory", topic.title, topic.counts, topic.formula, (), topic.source, "")


FLASH_MLA = "DeepSeek, FlashMLA csrc/api/sparse_decode.h"


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
    )


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
        fields=(),
        source=element_format.source,
        example="",
    )


def _engine(engine: type[Engine]) -> Explanation:
    return Explanation(
        name=engine.name,
        topic="engine",
        title=f"Engine {engine.name}",
        keeps=engine.about,
        formula=engine.formula,
        fields=(),
        source=engine.source,
        example="",
        versions=engine.versions,
        options=tuple(
            EngineOption(name, each.default_in_words, each.help, each.source) for name, each in engine.options.items()
        ),
        rules=tuple(EngineRule(*each) for each in engine.rules),
    )
