"""`capacity --from-log`: what a server printed as it started, beside what is predicted of such a server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kvcalc.deployment import Deployment
from kvcalc.engines import version_number
from kvcalc.errors import KvcalcError
from kvcalc.logs import DIALECTS
from kvcalc.logs.sglang.figures import BOTH_POOLS
from kvcalc.mechanisms import Role
from kvcalc.note import Note, note
from kvcalc.scenario.make import make_scenario
from kvcalc.scenario.option import given_of, options_of
from kvcalc.scenario.options import Tiers
from kvcalc.verbs.capacity import capacity
from kvcalc.verbs.log_check.assembled import assembled
from kvcalc.verbs.log_check.exact import exact_options
from kvcalc.verbs.log_check.llama_cpp import check_reserved
from kvcalc.verbs.log_check.llama_cpp_settings import ENGINE as LLAMA_CPP
from kvcalc.verbs.log_check.memory_by_cache import ROUNDS, memory_by_cache
from kvcalc.verbs.log_check.model_of_log import ALIKE
from kvcalc.verbs.log_check.reasons import Reasons
from kvcalc.verbs.log_check.refused_setting import naming_the_log
from kvcalc.verbs.log_check.result import GIVEN, JUDGED, TOKENS, LogCheck
from kvcalc.verbs.log_check.rows import WITHOUT_STATES, pool_figures, predict, rows
from kvcalc.verbs.log_check.settings_of_log import AsLogged, as_logged
from kvcalc.verbs.log_check.unsaid import unsaid
from kvcalc.verbs.searching.capacity_search import Replica
from kvcalc.verbs.searching.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kvcalc.logs import ServerLog
    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario

ONCE_SINCE = (0, 12)
"""Ranks of a stage print one pool since then, each its own before (v1/core/kv_cache_utils.py of vLLM)."""
SGLANG = "sglang"
MOST_SHOWN = 4
"""Figures that a note repeats."""


def _refuse_tiers(given: Mapping[str, Any]) -> None:
    if asked := options_of(Tiers).keys() & given_of(given).keys():
        raise KvcalcError(f"--{min(asked).replace('_', '-')}: a log has no such figure; leave it out, or --from-log")


def check_log(
    log: ServerLog, model: Model | str | Path | None, given: Mapping[str, Any], *, cut: bool = False
) -> LogCheck:
    """Each figure that a server printed beside the one that is predicted.

    Args:
        log: what it printed.
        model: the one that it has; None: the log's, by the catalogue.
        given: options of a scenario, which win over the log's.
        cut: whether the log is longer than what was read.

    Raises:
        KvcalcError: the model is not known, nor its weights; the engine does not serve it so; an option cannot be.
    """
    _refuse_tiers(given)
    with naming_the_log(log, {*given_of(given), *(given.get("engine_option") or {})}):
        asked = as_logged(log, model, given)
        scenario = _that_ran(asked)
        if log.engine == LLAMA_CPP and scenario.engine.name == LLAMA_CPP:
            return check_reserved(log, asked, scenario, cut=cut)
        held = capacity(scenario)
        if _too_heavy(log, scenario, given):
            asked = as_logged(log, model, given, too_heavy=True)
            scenario = _that_ran(asked)
            held = capacity(scenario)
        if not asked.card_told and "gpu_memory" not in given_of(given):
            asked, scenario = _on_a_card_by_cache(log, model, given, asked, scenario)
            held = capacity(scenario)
        log = _with_memory_of_all(log, scenario.model)
    deployment = scenario.deployment or Deployment()
    context = scenario.workload.context
    prediction = predict(scenario, deployment, log)
    found = rows(log, prediction)
    if log.refused is None and not any(row.printed is not None and row.predicted is not None for row in found):
        raise KvcalcError(
            "--from-log: nothing to compare: the log prints no figure that is predicted; looked for",
            f"  {DIALECTS[log.engine].looked_for}",
        )

    def pool_of(memory: int) -> dict[str, int | float]:
        return pool_figures(Replica(prediction.ranks, (memory,) * len(prediction.ranks)), context)

    by_name = {row.name: row for row in found}
    told = _of_weights(asked.notes)
    mends = unsaid(log, asked, deployment, by_name.get(f"{TOKENS}{GIVEN}"))
    reasons = Reasons(
        log, by_name, _defaults(held.notes), told, deployment.pp, deployment.ranks, _ranges(held.notes), mends
    )
    explained = tuple(replace(row, why=reasons.why(row.name)) for row in found)
    return assembled(
        log,
        scenario,
        asked,
        held,
        explained,
        exact=exact_options(scenario, log, by_name, asked.settings, pool_of),
        serves_one=prediction.values["cache memory"].usual >= prediction.values["cache of one request"].usual,
        notes=tuple(_several(log, deployment, held.engine_version)),
        cut=cut,
    )


def _that_ran(asked: AsLogged) -> Scenario:
    made = make_scenario(asked.model, **asked.options)
    return resolve(replace(made, engine=replace(made.engine, ran=True)))


def _too_heavy(log: ServerLog, scenario: Scenario, given: Mapping[str, Any]) -> bool:
    """Whether a server loaded much less than its model has in the format that nobody gave: it is stored in another."""
    printed = log.most("weights")
    if printed is None or log.refused is not None or given_of(given).keys() & {"weights", "weight_dtype"}:
        return False
    predicted = predict(scenario, scenario.deployment or Deployment(), log).values["weights"].usual
    return predicted * (1 - ALIKE) > printed.value > 0


def _on_a_card_by_cache(
    log: ServerLog, model: Model | str | Path | None, given: Mapping[str, Any], asked: AsLogged, scenario: Scenario
) -> tuple[AsLogged, Scenario]:
    """The server on a card whose memory leaves what is printed for the cache; as it was where no card does."""
    for _ in range(ROUNDS):
        predicted = predict(scenario, scenario.deployment or Deployment(), log).values["cache memory"]
        between = memory_by_cache(log, scenario, predicted)
        if between is None:
            break
        again = as_logged(log, model, given, by_cache=between)
        try:
            scenario = _that_ran(again)
        except KvcalcError:  # what was only guessed cannot serve it
            break
        asked = again
    return asked, scenario


def _with_memory_of_all(log: ServerLog, model: Model) -> ServerLog:
    """The log; where it has the memory of keys and values alone, and the model keeps states too, under another name."""
    states = any(tensor.role is Role.STATE for layer in model.layout.kinds for tensor in layer.attention.cached())
    own_line = log.engine == SGLANG and ("keys" in log.printed or "keys and values" in log.printed)
    if not own_line or not states or "states" in log.printed or BOTH_POOLS in log.printed:
        return log
    named = {WITHOUT_STATES if name == "cache memory" else name: each for name, each in log.printed.items()}
    return replace(log, printed=named)


def _of_weights(notes: tuple[Note, ...]) -> str | None:
    return next((each.text for each in notes if each.code in {"weights-as-printed", "weights-by-name"}), None)


def _defaults(notes: tuple[Note, ...]) -> tuple[str, ...]:
    """What was taken for settings that the log does not have."""
    return tuple(each.text for each in notes if each.code == "engine-defaults")


def _ranges(notes: tuple[Note, ...]) -> dict[str, str]:
    """What was seen of each part of the memory that is known as a range; of the cache, where compiling makes it one."""
    seen = {str(each.data["part"]): each.text for each in notes if each.code == "engine-overhead-range"}
    compiled = (each.text for each in notes if each.code == "temporary-while-compiling")
    return seen | {part: text for text in compiled for part in ("temporary", "cache")}


def _several(log: ServerLog, deployment: Deployment, version: str | None) -> Iterator[Note]:
    """Figures of the pool that one process prints more than once, and not alike."""
    number = version_number(version or "") or ONCE_SINCE
    times = deployment.pp * (1 if number[:2] >= ONCE_SINCE else deployment.tp)
    for name in JUDGED:
        values = log.printed.get(name, ())
        own = {process: [each for each in values if each.process == process] for process in {v.process for v in values}}
        if not any(len(each) > times and min(each).value != max(each).value for each in own.values()):
            continue
        texts = list(dict.fromkeys(each.text for each in values))
        told = f"the log prints {name} {' and '.join(texts[:MOST_SHOWN])}, perhaps of several starts"
        yield note("printed-twice", f"{told}: {min(values).text}, the least, is used", figure=name)
