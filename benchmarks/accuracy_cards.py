"""The memory of the cache by the kind of card: how far off predictions are, and servers that are asked alike."""

from __future__ import annotations

from math import ceil
from statistics import median
from typing import TYPE_CHECKING

from accuracy_logs import SHARED_WITH_THE_HOST, STOCK_VLLM

from kvcalc import KvcalcError, load_gpu
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from accuracy_logs import Compared

CLOSE = 0.015
"""Of the card."""
_CARDS = """
### By the card

How far off the memory of the cache is, of stock vLLM, known logs and later ones together. In a data centre a server
mostly has its card alone. On a desktop others take what no setting tells, and where memory is shared with the host,
whatever the host has read or runs.

| cache memory on | figures | refused | within 1.5% of the card | median of the card | p90 of the card |
| --- | ---: | ---: | ---: | ---: | ---: |
"""

_TWICE = """
Some servers started more than once with the same settings, or two of them were asked alike. No prediction from
settings can be right for both:

| model | card | version | logs | cache memory as printed, GiB | apart, of the card |
| --- | --- | --- | --- | --- | ---: |
"""


def _of_stock_vllm(found: Sequence[Compared]) -> list[Compared]:
    return [each for each in found if each.part == "cache memory" and each.log.group in STOCK_VLLM]


def _kind_of(card: str) -> str:
    if card in SHARED_WITH_THE_HOST:
        return "memory shared with the host"
    try:
        title = load_gpu(card).title or ""
    except KvcalcError:
        return "a card that the log does not name"
    desktop = "GeForce" in title or "Radeon RX" in title
    return "GeForce and Radeon RX" if desktop else "cards of data centres and workstations"


def by_card(found: Sequence[Compared]) -> Iterator[str]:
    """How far off the memory of a cache is by the kind of card, and how far apart servers that are asked alike are."""
    yield _CARDS.rstrip("\n")
    yield from _kinds(found)
    yield _TWICE.rstrip("\n")
    yield from _asked_alike(found)


def _kinds(found: Sequence[Compared]) -> Iterator[str]:
    """The best first."""
    kinds: dict[str, list[Compared]] = {}
    for each in _of_stock_vllm(found):
        kinds.setdefault(_kind_of(each.log.card), []).append(each)
    for kind, rows in sorted(kinds.items(), key=lambda item: _median_of_card(item[1])):
        errors = sorted(abs(each.of_card) for each in rows if each.of_card is not None)
        refused = len(rows) - len(errors)
        cells = [kind, str(len(rows)), str(refused), str(sum(error <= CLOSE for error in errors))]
        cells += [quantile(errors, refused, share) for share in (0.5, 0.9)]
        yield f"| {' | '.join(cells)} |"


def _median_of_card(rows: Sequence[Compared]) -> float:
    return median(abs(each.of_card) for each in rows if each.of_card is not None)


def _asked_alike(found: Sequence[Compared]) -> Iterator[str]:
    """Logs that tell the same settings and print another memory of the cache."""
    alike: dict[tuple[str, ...], list[Compared]] = {}
    for each in _of_stock_vllm(found):
        log = each.log
        if each.predicted is not None and each.of_card is not None:
            alike.setdefault((log.model, log.card, log.version, log.settings), []).append(each)
    for (model, card, version, _), rows in alike.items():
        printed = sorted({each.printed for each in rows})
        if len(printed) > 1:
            ends = [each.of_card or 0.0 for each in rows]
            names = ", ".join(each.log.name for each in rows)
            told = ", ".join(format_size(round(each), "GiB") for each in printed)
            yield f"| {model} | {card} | {version} | {names} | {told} | {max(ends) - min(ends):.2%} |"


def quantile(errors: Sequence[float], refused: int, share: float) -> str:
    """The least error that no fewer than this share of the figures stay within; refusals are beyond all."""
    index = max(0, ceil(share * (len(errors) + refused)) - 1)
    return f"{errors[index]:.2%}" if index < len(errors) else "refused"
