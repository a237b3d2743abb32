"""What articles claim of speed, beside what was measured here: which claims held."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.catalogue.articles import articles
from kvcalc.speed.result import Claim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.catalogue.articles import Measurable
    from kvcalc.speed.rates import Timed
    from kvcalc.speed.result import Growth, Measured

NAIVE_MLA = "mla-naive"
"""MLA whose keys and values are expanded at every step."""


class _Figure(NamedTuple):
    """A ratio or an exponent, with what the quartiles make of it."""

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
    times = {each.mechanism.partition("-")[0]: each.attention.timed for each in measured}
    for each in measured:
        for path in each.paths:
            if path.name == naive and path.attention is not None:
                times[NAIVE_MLA] = path.attention
    return tuple(_claim(each, times, growth) for each in articles().measurable)


def _claim(each: Measurable, times: dict[str, Timed], growth: Sequence[Growth]) -> Claim:
    if each.growth:
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
        slow.low_seconds / fast.high_seconds,
        slow.median_seconds / fast.median_seconds,
        slow.high_seconds / fast.low_seconds,
    )


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
