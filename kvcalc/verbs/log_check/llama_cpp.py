"""A llama.cpp log beside what is predicted: it is told its context, and reserves all of it at the start."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.logs import DIALECTS
from kvcalc.logs.llama_cpp.figures import CONTEXT, MMPROJ
from kvcalc.memory import Ranks
from kvcalc.units import MIB
from kvcalc.verbs.capacity import capacity
from kvcalc.verbs.log_check.assembled import assembled
from kvcalc.verbs.log_check.exact import command_of
from kvcalc.verbs.log_check.llama_cpp_rows import COMPUTE, reserved_rows
from kvcalc.verbs.log_check.llama_cpp_settings import on_cards
from kvcalc.verbs.log_check.result import ExactOptions, LogCheck, LogRow

if TYPE_CHECKING:
    from kvcalc.logs import ServerLog
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.log_check.settings_of_log import AsLogged


def check_reserved(log: ServerLog, asked: AsLogged, scenario: Scenario, *, cut: bool) -> LogCheck:
    """Each figure that llama.cpp printed beside the one that is predicted.

    Args:
        log: what it printed.
        asked: what it was started with, by the log.
        scenario: the same as a question.
        cut: whether the log is longer than what was read.

    Raises:
        KvcalcError: the log prints no figure that is predicted, or llama.cpp does not serve such a model.
    """
    told = next((each.text for each in asked.notes if each.code in {"weights-as-printed", "weights-by-name"}), None)
    rows = reserved_rows(scenario, log, told)
    if not any(row.printed is not None for row in rows):
        raise KvcalcError(
            "--from-log: nothing to compare: the log prints no figure that is predicted; looked for",
            f"  {DIALECTS[log.engine].looked_for}",
        )
    deployment = scenario.deployment or Deployment()
    unknown = Ranks(scenario).weights_of(deployment) is None
    caches = log.total("cache memory")
    held = capacity(scenario, int(caches.value) if unknown and caches is not None else 1 if unknown else None)
    return assembled(
        log,
        scenario,
        asked,
        held,
        rows,
        exact=_exact(log, scenario, asked, rows),
        serves_one=(held.max_context or scenario.workload.context) >= scenario.workload.context,
        cut=cut,
    )


def _exact(log: ServerLog, scenario: Scenario, asked: AsLogged, rows: tuple[LogRow, ...]) -> ExactOptions:
    """Weights, compute buffers and towers as printed: nothing else of it is not told by its settings."""
    weights, compute = (on_cards(log, figure) for figure in ("model buffer", COMPUTE))
    parts: tuple[str, ...] = ()
    if weights:
        parts += ("--weights", str(int(sum(each.value for each in weights))))
    if compute:
        parts += ("--temporary", str(int(max(each.value for each in compute))))
    beside = log.total(MMPROJ)
    if beside is not None:
        parts += ("--reserve", f"{MMPROJ}={int(beside.value)}")
    command = shlex.join([*command_of(scenario, asked.settings, "", parts), *parts])
    own = [row for row in rows if row.name in {"tokens", "cache memory", "states", CONTEXT} and row.printed is not None]
    printed = all(_rounds(row) for row in own)
    cells = next((row.predicted for row in own if row.name == "tokens"), None)
    return ExactOptions(command, (), parts, None if cells is None else int(cells), bool(own) and printed)


def _rounds(row: LogRow) -> bool:
    """Whether the prediction rounds to what is printed: MiB with two decimals, of as many buffers as there are.

    Of the table at the end whole MiB.
    """
    if row.unit != "bytes":
        return row.predicted == row.printed
    printed = row.as_printed or ""
    step = MIB // 200 if "." in printed else MIB // 2
    return abs((row.predicted or 0) - (row.printed or 0)) <= (printed.count(" + ") + 1) * step + 1
