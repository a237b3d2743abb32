"""One model under each attention mechanism."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.catalogue.articles import articles
from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.note import Note, note
from kvcalc.verbs.bounds.decode import why_no_bound
from kvcalc.verbs.comparing.against_mha import mha_bytes, mha_note
from kvcalc.verbs.comparing.given_gpus import Grant, given_gpus, grant_of, refuse_what_no_row_can_have
from kvcalc.verbs.comparing.result import Comparison
from kvcalc.verbs.comparing.row import compared_row, why_not_kept
from kvcalc.verbs.comparing.row_notes import RowNotes, of_rows, row_left_out
from kvcalc.verbs.comparing.what_if import variants
from kvcalc.verbs.comparing.what_if_notes import dims_notes, same_weights
from kvcalc.verbs.notes.not_modelled import not_modelled
from kvcalc.verbs.notes.of_answers import no_decode_bound, unknown_weights
from kvcalc.verbs.notes.of_gpus import gpu_notes
from kvcalc.verbs.notes.of_models import model_notes
from kvcalc.verbs.notes.of_weights import weight_notes
from kvcalc.verbs.question import Accelerator, ModelSummary, Question, WorkloadSummary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.scenario import Scenario


def under_each_mechanism(scenario: Scenario) -> Comparison:
    """The rows of the mechanisms, the model as it is among them.

    Raises:
        KvcalcError: a format that the model's own cache cannot have; a deployment that no row can have.
    """
    model, noted = scenario.model, RowNotes()
    if (reason := why_not_kept(scenario)) is not None:
        raise KvcalcError(reason)
    grant = grant_of(scenario)
    with_mha = mha_bytes(scenario)
    rows = []
    for variant in variants(model):
        asked = replace(scenario, model=variant.model, weights_as=model)
        if (reason := why_not_kept(asked)) is not None:
            noted.add(variant.name, row_left_out(reason))
            continue
        rows.append(compared_row(variant.name, asked, grant, with_mha, noted.of_row(variant.name), own=variant.own))
    refuse_what_no_row_can_have(rows)
    noted_on = next(row.noted_on for row in rows if row.own)
    varied = any(not row.own for row in rows)
    said = articles() if varied else None
    alone = note(
        "no-other-mechanism",
        "no layer has heads that another mechanism would change: there is only the model as it is",
    )
    notes = (
        *scenario.notes,
        *(of_rows(each, (model.name,)) for each in model_notes(scenario, noted_on)),
        *weight_notes(scenario),
        *gpu_notes(scenario),
        *dims_notes(model),
        *_draft_notes(scenario),
        *(() if varied else (alone,)),
        *_weights_notes(scenario, grant, varied=varied, known=rows[0].by_memory is not None),
        *mha_note(scenario),
        *noted.notes(row.name for row in rows),
    )
    return Comparison(
        model=ModelSummary.of(model),
        workload=WorkloadSummary.of(scenario.workload),
        engine=scenario.engine.name,
        engine_version=scenario.engine.version,
        varies=("mechanism",),
        gpus=given_gpus(scenario, grant.at_most),
        rows=tuple(rows),
        sayings=said.sayings if said else (),
        contradictions=said.contradictions if said else (),
        not_modelled=(
            note(
                "mechanism-quality",
                "what another mechanism changes beside the cache: quality, and the weights of projections",
            ),
            *not_modelled(scenario, grant.deployment or Deployment()),
        ),
        notes=notes,
        question=Question.of(scenario, Accelerator.of(scenario)),
        scenario=scenario,
    )


def _draft_notes(scenario: Scenario) -> Iterator[Note]:
    """That what drafts stays as it is in every row."""
    if scenario.drafting is not None:
        name = scenario.drafting.model.name
        yield note("draft-unchanged", f"what drafts, {name}, keeps the same under every mechanism", draft=name)


def _weights_notes(scenario: Scenario, grant: Grant, *, varied: bool, known: bool) -> Iterator[Note]:
    """What needs the weights: the given GPUs, and the bound of decoding."""
    if not known:
        yield unknown_weights(scenario)
        return
    if varied:
        yield same_weights(scenario)
    if (missing := why_no_bound(scenario)) is not None:
        yield no_decode_bound(missing)
    if grant.own_smallest is not None:
        count = grant.own_smallest.deployment.gpus
        yield note(
            "given-gpus",
            f"the given GPUs are at most {count:,}, as in {scenario.model.name}'s smallest deployment "
            "(--gpus N sets them)",
            at_most=count,
        )
