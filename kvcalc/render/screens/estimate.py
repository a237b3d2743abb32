"""An estimate as a report: what CSV has a line for, and the screen, which is made only where it is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.record import contents, keys
from kvcalc.render import Report
from kvcalc.verbs.bounds.decode import DecodeBound, Spill
from kvcalc.verbs.bounds.drafted import Drafted
from kvcalc.verbs.bounds.prefill import PrefillBound
from kvcalc.verbs.estimate_result import RankResult, SpillResult
from kvcalc.verbs.requests.tiers import Handoff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.render.view import View
    from kvcalc.verbs.estimate_result import Estimate


def estimate_report(result: Estimate, unit: str, *, explain: bool, command: str) -> Report:
    """One estimate: one line of CSV; with `explain`, one for each leaf of its cache."""

    def rows() -> Sequence[Any]:
        return result.cache.terms if explain else (_csv_row(result),)

    def view() -> View:
        from kvcalc.render.screens.estimate_view import estimate_view

        return estimate_view(result, unit, explain=explain, command=command)

    return Report(result, rows, view, result.notes, unit=unit)


def _csv_row(result: Estimate) -> dict[str, Any]:
    """CSV's columns do not depend on the answer: a rank's figures are empty where no deployment holds the workload."""
    from kvcalc.verbs.measured_speed import MeasuredSpeed

    gpus = contents(result.gpus)
    del gpus["most_sequences"]
    gpus["per_rank"] = result.gpus.per_rank or _empty(RankResult)
    decode = contents(result.decode) if result.decode else _empty(DecodeBound)
    decode["spill"] = decode["spill"] or _empty(Spill)
    decode["drafted"] = decode["drafted"] or _empty(Drafted)
    prefill = contents(result.prefill) if result.prefill else _empty(PrefillBound)
    whole = contents(result)
    del whole["tiers"], whole["pools"]
    return whole | {
        "mix": result.question.mix,
        "gpus": gpus,
        "decode": decode,
        "measured": result.measured or _empty(MeasuredSpeed),
        "prefill": prefill,
        "spill": result.spill or _empty(SpillResult),
        "handoff": result.handoff or _empty(Handoff),
    }


def _empty(record: type[Any]) -> dict[str, Any]:
    return {name: None for name in keys(record) if name not in {"terms", "tree"}}
