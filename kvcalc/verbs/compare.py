"""The verb `compare`: one model under each attention mechanism, or several models side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.legality import check_legal
from kvcalc.literature import CONTRADICTIONS, SAYINGS
from kvcalc.verbs.compared_row import Grant, cache_bytes, compared_row, grant_of, why_not_kept
from kvcalc.verbs.comparison import ComparedRow, Comparison, GivenGpus
from kvcalc.verbs.decode import why_no_bound
from kvcalc.verbs.remarks import gpu_notes, model_notes, not_modelled, unknown_weights
from kvcalc.verbs.result import ModelSummary, WorkloadSummary
from kvcalc.verbs.what_if import as_mha, variants
from kvcalc.verbs.what_if_remarks import dims_remarks, weights_remark

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvcalc.scenario import Scenario
    from kvcalc.verbs.compared_row import Tell


class _Told:
    """What is to be noted, and of which rows."""

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {}

    def tell(self, row: str, text: str) -> None:
        rows = self._rows.setdefault(text, [])
        if row not in rows:
            rows.append(row)

    def lines(self, everyone: Iterable[str]) -> Iterator[str]:
        """Each text, after the names of its rows where it is not said of every one."""
        names = set(everyone)
        for text, rows in self._rows.items():
            yield text if set(rows) == names else f"{', '.join(rows)}: {text}"


def compare(scenarios: Sequence[Scenario]) -> Comparison:
    """One scenario under each mechanism, or several side by side.

    Raises:
        KvcalcError: no scenario, or several of different workloads or accelerators; a format that the model's own
            cache cannot have; a deployment that no row can have.
    """
    if not scenarios:
        raise KvcalcError("MODEL: missing; name a model (kvcalc models list)")
    first = scenarios[0]
    if any(each.workload != first.workload for each in scenarios):
        told = ", ".join(dict.fromkeys(f"{each.workload.batch:,} x {each.workload.context:,}" for each in scenarios))
        raise KvcalcError(f"--context: models are compared at one workload, and theirs are {told}: give one (-c N)")
    if any(
        (each.gpu, each.utilization, each.engine) != (first.gpu, first.utilization, first.engine) for each in scenarios
    ):
        raise KvcalcError("--gpu: models are compared on one accelerator and engine, and these scenarios' differ")
    return _under_each_mechanism(first) if len(scenarios) == 1 else _side_by_side(scenarios)


def _under_each_mechanism(scenario: Scenario) -> Comparison:
    model, told = scenario.model, _Told()
    if (reason := why_not_kept(scenario)) is not None:
        raise KvcalcError(reason)
    grant = grant_of(scenario)
    mha_bytes = _mha_bytes(scenario)
    rows = []
    for variant in variants(model):
        asked = replace(scenario, model=variant.model)
        if (reason := why_not_kept(asked)) is not None:
            told.tell(variant.name, f"left out: {reason}")
            continue
        tell = _teller(told, variant.name)
        rows.append(compared_row(variant.name, asked, grant, mha_bytes, tell, own=variant.own))
    _refuse_what_no_row_can_have(rows)
    notes = (
        *_remarks(scenario),
        *(f"{model.name}: {text}" for text in model_notes(scenario, Deployment())),
        *gpu_notes(scenario),
        *dims_remarks(model),
        *_weights_notes(scenario, grant, known=rows[0].by_memory is not None),
        *_mha_note(scenario),
        *told.lines(row.name for row in rows),
    )
    return Comparison(
        model=ModelSummary.of(model),
        workload=WorkloadSummary(scenario.workload.batch, scenario.workload.context),
        engine=scenario.engine.name,
        engine_version=scenario.engine.version,
        gpus=_gpus(scenario, grant.at_most),
        rows=tuple(rows),
        sayings=SAYINGS,
        contradictions=CONTRADICTIONS,
        not_modelled=(
            "what another mechanism changes beside the cache: quality, and the weights of projections",
            *not_modelled(scenario, grant.deployment or Deployment()),
        ),
        notes=notes,
        scenario=scenario,
    )


def _side_by_side(scenarios: Sequence[Scenario]) -> Comparison:
    told, rows, left_out = _Told(), [], []
    for scenario in scenarios:
        name = scenario.model.name
        if (reason := why_not_kept(scenario)) is not None:
            left_out.append(f"{name}: left out: {reason}")
            continue
        tell, grant = _teller(told, name), grant_of(scenario)
        for text in (*_remarks(scenario), *model_notes(scenario, Deployment()), *_mha_note(scenario)):
            tell(text)
        rows.append(compared_row(name, scenario, grant, _mha_bytes(scenario), tell, own=True))
        missing = why_no_bound(scenario)
        if rows[-1].by_memory is None:
            tell(unknown_weights(scenario))
        elif missing is not None:
            tell(f"no bound of decoding: {missing}")
        if grant.own_smallest is not None:
            tell("the given GPUs are those of each model's own smallest deployment (--gpus N or --tp N gives others)")
    if not rows:
        raise KvcalcError(left_out[0])
    _refuse_what_no_row_can_have(rows)
    first, names = scenarios[0], [row.name for row in rows]
    left = _Told()
    for scenario in scenarios:
        for text in not_modelled(scenario, scenario.deployment or Deployment()):
            left.tell(scenario.model.name, text)
    return Comparison(
        model=None,
        workload=WorkloadSummary(first.workload.batch, first.workload.context),
        engine=first.engine.name,
        engine_version=first.engine.version,
        gpus=_gpus(first, first.at_most_gpus),
        rows=tuple(rows),
        sayings=(),
        contradictions=(),
        not_modelled=tuple(left.lines(scenario.model.name for scenario in scenarios)),
        notes=(*told.lines(names), *gpu_notes(first), *left_out),
        scenario=first,
    )


def _teller(told: _Told, row: str) -> Tell:
    return lambda text: told.tell(row, text)


def _mha_bytes(scenario: Scenario) -> int | None:
    mha = replace(scenario, model=as_mha(scenario.model))
    return cache_bytes(mha) if why_not_kept(mha) is None else None


def _mha_note(scenario: Scenario) -> Iterator[str]:
    mha = replace(scenario, model=as_mha(scenario.model))
    if (reason := why_not_kept(mha)) is not None:
        yield f"ratio_to_mha is not known, for mha: {reason}"


def _weights_notes(scenario: Scenario, grant: Grant, *, known: bool) -> Iterator[str]:
    """What needs the weights: the given GPUs, and the bound of decoding."""
    if not known:
        yield unknown_weights(scenario)
        return
    yield weights_remark(scenario)
    if (missing := why_no_bound(scenario)) is not None:
        yield f"no bound of decoding: {missing}"
    if grant.own_smallest is not None:
        count = grant.own_smallest.deployment.gpus
        yield (
            f"the given GPUs are at most {count:,}, as in the smallest deployment of {scenario.model.name} as it is "
            "(--gpus N or --tp N gives others)"
        )


def _refuse_what_no_row_can_have(rows: Sequence[ComparedRow]) -> None:
    """A deployment that is illegal for every row is a mistake, not an answer.

    Raises:
        KvcalcError: it is; of the model as it is, or of the first.
    """
    refusals = []
    for row in sorted(rows, key=lambda row: not row.own):
        asked = row.scenario
        if asked.deployment is None or asked.at_most_gpus is not None:
            return
        try:
            check_legal(asked.deployment, asked.model)
        except KvcalcError as error:
            refusals.append(error)
    if len(refusals) == len(rows):
        raise refusals[0]


def _gpus(scenario: Scenario, at_most: int | None) -> GivenGpus:
    return GivenGpus(
        scenario.gpu.name, scenario.memory_bytes, float(scenario.utilization), scenario.usable_bytes, at_most
    )


def _remarks(scenario: Scenario) -> tuple[str, ...]:
    """Of several GPUs each row has its own best deployment, so what is said of the model's is left out."""
    return scenario.remarks if scenario.at_most_gpus is None else scenario.remarks[:-1]
