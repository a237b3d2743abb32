"""A card's memory by what an SGLang server found free before it loaded the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.engines import ENGINES
from kvcalc.engines.sglang.budget import context_bytes
from kvcalc.engines.sglang.defaults import parse_version
from kvcalc.logs.sglang.figures import AFTER_LOADING, BEFORE_LOADING
from kvcalc.verbs.log_check.engine_of_log import newest

if TYPE_CHECKING:
    from kvcalc.logs import Printed, ServerLog

ENGINE = "sglang"


def total_memory(log: ServerLog) -> Printed | None:
    """A card's memory: what was free before loading, and what a process takes before that."""
    before = free_before_loading(log)
    if before is None:
        return None
    version = parse_version(log.version or newest(log))
    return before._replace(value=before.value + context_bytes(version))


def free_before_loading(log: ServerLog) -> Printed | None:
    """As printed; else what was free after loading and the weights."""
    before, after, weights = log.least(BEFORE_LOADING), log.least(AFTER_LOADING), log.most("weights")
    if before is not None or after is None or weights is None:
        return before
    return after._replace(value=after.value + weights.value, off=after.off + weights.off)


def memory_of_card(log: ServerLog, engine: str) -> dict[str, Any]:
    """The memory with which as much is free before loading as the log says, by the version that is compared."""
    before, version = free_before_loading(log), engine.partition("@")[2]
    if before is None or engine.partition("@")[0] != ENGINE:
        return {}
    number = parse_version(version or ENGINES[ENGINE].versions[-1])
    return {"gpu_memory": int(before.value) + context_bytes(number)}
