"""What articles say of attention and its cache, and what the formulas say of that: configs/articles.yaml as values.

The sayings are restated; single words and figures of tables stand as they are. What they say of quality is theirs
alone: kvcalc computes sizes and bounds, and knows nothing of quality.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from kvcalc.catalogue.shipped import CONFIGS, read_shipped
from kvcalc.noun import Noun, noun

ARTICLES = CONFIGS / "articles.yaml"

VERDICTS = ("holds", "depends", "wrong", "untold")
"""By the formulas: it holds; it holds under a condition; it does not hold; no formula tells."""


@noun
class Saying(Noun):
    """What a source says of one word.

    Attributes:
        mechanism: a kind of attention, or another word that `kvcalc explain` knows.
        topic: quality, memory, speed, context, projections, implementation, use, or case (of a worked example).
        words: restated; of tables as they stand there.
        source: who says so.
        verdict: one of VERDICTS.
        because: what the formula or the bound says; empty where no formula tells.
        shown_by: a command whose output has the figures; empty where the formula itself shows it.
        figures: what that output has.
    """

    mechanism: str
    topic: str
    words: str
    source: str
    verdict: str
    because: str
    shown_by: str
    figures: tuple[str, ...]


@noun
class Contradiction(Noun):
    """Sayings that cannot all be right, or one that the formula refutes.

    Attributes:
        about: what they contradict each other about.
        said: by whom, in which words.
        figure: what the formula says; None where no formula tells.
    """

    about: str
    said: tuple[Saying, ...]
    figure: str | None


@noun
class Measurable(Noun):
    """A saying about speed that a measurement decides, and how: by a ratio, an exponent of growth, or a share.

    Attributes:
        saying: what is said.
        faster: a mechanism, whose time the other's is divided by; empty for growth.
        than: the other one; mla-naive is MLA without absorption.
        growth: decode or prefill, whose exponent over tokens is asked for; else empty.
        idle: a mechanism of which the share of the matrix rate is asked for; else empty.
        least: that the words ask of the figure; None where they ask for none.
        most: likewise.
    """

    saying: Saying
    faster: str
    than: str
    growth: str
    idle: str
    least: float | None
    most: float | None


@noun
class Articles(Noun):
    """All of the file.

    Attributes:
        sources: title and author or date of each, in the order of the file.
    """

    sources: tuple[str, ...]
    sayings: tuple[Saying, ...]
    contradictions: tuple[Contradiction, ...]
    measurable: tuple[Measurable, ...]

    def of(self, word: str) -> tuple[Saying, ...]:
        """What is said of a word."""
        return tuple(saying for saying in self.sayings if saying.mechanism == word)


@lru_cache(maxsize=1)
def articles() -> Articles:
    """What ships with kvcalc, read once."""
    root: Any = read_shipped(ARTICLES).root
    sources = {key: f"{each['title']} ({each['by']})" for key, each in root["articles"].items()}
    sayings = tuple(_saying(each, sources) for each in root["sayings"])
    named = {each["key"]: saying for each, saying in zip(root["sayings"], sayings, strict=True) if "key" in each}
    contradictions = tuple(
        Contradiction(each["about"], tuple(named[key] for key in each["said"]), each.get("figure"))
        for each in root["contradictions"]
    )
    measurable = tuple(_measurable(each, named[each["says"]]) for each in root["measurable"])
    return Articles(tuple(sources.values()), sayings, contradictions, measurable)


def _measurable(given: dict[str, Any], saying: Saying) -> Measurable:
    return Measurable(
        saying=saying,
        faster=given.get("faster", ""),
        than=given.get("than", ""),
        growth=given.get("growth", ""),
        idle=given.get("idle", ""),
        least=given.get("least"),
        most=given.get("most"),
    )


def _saying(given: dict[str, Any], sources: dict[str, str]) -> Saying:
    return Saying(
        mechanism=given["of"],
        topic=given["topic"],
        words=given["says"],
        source=sources[given["article"]],
        verdict=given["verdict"],
        because=given.get("because", ""),
        shown_by=given.get("shown_by", ""),
        figures=tuple(given.get("figures", ())),
    )
