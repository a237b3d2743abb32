"""What a review is: the answers of the verbs to one question, each with the command that gives it again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from kvcalc.noun import Noun, noun
from kvcalc.record import SCHEMA_VERSION, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.note import Note
    from kvcalc.record import Plain
    from kvcalc.review.pictures import Pictured
    from kvcalc.verbs.capacity_result import Capacity
    from kvcalc.verbs.comparing.result import Comparison
    from kvcalc.verbs.estimate_result import Estimate
    from kvcalc.verbs.explanation import Explanation
    from kvcalc.verbs.planning.result import Plan

    Answer = Estimate | Capacity | Plan | Comparison

T = TypeVar("T")

DEFAULT_UNIT = "GiB"

_COMPARISON = "compare"


@noun
class Asked(Noun):
    """A verb that was asked.

    Attributes:
        verb: its name, as the command's.
        command: the command line that gives the same answer.
        answer: its result; None where it refused.
        refused: the lines of the refusal, of which the first says why; none where it answered.
    """

    verb: str
    command: str
    answer: Answer | None
    refused: tuple[str, ...] = ()


@noun
class Setting(Noun):
    """A part of the question.

    Attributes:
        name: 'context'.
        value: '8,192 tokens'.
        asked: the option as it was given; else empty, and the value is a default.
    """

    name: str
    value: str
    asked: str


@noun
class Reviewed(Noun):
    """One model.

    Attributes:
        model: its name.
        given: as it was given; empty where numbers of the options describe it.
        settings: the question, with every default that was taken.
        asked: estimate, capacity, plan, and compare where there is no other model.
    """

    model: str
    given: str
    settings: tuple[Setting, ...]
    asked: tuple[Asked, ...]

    def answers(self) -> Iterator[Answer]:
        """What was answered."""
        return (each.answer for each in self.asked if each.answer is not None)

    def notes(self) -> Iterator[Note]:
        """What was assumed for it, once each, beside what its comparison says."""
        return _once(note for each in self.answers() if each.command != _COMPARISON for note in each.notes)

    def answer(self, kind: type[T]) -> T | None:
        """The answer of a kind; None where that verb refused."""
        return next((each for each in self.answers() if isinstance(each, kind)), None)


@noun
class Version(Noun):
    """What the figures were made with."""

    of: str
    version: str


@noun
class Review(Noun):
    """All that a design review reads.

    Attributes:
        models: each with its answers.
        together: the comparison of several models; None of one.
        pictures: of all of them; none where no batch is known.
        words: mechanisms, formats and engines that play a part, explained, with their sources.
        versions: of kvcalc, of its catalogue, of the engines.
        command: the command line that makes this again, without where to.
    """

    models: tuple[Reviewed, ...]
    together: Asked | None
    pictures: tuple[Pictured, ...]
    words: tuple[Explanation, ...]
    versions: tuple[Version, ...]
    command: str

    def answers(self) -> Iterator[Answer]:
        """Whatever was answered."""
        for each in self.models:
            yield from each.answers()
        if self.together is not None and self.together.answer is not None:
            yield self.together.answer

    def notes_of(self, comparison: Comparison) -> Iterator[Note]:
        """What was assumed for a comparison and is not said of a model by itself, where no name stands before it."""
        told = {(each.model, note.text) for each in self.models for note in each.notes()}
        told |= {("", text) for _, text in told}
        for note in _once(iter(comparison.notes)):
            names, _, text = note.text.partition(": ")
            if ("", note.text) not in told and not all((name, text) in told for name in names.split(", ")):
                yield note

    def not_modelled(self) -> Iterator[Note]:
        """What is left out of any of them, once each."""
        return _once(note for each in self.answers() for note in each.not_modelled)

    def to_dict(self) -> dict[str, Plain]:
        """What was answered, each as its command prints it with --json, and what was refused."""
        found = {
            "schema_version": SCHEMA_VERSION,
            "command": "report",
            "models": [
                {
                    "model": each.model,
                    "settings": each.settings,
                    "asked": [_asked(one) for one in each.asked],
                }
                for each in self.models
            ],
            "together": None if self.together is None else _asked(self.together),
            "versions": self.versions,
            "made_by": self.command,
        }
        return {name: plain(value) for name, value in found.items()}

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def html(self, unit: str = DEFAULT_UNIT) -> str:
        """One self-contained page: what `kvcalc report --format html` prints.

        Args:
            unit: of sizes.
        """
        return _faces().page(self, unit)

    def markdown(self, unit: str = DEFAULT_UNIT) -> str:
        """The same as Markdown.

        Args:
            unit: of sizes.
        """
        return _faces().document(self, unit)

    def __repr__(self) -> str:
        return f"<Review {', '.join(each.model for each in self.models)}>"

    def __str__(self) -> str:
        return self.markdown()


def _asked(one: Asked) -> dict[str, Plain]:
    answer = None if one.answer is None else one.answer.to_dict()
    return {"verb": one.verb, "command": one.command, "answer": answer, "refused": list(one.refused)}


def _once(notes: Iterator[Note]) -> Iterator[Note]:
    return iter({note.text: note for note in notes}.values())


class _Faces(Protocol):
    """How a review looks."""

    def page(self, review: Review, unit: str) -> str:
        """As HTML."""

    def document(self, review: Review, unit: str) -> str:
        """As Markdown."""


def _faces() -> _Faces:
    """The renderer, by its name: it builds on reviews, which know nothing of it until one is shown."""
    from importlib import import_module  # only where one is shown

    return cast("_Faces", import_module("kvcalc.render.pages.review"))
