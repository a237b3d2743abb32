"""What articles say, what the formulas say of that, and where articles contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.view import Column, Grid, Lines, Row
from kvcalc.units import with_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.catalogue.articles import Contradiction, Saying

_VERDICTS = {"holds": "holds", "depends": "it depends", "wrong": "wrong", "untold": "no formula tells"}


def sayings_blocks(
    sayings: Sequence[Saying], contradictions: Sequence[Contradiction], unit: str
) -> Iterator[Grid | Lines]:
    """A table of what is said, the contradictions, and the sources."""
    sources = tuple(dict.fromkeys(saying.source for saying in sayings))
    yield _sayings(sayings, sources, unit)
    if contradictions:
        yield _contradictions(contradictions, sources, unit)
    yield Lines(tuple(f"({number}) {source}" for number, source in enumerate(sources, 1)))


def _sayings(sayings: Sequence[Saying], sources: Sequence[str], unit: str) -> Grid:
    """A row for each saying; those of one word and topic about which no formula tells share one."""
    rows: dict[tuple[str, ...], tuple[list[str], str]] = {}
    for each in sayings:
        verdict = _verdict(each, unit)
        key = (each.mechanism, each.topic, verdict) if each.verdict == "untold" else (each.words, each.source, verdict)
        rows.setdefault((each.mechanism, each.topic, *key), ([], verdict))[0].append(_cited(each, sources))
    cells = ((key[0], key[1], "; ".join(words), verdict) for key, (words, verdict) in rows.items())
    columns = (Column("articles on"), Column("say of"), Column("that it is"), Column("by the formula"))
    return Grid(columns, tuple(Row(each) for each in cells))


def _verdict(saying: Saying, unit: str) -> str:
    if not saying.because:
        return _VERDICTS[saying.verdict]
    shown = f" ({saying.shown_by})" if saying.shown_by else ""
    return f"{_VERDICTS[saying.verdict]}: {with_unit(saying.because, unit)}{shown}"


def _cited(saying: Saying, sources: Sequence[str]) -> str:
    return f"{saying.words} ({sources.index(saying.source) + 1})"


def _contradictions(contradictions: Sequence[Contradiction], sources: Sequence[str], unit: str) -> Lines:
    lines = ["they contradict each other, or the formula, on:"]
    for each in contradictions:
        said = "; ".join(f"{saying.mechanism} {_cited(saying, sources)}" for saying in each.said)
        figure = with_unit(f"By the formula {each.figure}.", unit) if each.figure else "No formula tells."
        lines.append(f"- {each.about}: {said}. {figure}")
    return Lines(tuple(lines))
