"""Several models side by side, several formats of the cache, or several engines."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.note import Note, note
from kvcalc.verbs.bounds.decode import why_no_bound
from kvcalc.verbs.comparing.against_mha import mha_bytes, mha_note
from kvcalc.verbs.comparing.given_gpus import given_gpus, grant_of, refuse_what_no_row_can_have
from kvcalc.verbs.comparing.result import Comparison
from kvcalc.verbs.comparing.row import compared_row, why_not_kept
from kvcalc.verbs.comparing.row_notes import RowNotes, of_rows, row_left_out
from kvcalc.verbs.notes.not_modelled import not_modelled
from kvcalc.verbs.notes.of_answers import no_decode_bound, unknown_weights
from kvcalc.verbs.notes.of_gpus import gpu_notes
from kvcalc.verbs.notes.of_models import model_notes
from kvcalc.verbs.notes.of_weights import weight_notes
from kvcalc.verbs.question import Accelerator, ModelSummary, Question, WorkloadSummary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.scenario import Scenario


def side_by_side(scenarios: Sequence[Scenario]) -> Comparison:
    """A row for each scenario, named by what differs: its model, the format of its cache, its engine, or several.

    Rows of one model are given the same GPUs: as many as the first takes.

    Raises:
        KvcalcError: two are the same; no format can hold its cache; a deployment that no row can have.
    """
    _refuse_twins(scenarios)
    noted, left, rows, varies = RowNotes(), RowNotes(), [], _varies(scenarios)
    reasons = [(name, why_not_kept(scenario), scenario) for name, scenario in _named(scenarios)]
    left_out = [of_rows(row_left_out(reason), (name,)) for name, reason, _ in reasons if reason is not None]
    kept = [(name, scenario) for name, reason, scenario in reasons if reason is None]
    if not kept:
        raise KvcalcError(left_out[0].text)
    first_name, first = kept[0]
    one_model = "model" not in varies
    grant = grant_of(first) if one_model else None
    for name, scenario in kept:
        add_note, given = noted.of_row(name), grant or grant_of(scenario)
        mha_notes = () if one_model else mha_note(scenario)
        own, of_row = grant is None or scenario is first, list[Note]()
        rows.append(compared_row(name, scenario, given, mha_bytes(scenario), of_row.append, own=own))
        of_model = model_notes(scenario, rows[-1].noted_on)
        for each in (*scenario.notes, *of_model, *weight_notes(scenario), *mha_notes, *of_row):
            add_note(each)
        missing = why_no_bound(scenario)
        if rows[-1].by_memory is None:
            add_note(unknown_weights(scenario))
        elif missing is not None:
            add_note(no_decode_bound(missing))
        if given.own_smallest is not None:
            of = (
                f"the smallest deployment {_PREPOSITIONS[varies[0]]} {first_name}"
                if one_model
                else "each model's own smallest deployment"
            )
            add_note(note("given-gpus", f"the given GPUs are those of {of} (--gpus N or --tp N gives others)"))
        deployment = rows[-1].given.deployment if scenario.gpu_limit else scenario.deployment
        for each in not_modelled(scenario, deployment or Deployment()):
            left.add(name, each)
    refuse_what_no_row_can_have(rows)
    compared, limit = [row.name for row in rows], first.gpu_limit
    return Comparison(
        model=ModelSummary.of(first.model) if one_model else None,
        workload=WorkloadSummary.of(first.workload),
        engine=None if "engine" in varies else first.engine.name,
        engine_version=None if "engine" in varies else first.engine.version,
        varies=varies,
        gpus=given_gpus(first, grant.at_most if grant else limit.gpus if limit else None),
        rows=tuple(rows),
        sayings=(),
        contradictions=(),
        not_modelled=tuple(left.notes(compared)),
        notes=(*noted.notes(compared), *_shares(kept), *gpu_notes(first), *left_out),
        question=Question.of(first, Accelerator.of(first)),
        scenario=first,
    )


_PREPOSITIONS = {"format": "in", "engine": "under"}


def _shares(rows: Sequence[tuple[str, Scenario]]) -> Iterator[Note]:
    """Engines take shares of their own of the memory."""
    shares = {name: float(scenario.utilization) for name, scenario in rows}
    if len(set(shares.values())) > 1:
        told = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        yield note(
            "utilizations-differ", f"the shares of memory used differ: {told} (--utilization X gives one)", **shares
        )


def _refuse_twins(scenarios: Sequence[Scenario]) -> None:
    """Two rows of one question would look like two models."""
    for (question, one), (other, two) in combinations([(_unnamed(each), each) for each in scenarios], 2):
        if question == other:
            names = list(dict.fromkeys((one.cache_format.name, two.cache_format.name)))
            if len(names) > 1:
                raise KvcalcError(f"--cache-dtype: {names[0]} and {names[1]} are one format; give one of them")
            under = f" under {one.engine.label}" if "engine" in _varies(scenarios) else ""
            raise KvcalcError(
                f"compare: {one.model.name} with its cache in {names[0]}{under} is given twice; give each MODEL, each "
                "format of --cache-dtype and each --engine once"
            )


def _unnamed(scenario: Scenario) -> Scenario:
    """The same question, however its format is spelled."""
    asked = scenario.cache_format
    tensors = tuple(sorted(asked.tensors, key=lambda pair: pair[0]))
    return replace(scenario, cache_format=asked._replace(name="", tensors=tensors), notes=())


def _varies(scenarios: Sequence[Scenario]) -> tuple[str, ...]:
    """Models, unless all are one. Their own formats may differ, which is not meant."""
    formats: dict[str, set[str]] = {}
    for scenario in scenarios:
        formats.setdefault(scenario.model.name, set()).add(scenario.cache_format.name)
    differs = {
        "format": any(len(names) > 1 for names in formats.values()),
        "engine": any(scenario.engine != scenarios[0].engine for scenario in scenarios),
    }
    several = tuple(name for name, differ in differs.items() if differ)
    if several and all(scenario.model == scenarios[0].model for scenario in scenarios):
        return several
    return ("model", *several)


def _named(scenarios: Sequence[Scenario]) -> Iterator[tuple[str, Scenario]]:
    """Each with what tells it apart from the others."""
    varies = _varies(scenarios)
    for scenario in scenarios:
        names = {"model": scenario.model.name, "format": scenario.cache_format.name}
        name = ", ".join(name for each, name in names.items() if each in varies)
        if "engine" in varies:
            name = f"{name} under {scenario.engine.label}" if name else scenario.engine.label
        yield name, scenario
