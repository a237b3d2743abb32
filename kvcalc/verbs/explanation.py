"""What an explanation answers: records whose field names are the keys of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kvcalc.noun import noun
from kvcalc.record import Record, Result

if TYPE_CHECKING:
    from kvcalc.catalogue.articles import Contradiction, Saying
    from kvcalc.catalogue.words import Flag


@noun
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


@noun
class EngineRule(Record):
    """What an engine does, and where in its source."""

    about: str
    formula: str
    source: str


@noun
class Explanation(Result):
    """One word explained.

    Attributes:
        topic: workload, deployment, memory, decoding, model, key, mechanism, format, engine or articles.
        keeps: what it keeps, counts or means, in words.
        formula: in the names that model files use.
        fields: keys of a model file that belong to it.
        example: a worked example or a trap.
        versions: of an engine, those whose rules are known.
        options: of an engine.
        rules: of an engine, beside its formula.
        also: other spellings that are understood.
        option: kvcalc's own that sets it.
        flags: what engines call it on their command lines.
        see: other words that belong to it.
        sayings: what articles say of it, and what the formulas say of that.
        contradictions: where articles contradict each other or the formula; of the word 'articles' alone.
    """

    command: ClassVar[str] = "explain"

    name: str
    topic: str
    title: str
    keeps: str
    formula: str = ""
    fields: tuple[str, ...] = ()
    source: str = ""
    example: str = ""
    versions: tuple[str, ...] = ()
    options: tuple[EngineOption, ...] = ()
    rules: tuple[EngineRule, ...] = ()
    also: tuple[str, ...] = ()
    option: str = ""
    flags: tuple[Flag, ...] = ()
    see: tuple[str, ...] = ()
    sayings: tuple[Saying, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()

    @property
    def brief(self) -> str:
        return self.title


@noun
class Topics(Result):
    """Everything that can be explained."""

    command: ClassVar[str] = "explain"

    topics: tuple[Explanation, ...]

    @property
    def brief(self) -> str:
        return f"{len(self.topics):,} topics"
