"""The options with which a prediction is what the server printed, or nearest to it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines import ENGINES
from kvcalc.verbs.log_check.result import JUDGED, TOKENS, ExactOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from fractions import Fraction

    from kvcalc.logs import Printed, ServerLog
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.log_check.result import LogRow, LogSetting

POOL_OPTIONS = {"vllm": "kv-cache-memory-bytes"}
"""Options of engines that state the memory for the cache."""

_STEPS = 64
"""Halvings of the rounding of a printed figure: fewer bytes are left."""


def exact_options(
    scenario: Scenario,
    log: ServerLog,
    rows: Mapping[str, LogRow],
    settings: tuple[LogSetting, ...],
    pool_of: Callable[[int], Mapping[str, float]],
) -> ExactOptions:
    """Options by the printed pool, and by the printed parts beside it.

    Args:
        scenario: what is predicted.
        log: what a server said.
        rows: the figures, by name.
        settings: what the prediction was made with.
        pool_of: tokens, blocks and concurrency of so much memory for the cache.
    """
    found = _pool_bytes(log, pool_of)
    memory = None if found is None else found.memory
    option = POOL_OPTIONS.get(log.engine)
    pool: tuple[str, ...] = ()
    if memory is not None:
        known = option is not None and option in ENGINES[scenario.engine.name].options
        pool = ("--engine-option", f"{option}={memory}") if known else ("--cache-memory", str(memory))
    parts = tuple(_parts(scenario, log, rows, memory))
    command = shlex.join([*command_of(scenario, settings, pool[-1] if pool else "", parts), *(pool or parts)])
    held = {} if memory is None else pool_of(memory)
    tokens = held.get(TOKENS)
    return ExactOptions(
        command=command,
        pool=pool,
        parts=parts,
        tokens=None if tokens is None else int(tokens),
        as_printed=found is not None and found.as_printed,
    )


class _Found(NamedTuple):
    """Memory for the cache.

    Attributes:
        as_printed: whether it rounds to the printed memory, and holds what is printed of the pool.
    """

    memory: int
    as_printed: bool


def _pool_bytes(log: ServerLog, pool_of: Callable[[int], Mapping[str, float]]) -> _Found | None:
    """The least memory that holds the printed pool, best of that which rounds to what is printed; else that.

    Tokens, blocks and concurrency never fall as memory is added.
    """
    printed = log.least("cache memory")
    if printed is None or printed.value < 0:
        return None
    name = next((name for name in JUDGED if name in log.printed), None)
    wanted = None if name is None else log.least(name)
    if name is None or wanted is None:
        return _Found(int(printed.value), as_printed=False)
    for off in (printed.off, printed.value / 2):
        low = _least_memory(printed.value, off, lambda memory: _reaches(pool_of(memory).get(name), wanted))
        if abs(float(pool_of(low).get(name, 0)) - float(wanted.value)) <= float(wanted.off):
            return _Found(low, as_printed=abs(low - printed.value) <= printed.off + 1)
    return _Found(int(printed.value), as_printed=False)


def _least_memory(middle: Fraction, off: Fraction, enough: Callable[[int], bool]) -> int:
    """The least whole bytes between two ends that are enough; the upper end where none are."""
    low, high = max(0, int(middle - off)), int(middle + off)
    for _ in range(_STEPS):
        if low >= high:
            break
        tried = (low + high) // 2
        low, high = (low, tried) if enough(tried) else (tried + 1, high)
    return low


def _reaches(held: float | None, wanted: Printed) -> bool:
    return held is not None and held >= float(wanted.value - wanted.off)


def _parts(scenario: Scenario, log: ServerLog, rows: Mapping[str, LogRow], memory: int | None) -> Iterator[str]:
    """Weights of a replica; of a rank temporary memory and, as overhead, what is then left of what is usable."""
    weights = log.most("weights")
    temporary = log.most("temporary") or log.most("temporary and CUDA graphs")
    usable = rows.get("usable memory")
    deployment = scenario.deployment
    if weights is None or temporary is None or deployment is None:
        return
    yield from ("--weights", str(round(weights.value) * deployment.ranks))
    yield from ("--temporary", str(max(0, round(temporary.value))))
    if memory is not None and usable is not None and usable.predicted is not None:
        left = int(usable.predicted) - round(weights.value) - round(temporary.value) - memory
        yield from ("--overhead", str(left)) if left >= 0 else ()


def command_of(
    scenario: Scenario, settings: tuple[LogSetting, ...], pool: str, parts: tuple[str, ...]
) -> Iterator[str]:
    """The same server as a command line, without what the exact options say."""
    replaced = {pool.partition("=")[0], *(() if pool else parts), *(("--weight-dtype",) if not pool else ())}
    yield from ("kvcalc", "capacity", scenario.model.name)
    for setting in settings:
        if setting.option in replaced:
            continue
        if not setting.option.startswith("--"):
            yield from ("--engine-option", f"{setting.option}={setting.value}")
        elif setting.value == "True":
            yield setting.option
        elif setting.option not in {"--reserve", "--assume"}:
            yield from (setting.option, setting.value)
