"""A review as a document: the answer first, then the question, every table, every formula, what is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.render.pages.document import Document, Picture, Section, refusal
from kvcalc.render.pages.document_markdown import document_markdown
from kvcalc.render.pages.page import page as page_of
from kvcalc.render.screens.capacity import capacity_formulas, capacity_screen
from kvcalc.render.screens.compare import compare_screen, legend
from kvcalc.render.screens.compare_tree import trees
from kvcalc.render.screens.estimate_terms import estimate_sources, estimate_terms
from kvcalc.render.screens.estimate_view import estimate_screen
from kvcalc.render.screens.explain import explanation_report
from kvcalc.render.screens.plan import plan_formulas, plan_screen
from kvcalc.render.view import Column, Grid, Lines, Row, Verbatim
from kvcalc.units import with_unit
from kvcalc.verbs.capacity_result import Capacity
from kvcalc.verbs.comparing.result import Comparison
from kvcalc.verbs.estimate_result import Estimate
from kvcalc.verbs.planning.result import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.note import Note
    from kvcalc.render.view import Block
    from kvcalc.review.pictures import Pictured
    from kvcalc.review.review import Answer, Asked, Review, Reviewed
    from kvcalc.verbs.explanation import Explanation

_TITLES = {
    "estimate": "Memory",
    "capacity": "Capacity",
    "plan": "Deployments",
    "compare": "Comparison",
}
"""Of sections, by the verb that answers."""

_DRAWN = {
    "cache": "Cache against context",
    "sequences": "Sequences that fit against context",
    "memory": "Memory of a GPU",
    "gpus": "GPUs against sequences",
}
"""Likewise, by the kind of a picture."""

_WIDTH, _COLUMNS = 680, 80
"""Of a picture in pixels, of which A4 has as many between its margins, and in letters."""


def page(review: Review, unit: str) -> str:
    """The review as one page of HTML."""
    return page_of(_document(review, unit, "review.html"))


def document(review: Review, unit: str) -> str:
    """The review as Markdown."""
    return document_markdown(_document(review, unit, "review.md"))


def _document(review: Review, unit: str, file: str) -> Document:
    several = len(review.models) > 1
    names = ", ".join(each.model for each in review.models)
    sections = [
        Section("Answer", (), tuple(_answers(review, unit))),
        Section("Question", *_settings(review)),
        Section("Taken and assumed", *_taken(review, unit)),
    ]
    if several:
        sections += [Section(each.model, (), tuple(_tables(review, each, unit))) for each in review.models]
    else:
        sections += _tables(review, review.models[0], unit)
    if review.together is not None:
        sections.append(_table(review, review.together, unit))
    sections += [
        Section("Pictures", (), tuple(_picture(each, unit) for each in review.pictures)),
        Section("Formulas", (), tuple(_formulas(review, several=several))),
        Section("Rules and their sources", (), tuple(map(_word, review.words))),
        Section("Not modelled", tuple(_not_modelled(review, unit))),
        Section("How this was made", tuple(_made(review, unit, file))),
    ]
    return Document(f"KV cache review: {names}", tuple(each for each in sections if each.content or each.parts))


def _answers(review: Review, unit: str) -> Iterator[Section]:
    """What each verb says first, of one model under its own headings, of several below theirs."""
    for each in review.models:
        parts = tuple(_answer(asked, unit) for asked in each.asked)
        if len(review.models) == 1:
            yield from parts
        else:
            yield Section(each.model, (), parts)
    if review.together is not None:
        yield _answer(review.together, unit)


def _answer(asked: Asked, unit: str) -> Section:
    first = _refused(asked) if asked.answer is None else _screen(asked.answer, unit)[0]
    return Section(_TITLES[asked.verb], (first,))


def _refused(asked: Asked) -> Lines:
    return refusal(f"kvcalc {asked.verb}", asked.refused)


def _settings(review: Review) -> tuple[tuple[Block, ...], tuple[Section, ...]]:
    """Of one model a table; of several a part of each."""
    tables = {each.model: _setting(each) for each in review.models}
    if len(review.models) == 1:
        return (*tables.values(),), ()
    return (), tuple(Section(model, (table,)) for model, table in tables.items())


def _setting(reviewed: Reviewed) -> Grid:
    columns = (Column("what"), Column("value"), Column("as asked"))
    model = Row(("model", reviewed.model, reviewed.given))
    rows = (Row((each.name, each.value, each.asked or "default")) for each in reviewed.settings)
    return Grid(columns, (model, *rows))


def _taken(review: Review, unit: str) -> tuple[tuple[Block, ...], tuple[Section, ...]]:
    """Of one model a list; of several a part of each."""
    lists = {each.model: _told(each.notes(), unit) for each in review.models}
    if len(review.models) == 1:
        return next(iter(lists.values())), ()
    return (), tuple(Section(model, told) for model, told in lists.items() if told)


def _told(notes: Iterator[Note], unit: str) -> tuple[Lines, ...]:
    lines = tuple(f"- {with_unit(each.text, unit)}" for each in notes)
    return (Lines(lines),) if lines else ()


def _tables(review: Review, reviewed: Reviewed, unit: str) -> Iterator[Section]:
    return (_table(review, each, unit) for each in reviewed.asked)


def _table(review: Review, asked: Asked, unit: str) -> Section:
    """What a verb shows below its first lines; what a comparison takes, too."""
    answer = asked.answer
    if answer is None:
        return Section(_TITLES[asked.verb], (_refused(asked),))
    notes = _told(review.notes_of(answer), unit) if isinstance(answer, Comparison) else ()
    return Section(_TITLES[asked.verb], (*_screen(answer, unit)[1:], *notes))


def _picture(asked: Pictured, unit: str) -> Section:
    try:
        picture = asked.draw(unit)
    except KvcalcError as error:
        return Section(_DRAWN[asked.kind], (refusal(f"kvcalc plot {asked.kind}", tuple(map(str, error.args))),))
    drawn = Picture(picture.to_svg(_WIDTH, styled=False), picture.to_text(_COLUMNS))
    return Section(_DRAWN[asked.kind], (drawn,))


def _screen(answer: Answer, unit: str) -> list[Block]:
    match answer:
        case Estimate():
            return [*estimate_screen(answer, unit, explain=True, command="")]
        case Capacity():
            return [*capacity_screen(answer, unit, explain=True, command="")]
        case Plan():
            blocks = [*plan_screen(answer, unit, explain=True, command="")]
            return blocks if answer.nearest is None else [*blocks, Lines((with_unit(answer.nearest, unit),))]
        case Comparison():
            return [*compare_screen(answer, unit), Lines(tuple(legend(answer)))]


def _formulas(review: Review, *, several: bool) -> Iterator[Section]:
    """Every term of every answer, as --explain shows it."""
    for reviewed in review.models:
        of = f"{reviewed.model}: " if several else ""
        for answer in reviewed.answers():
            yield Section(f"{of}{_TITLES[answer.command]}", tuple(_terms(answer)))
    if review.together is not None and review.together.answer is not None:
        yield Section(_TITLES["compare"], tuple(_terms(review.together.answer)))


def _terms(answer: Answer) -> Iterator[Block]:
    match answer:
        case Estimate():
            yield from estimate_terms(answer)
            yield Lines(tuple(estimate_sources(answer)))
        case Capacity():
            yield capacity_formulas(answer)
        case Plan():
            yield from plan_formulas(answer)
        case Comparison():
            yield from trees(answer)


def _word(word: Explanation) -> Section:
    """What is explained without what articles say and how it is typed."""
    plain = replace(word, sayings=(), contradictions=(), example="", also=(), see=(), flags=(), option="")
    return Section(word.title, explanation_report(plain).view().blocks)


def _not_modelled(review: Review, unit: str) -> Iterator[Block]:
    lines = tuple(f"- {with_unit(each.text, unit)}" for each in review.not_modelled())
    yield Lines(lines or ("nothing that is known to matter here",))


def _made(review: Review, unit: str, file: str) -> Iterator[Block]:
    yield Grid((Column("of"), Column("version")), tuple(Row((each.of, each.version)) for each in review.versions))
    yield Lines(("This report again:",))
    of_unit = "" if unit == "GiB" else f" --unit {unit}"
    yield Verbatim(f"{review.command}{of_unit} -o {file}\n", "sh")
    asked = [each for one in review.models for each in one.asked]
    asked += [review.together] if review.together is not None else []
    yield Lines(("Each answer by itself; --json has every figure:",))
    yield Verbatim("".join(f"{each.command}\n" for each in asked), "sh")
    if review.pictures:
        yield Lines(("Each picture by itself, in every form; -o FILE.svg, .png, .html or .txt:",))
        yield Verbatim("".join(f"{each.command}{of_unit}\n" for each in review.pictures), "sh")
