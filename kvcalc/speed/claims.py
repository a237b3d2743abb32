"""What articles claim of speed, beside what was measured here: which claims held."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.catalogue.articles import articles
from kvcalc.speed.result import Claim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.catalogue.articles import Measurable
    from kvcalc.speed.rates import Timed
    from kvcalc.speed.result import Growth, Measured, Part

NAIVE_MLA = "mla-naive"
"""MLA whose keys and values are expanded at every step."""


class _Figure(NamedTuple):
    """A ratio, an exponent or a share, with what the quartiles make of it."""

    low: float
    figure: float
    high: float


def claims(measured: Sequence[Measured], growth: Sequence[Growth], naive: str) -> tuple[Claim, ...]:
    """A verdict for each claim of configs/articles.yaml that a measurement can decide.

    Args:
        measured: the mechanisms.
        growth: of steps and prompts.
        naive: the name of the path that expands MLA's latents.
    """
    parts = {kind: each.attention for kind, each in _of_each_kind(measured).items()}
    times: dict[str, Timed] = {**parts}
    for each in measured:
        for path in each.paths:
            if path.name == naive and path.attention is not None:
                times[NAIVE_MLA] = path.attention
    return tuple(_claim(each, times, parts, growth) for each in articles().measurable)


def with_claims(measured: Sequence[Measured], found: Sequence[Claim]) -> tuple[Measured, ...]:
    """Each mechanism with the articles' words for how fast it is, and whether they held."""
    compared, told = _of_each_kind(measured), []
    for each in measured:
        words, holds = _said(_kind(each), found) if each is compared[_kind(each)] else (None, None)
        told.append(replace(each, claim=words, holds=holds))
    return tuple(told)


def _said(kind: str, found: Sequence[Claim]) -> tuple[str | None, bool | None]:
    """The first words that are said of a kind, and whether all that was asked of them held."""
    words = next((each.words for each in found if each.mechanism == kind), None)
    verdicts = {each.verdict for each in found if (each.mechanism, each.words) == (kind, words)}
    return words, False if "not here" in verdicts else True if verdicts == {"held"} else None


def _kind(each: Measured) -> str:
    return each.mechanism.partition("-")[0]


def _of_each_kind(measured: Sequence[Measured]) -> dict[str, Measured]:
    """mha, gqa, mqa and mla: of several with other numbers of heads the model's own, else the first."""
    found: dict[str, Measured] = {}
    for each in sorted(measured, key=lambda each: not each.own):
        found.setdefault(_kind(each), each)
    return found


def _claim(each: Measurable, times: dict[str, Timed], parts: dict[str, Part], growth: Sequence[Growth]) -> Claim:
    if each.idle:
        asked = f"attention of a step of {each.idle}: share of the matrix rate that it reaches"
        found = _share(parts.get(each.idle))
    elif each.growth:
        asked, found = f"the exponent of {each.growth} over tokens", _exponent(each.growth, growth)
    else:
        asked = f"attention of a step: seconds of {each.than} over those of {each.faster}"
        found = _ratio(times.get(each.than), times.get(each.faster))
    said = each.saying
    return Claim(
        mechanism=said.mechanism,
        words=said.words,
        source=said.source,
        asked=asked,
        low=found and found.low,
        figure=found and found.figure,
        high=found and found.high,
        least=each.least,
        most=each.most,
        verdict=_verdict(found, each.least, each.most),
    )


def _ratio(slow: Timed | None, fast: Timed | None) -> _Figure | None:
    if slow is None or fast is None:
        return None
    return _Figure(
        slow.low_s / fast.high_s,
        slow.median_s / fast.median_s,
        slow.high_s / fast.low_s,
    )


def _share(part: Part | None) -> _Figure | None:
    if part is None:
        return None
    busy_s = part.share_of_flops * part.median_s
    return _Figure(busy_s / part.high_s, part.share_of_flops, busy_s / part.low_s)


def _exponent(step: str, growth: Sequence[Growth]) -> _Figure | None:
    """Of the first mechanism of which it is known; they grow alike."""
    found = next((each.exponent for each in growth if each.step == step and each.exponent is not None), None)
    return None if found is None else _Figure(found, found, found)


def _verdict(found: _Figure | None, least: float | None, most: float | None) -> str:
    if found is None:
        return "not measured"
    if (least is None or found.low >= least) and (most is None or found.high <= most):
        return "held"
    if (least is not None and found.high < least) or (most is not None and found.low > most):
        return "not here"
    return "undecided"
