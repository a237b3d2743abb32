"""A setting that a log does not have, told by its figures: with which of its values tokens follow from the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.scenario.make import make_scenario
from kvcalc.verbs.log_check.result import GIVEN, TOKENS
from kvcalc.verbs.log_check.rows import predict, rows
from kvcalc.verbs.searching.resolve import resolve

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.logs import ServerLog
    from kvcalc.verbs.log_check.result import LogRow
    from kvcalc.verbs.log_check.settings_of_log import AsLogged

SETTING = "enable-prefix-caching"
"""Of vLLM: models of attention and states keep twice the states with it, and each version has its default."""


def unsaid(log: ServerLog, asked: AsLogged, deployment: Deployment, row: LogRow | None) -> str | None:
    """In words, of a row of tokens given the printed memory; None where nothing is off, or no value mends it."""
    own = asked.options.get("engine_option") or {}
    if log.engine != "vllm" or SETTING in own or row is None or row.printed is None or _holds(row):
        return None
    for value in ("true", "false"):
        options = {**asked.options, "engine_option": {**own, SETTING: value}}
        try:
            predicted = predict(resolve(make_scenario(asked.model, **options)), deployment, log)
        except KvcalcError:  # the engine is settled as it is asked for, and may not follow this value
            continue
        if any(_holds(each) for each in rows(log, predicted) if each.name == f"{TOKENS}{GIVEN}"):
            return f"as printed with --engine-option {SETTING}={value}, which the log does not say"
    return None


def _holds(row: LogRow) -> bool:
    low, high, printed = row.predicted_low, row.predicted_high, row.printed
    return low is not None and high is not None and printed is not None and low <= printed <= high
