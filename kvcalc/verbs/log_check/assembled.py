"""The result of a check, of what its engine's own rules have found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.note import Note, note
from kvcalc.verbs.log_check.model_of_log import hub_id
from kvcalc.verbs.log_check.result import LogCheck, LogSummary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.logs import ServerLog
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.capacity_result import Capacity
    from kvcalc.verbs.log_check.result import ExactOptions, LogRow
    from kvcalc.verbs.log_check.settings_of_log import AsLogged


def assembled(
    log: ServerLog,
    scenario: Scenario,
    asked: AsLogged,
    held: Capacity,
    rows: tuple[LogRow, ...],
    *,
    exact: ExactOptions,
    serves_one: bool,
    notes: tuple[Note, ...] = (),
    cut: bool,
) -> LogCheck:
    """What a log prints beside what is predicted.

    Args:
        log: what a server printed.
        scenario: of the server, as it was resolved.
        asked: what the log and the user say of it.
        held: its capacity.
        rows: each figure.
        exact: options under which the prediction is what is printed.
        serves_one: whether the cache holds one request of the longest context.
        notes: of the log, which stand between those of its reading and those of the capacity.
        cut: whether the log is longer than what was read of it.
    """
    return LogCheck(
        log=LogSummary(log.engine, log.version, hub_id(log), log.device, log.starts, cut, log.refused),
        model=held.model,
        workload=held.workload,
        engine=held.engine,
        engine_version=held.engine_version,
        deployment=scenario.deployment or Deployment(),
        gpus=held.gpus,
        settings=asked.settings,
        card_by_cache=asked.card_by_cache,
        rows=rows,
        exact=exact,
        serves_one=serves_one,
        notes=(*asked.notes, *_cut(cut=cut), *notes, *held.notes),
        question=held.question,
        scenario=scenario,
        at_limit=held.at_limit,
    )


def _cut(*, cut: bool) -> Iterator[Note]:
    if cut:
        yield note("log-cut", "the log is longer than what is read of it: only its beginning is compared")
