"""What a word of kvcalc means: mechanisms, formats, engines and parts of memory, each with its formula and source."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING

from kvcalc.engines import ENGINES
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.formats import ALIASES, FORMATS, TENSOR_FORMATS
from kvcalc.mechanisms import KINDS
from kvcalc.memory.overhead import explained_overhead
from kvcalc.memory.temporary import explained_temporary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines import Engine
    from kvcalc.formats import ElementFormat
    from kvcalc.mechanisms import Mechanism


@dataclass(frozen=True, slots=True)
class Explanation:
    """One word explained.

    Attributes:
        topic: mechanism, format, engine or memory.
        keeps: what it keeps or counts, in words.
        formula: in the names that model files use.
        fields: keys of a model file that belong to it.
        example: a worked example or a trap.
    """

    name: str
    topic: str
    title: str
    keeps: str
    formula: str
    fields: tuple[str, ...]
    source: str
    example: str


@dataclass(frozen=True, slots=True)
class Topics:
    """Everything that can be explained."""

    topics: tuple[Explanation, ...]


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
        raise KvcalcError(f"explain: no '{name[:60]}'{did_you_mean(name, known)}; there are {', '.join(known)}")
    return known[wanted]


def _all() -> Iterator[Explanation]:
    for kind, mechanism in KINDS.items():
        yield _mechanism(kind, mechanism)
    for element_format in FORMATS.values():
        yield _format(element_format)
    for name, tensors in TENSOR_FORMATS.items():
        each = ", ".join(f"{tensor} in {format_name}" for tensor, format_name in tensors.items())
        yield Explanation(
            name, "format", f"Cache format {name}", each, "each tensor by its own format", (), FLASH_MLA, ""
        )
    for engine in ENGINES.values():
        yield _engine(engine)
    for name, title, keeps, formula, source in (_WEIGHTS, explained_temporary(), explained_overhead(), _GPUS):
        yield Explanation(name, "memory", title, keeps, formula, (), source, "")


FLASH_MLA = "DeepSeek, FlashMLA csrc/api/sparse_decode.h"

_WEIGHTS = (
    "weights",
    "Weights: the checkpoint's parameters",
    "each part of the file's 'weights' list in its own format; without a list, all parameters in weight_dtype; "
    "over tensor-parallel ranks evenly, over pipeline stages by layers; --weights SIZE replaces it",
    "sum over parts of parameters x bytes of the format; a rank: ceil(part / ranks)",
    "the model's own file (kvcalc models show NAME)",
)

_GPUS = (
    "gpus",
    "GPU count: by memory alone, and in the smallest legal deployment",
    "by memory alone is a lower bound; the smallest legal deployment has a tp that divides the heads and stays in a node, "
    "pipeline stages only where the largest such tp is not enough, and a fullest rank that stays within usable memory "
    "(fits: with the high temporary figure; tight: only with less)",
    "by memory = ceil((weights + cache + temporary + overhead) / floor(memory x utilization))",
    "the legality rules of vLLM: num_heads % tp = 0, and num_kv_heads % tp = 0 or tp % num_kv_heads = 0",
)


def _mechanism(kind: str, mechanism: type[Mechanism]) -> Explanation:
    keys = tuple(f"{each.name}{'' if each.default is MISSING else '?'}" for each in fields(mechanism))[1:]
    return Explanation(
        name=kind,
        topic="mechanism",
        title=mechanism.title,
        keeps=f"{mechanism.keeps}; elements per token and layer:",
        formula=mechanism.formula,
        fields=keys,
        source=mechanism.source,
        example=mechanism.example,
    )


def _format(element_format: ElementFormat) -> Explanation:
    elements, size = element_format.block_elems, element_format.block_bytes
    formula = f"{size} bytes an element" if elements == 1 else f"{size} bytes for {elements} elements"
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


def _engine(engine: Engine) -> Explanation:
    return Explanation(
        name=engine.name,
        topic="engine",
        title=f"Engine {engine.name}",
        keeps=engine.about,
        formula="sum over layers and tensors of layers x sequences x positions kept x bytes of the row",
        fields=(),
        source=engine.source,
        example="",
    )
