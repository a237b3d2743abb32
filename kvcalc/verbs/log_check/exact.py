"""The options with which a prediction is what the server printed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from kvcalc.engines import ENGINES
from kvcalc.verbs.log_check.result import TOKENS, ExactOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kvcalc.logs import ServerLog
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
    tokens_of: Callable[[int], int | None],
) -> ExactOptions:
    """Options by the printed pool, and by the printed parts beside it.

    Args:
        scenario: what is predicted.
        log: what a server said.
        rows: the figures, by name.
        settings: what the prediction was made with.
        tokens_of: the tokens of so much memory for the cache.
    """
    memory = _pool_bytes(log, rows, tokens_of)
    option = POOL_OPTIONS.get(log.engine)
    pool: tuple[str, ...] = ()
    if memory is not None:
        known = option is not None and option in ENGINES[scenario.engine.name].options
        pool = ("--engine-option", f"{option}={memory}") if known else ("--cache-memory", str(memory))
    parts = tuple(_parts(scenario, log, rows))
    command = shlex.join([*_command(scenario, settings, pool[-1] if pool else "", parts), *(pool or parts)])
    return ExactOptions(command, pool, parts, None if memory is None else tokens_of(memory))


def _pool_bytes(log: ServerLog, rows: Mapping[str, LogRow], tokens_of: Callable[[int], int | None]) -> int | None:
    """The least memory that holds the printed tokens, best of that which rounds to what is printed; else that.

    Tokens never fall as memory is added.
    """
    printed, row = log.least("cache memory"), rows.get(TOKENS)
    if printed is None or printed.value < 0:
        return None
    wanted = None if row is None else row.printed
    if wanted is None:
        return int(printed.value)
    for off in (printed.off, printed.value / 2):
        low, high = max(0, int(printed.value - off)), int(printed.value + off)
        for _ in range(_STEPS):
            if low >= high:
                break
            middle = (low + high) // 2
            low, high = (middle + 1, high) if (tokens_of(middle) or 0) < wanted else (low, middle)
        if tokens_of(low) == wanted:
            return low
    return int(printed.value)


def _parts(scenario: Scenario, log: ServerLog, rows: Mapping[str, LogRow]) -> Iterator[str]:
    """Weights of a replica; of a rank temporary memory and, as overhead, what is then left of what is usable."""
    weights, cache = log.most("weights"), log.least("cache memory")
    temporary = log.most("temporary") or log.most("temporary and CUDA graphs")
    usable = rows.get("usable memory")
    deployment = scenario.deployment
    if weights is None or temporary is None or deployment is None:
        return
    yield from ("--weights", str(round(weights.value) * deployment.ranks))
    yield from ("--temporary", str(max(0, round(temporary.value))))
    if cache is not None and usable is not None and usable.predicted is not None:
        left = round(usable.predicted - weights.value - temporary.value - cache.value)
        yield from ("--overhead", str(max(0, left)))


def _command(scenario: Scenario, settings: tuple[LogSetting, ...], pool: str, parts: tuple[str, ...]) -> Iterator[str]:
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
