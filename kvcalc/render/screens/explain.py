"""How explanations look: one word, or the table of contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render import Report
from kvcalc.render.screens.articles import sayings_blocks
from kvcalc.render.view import Column, Command, Grid, Lines, Row, View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verbs.explanation import Explanation, Topics

GROUPS = {
    "workload": "Workload",
    "deployment": "Deployment",
    "memory": "Memory",
    "decoding": "Decoding",
    "model": "Model",
    "key": "Keys of a model's file",
    "mechanism": "Mechanisms",
    "engine": "Engines",
    "articles": "Articles",
    "format": "Formats",
}
"""Topics in the order in which they are listed, with their titles."""

_UNIT = "GiB"


def explanation_report(result: Explanation) -> Report:
    """One word explained."""
    return Report(result, [result], lambda: View(tuple(_blocks(result)), prose=True))


def topics_report(result: Topics) -> Report:
    """Everything that can be explained, by groups."""
    return Report(result, result.topics, lambda: View(tuple(_contents(result)), prose=True))


def _blocks(result: Explanation) -> Iterator[Grid | Lines]:
    flags = "; ".join(f"{each.engine}: {each.flag}" for each in result.flags)
    pairs = (
        (result.name, result.title),
        ("keeps" if result.topic in {"mechanism", "format"} else "means", result.keeps),
        ("formula", result.formula),
        ("option", result.option),
        ("engines", flags),
        ("fields", ", ".join(result.fields)),
        ("source", result.source),
        ("versions", ", ".join(result.versions)),
        ("example", result.example),
        ("also", ", ".join(result.also)),
        ("see", ", ".join(result.see)),
    )
    yield Grid((Column(), Column()), tuple(Row(pair) for pair in pairs if pair[1]))
    if result.rules:
        columns = (Column("rule"), Column("formula"), Column("in its source"))
        yield Grid(columns, tuple(Row((each.about, each.formula, each.source)) for each in result.rules))
    if result.options:
        columns = (Column("--engine-option"), Column("default"), Column("what it is"))
        yield Grid(columns, tuple(Row((each.name, each.default, each.help)) for each in result.options))
    if result.sayings:
        yield from sayings_blocks(result.sayings, result.contradictions, _UNIT)


def _contents(result: Topics) -> Iterator[Grid | Lines]:
    for topic, title in GROUPS.items():
        found = [each for each in result.topics if each.topic == topic]
        if topic in {"format", "key"}:
            yield Lines((f"{title}: {', '.join(each.name for each in found)}",))
        else:
            yield Grid((Column(title), Column()), tuple(Row((f"  {each.name}", each.title)) for each in found))
    yield Lines((Command("kvcalc explain NAME"),))
