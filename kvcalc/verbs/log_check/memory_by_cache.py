"""A card's memory by what its server had for the cache, where a log tells it in no other way."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.verbs.log_check.memory_by_graphs import Between

if TYPE_CHECKING:
    from kvcalc.logs import ServerLog
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.log_check.rows import Range

ROUNDS = 3
"""Cards that are tried: another card has other defaults, with which its memory is another."""


def memory_by_cache(log: ServerLog, scenario: Scenario, predicted: Range) -> Between | None:
    """What a card has whose cache is as printed, beside what is predicted of all else; None where nothing tells.

    Args:
        log: what the server printed.
        scenario: the server, on a card that was taken for it.
        predicted: the cache's memory there.
    """
    printed, memory = log.least("cache memory"), scenario.gpu.memory_bytes
    if printed is None or memory is None or log.engine != "vllm" or "kv-cache-memory-bytes" in log.settings:
        return None
    if not (says_share(log) or log.version):
        return None
    share = Fraction(scenario.utilization)
    low, high = (memory + (printed.value - Fraction(each)) / share for each in (predicted.high, predicted.low))
    return Between(low, high) if low > 0 else None


def says_share(log: ServerLog) -> bool:
    """Whether it says what share of the card's memory is used; else that is its version's default."""
    return "--utilization" in log.settings or log.most("utilization") is not None
