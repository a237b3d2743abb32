"""One row of a comparison: what a model keeps, how many GPUs it needs, and what it does on those that are given."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.engines import Load
from kvcalc.errors import KvcalcError
from kvcalc.legality import check_legal
from kvcalc.memory import Fit, Ranks
from kvcalc.note import Note, note
from kvcalc.scenario import cache_format
from kvcalc.term import leaves
from kvcalc.verbs.bounds.decode import DecodeBound, decode_bound, why_no_bound
from kvcalc.verbs.bounds.spill import spilled
from kvcalc.verbs.comparing.given_gpus import Grant
from kvcalc.verbs.comparing.result import ComparedRow, OnGivenGpus
from kvcalc.verbs.comparing.what_if import mechanism_of
from kvcalc.verbs.estimate_parts import gpus_by_memory
from kvcalc.verbs.notes.of_answers import all_drafted_kept, no_decode_bound, no_legal_deployment
from kvcalc.verbs.requests.mixed import on_average
from kvcalc.verbs.searching.candidate import Candidate, evaluate
from kvcalc.verbs.searching.capacity_search import least, replica_of, usual
from kvcalc.verbs.searching.deployment_search import best_of, smallest
from kvcalc.verbs.searching.replica import (
    content_of_a_token,
    content_of_draft,
    one_copy_content_bytes,
    replica_bytes,
    replica_cache,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario

    AddNote = Callable[[Note], None]


def why_not_kept(scenario: Scenario) -> str | None:
    """Why the cache's format cannot hold what this model keeps; None where it can."""
    asked, kept = scenario.cache_format, {tensor.name for tensor in scenario.model.cached_tensors}
    missing = [name for name, _ in asked.tensors if name not in kept]
    if missing:
        return f"cache format {asked.name} is for {', '.join(missing)}, which it does not keep"
    try:
        replica_cache(scenario, Deployment())
    except KvcalcError as error:
        return str(error)
    return None


def cache_bytes(scenario: Scenario) -> int:
    """The cache of the whole batch, in one copy: what requests that differ hold on average."""
    ranks = Ranks(scenario)
    return replica_cache(on_average(scenario, ranks.settled(Deployment())), Deployment(), ranks).bytes


def compared_row(
    name: str, scenario: Scenario, grant: Grant, mha_bytes: int | None, add_note: AddNote, *, own: bool
) -> ComparedRow:
    """The row of one model.

    Args:
        name: of the row.
        scenario: with the row's model, whose cache its format can hold.
        grant: the GPUs that are given.
        mha_bytes: what the model would keep with multi-head attention; None where that cannot be said.
        add_note: takes what is to be noted of this row.
        own: whether this is the model as it is.
    """
    model, workload = scenario.model, scenario.workload
    ranks = Ranks(scenario)
    token = content_of_a_token(ranks)
    held = on_average(scenario, ranks.settled(Deployment()))
    cache = replica_cache(held, Deployment(), ranks)
    rate = ranks.of(Deployment())[0].rate(workload.context)
    unsplit = evaluate(scenario, Deployment(), ranks)
    total = unsplit.total_bytes
    found = None
    if total is not None:
        found = grant.own_smallest if own and grant.own_smallest else smallest(scenario, ranks)
        if found is None:
            add_note(no_legal_deployment(scenario))
    deployment = found.deployment if found else None
    return ComparedRow(
        name=name,
        mechanism=mechanism_of(model),
        own=own,
        layers=tuple(f"{count} x {layer.label}" for layer, count in model.distinct().items()),
        cache_dtype=ranks.settled(Deployment()).cache_format.name,
        engine=scenario.engine.name,
        engine_version=scenario.engine.version,
        elements_per_token_per_layer=_elements(model),
        bytes_per_token=rate.bytes_per_token,
        state_bytes_per_sequence=rate.state_bytes_per_sequence,
        cache_bytes=cache.bytes,
        cache_peak_bytes=cache.bytes if held is scenario else replica_bytes(scenario, Deployment(), ranks),
        content_bytes=_by_formulas(held, ranks),
        saved_bytes=cache_bytes(_in_plain_formats(scenario)) - cache.bytes,
        lower_bound=ranks.settled(Deployment()).lower_bound(Load(1, workload.context)),
        mha_cache_bytes=mha_bytes,
        ratio_to_mha=float(Fraction(cache.bytes, mha_bytes)) if mha_bytes else None,
        unsplit_bytes=total,
        by_memory=None if total is None else gpus_by_memory(total, unsplit.largest_rank.usable_bytes),
        count=deployment.gpus if deployment else None,
        count_tight=found.fit is Fit.TIGHT if found else None,
        deployment=deployment,
        given=OnGivenGpus() if total is None else _on_given_gpus(ranks, grant, found, add_note, own=own),
        terms=leaves(cache),
        attentions=tuple(dict.fromkeys(layer.attention for layer in model.distinct())),
        token_tree=token,
        cache_tree=cache,
        scenario=scenario,
    )


def _by_formulas(scenario: Scenario, ranks: Ranks) -> int:
    """What the layers hold, with those of what drafts, which engines count as excess."""
    content = one_copy_content_bytes(scenario, Deployment(), ranks)
    return content if scenario.engine.plain else content + content_of_draft(scenario, Deployment())


def _in_plain_formats(scenario: Scenario) -> Scenario:
    """With each cache in its model's dtype of computing, that of what drafts too."""
    drafting = scenario.drafting
    if drafting is not None:
        drafting = replace(drafting, cache_format=_plain(drafting.model, drafting.cache_format))
    return replace(scenario, cache_format=_plain(scenario.model, scenario.cache_format), drafting=drafting)


def _plain(model: Model, kept: CacheFormat) -> CacheFormat:
    return cache_format(model, None)._replace(conv=kept.conv, state=kept.state)


def _elements(model: Model) -> int | None:
    kept = {elements for layer in model.distinct() if (elements := layer.attention.elements_per_token)}
    return kept.pop() if len(kept) == 1 else None


def _on_given_gpus(ranks: Ranks, grant: Grant, found: Candidate | None, add_note: AddNote, *, own: bool) -> OnGivenGpus:
    scenario = ranks.scenario
    try:
        candidate = found if own and grant.own_smallest else _candidate(ranks, grant)
    except KvcalcError as error:
        add_note(note("not-on-given-gpus", f"on the given GPUs: {error}", reason=str(error)))
        return OnGivenGpus()
    if candidate is None:
        return OnGivenGpus()
    deployment = candidate.deployment
    sequences = replica_of(scenario, deployment, usual, ranks).most_sequences(scenario.workload.lengths)
    if sequences is None:
        add_note(note("sequences-unbounded", "another sequence costs no memory: most_sequences is unbounded"))
    bound = _bound(ranks, candidate, add_note)
    return OnGivenGpus(
        gpus=deployment.gpus,
        deployment=deployment,
        fits=candidate.fit is Fit.FITS,
        tight=candidate.fit is Fit.TIGHT,
        most_sequences=None if sequences is None else deployment.dp * sequences,
        seconds_per_token=bound.seconds_per_token if bound else None,
        tokens_per_second_per_sequence=bound.tokens_per_second_per_sequence if bound else None,
        tokens_per_second=bound.tokens_per_second if bound else None,
        limited_by=bound.limited_by if bound else None,
        spilled_bytes=_spilled_bytes(ranks, candidate, add_note) if scenario.spill else None,
        most_when_tight=_most_when_tight(ranks, candidate),
    )


def _most_when_tight(ranks: Ranks, candidate: Candidate) -> int | None:
    scenario, deployment = ranks.scenario, candidate.deployment
    if candidate.fit is not Fit.TIGHT:
        return None
    most = replica_of(scenario, deployment, least, ranks).most_sequences(scenario.workload.lengths)
    return None if most is None else deployment.dp * most


def _candidate(ranks: Ranks, grant: Grant) -> Candidate | None:
    """The row's deployment on the given GPUs.

    Raises:
        KvcalcError: it cannot have the one that is given.
    """
    scenario = ranks.scenario
    if grant.deployment is not None:
        check_legal(grant.deployment, scenario.model)
        return evaluate(scenario, grant.deployment, ranks)
    return None if grant.at_most is None else best_of(scenario, grant.at_most, grant.dp, ranks)


def _spilled_bytes(ranks: Ranks, candidate: Candidate, add_note: AddNote) -> int | None:
    try:
        return spilled(ranks.scenario, candidate.deployment, ranks).bytes
    except KvcalcError as error:
        add_note(note("not-spilled", str(error)))
        return None


def _bound(ranks: Ranks, candidate: Candidate, add_note: AddNote) -> DecodeBound | None:
    scenario = ranks.scenario
    if why_no_bound(scenario) is not None:
        return None
    if candidate.fit is Fit.NO and not scenario.spill:
        add_note(
            note(
                "no-decode-bound",
                "the given GPUs do not hold the workload: no bound of decoding (--spill)",
                reason="the given GPUs do not hold the workload",
            )
        )
        return None
    try:
        if (missing := why_no_bound(scenario, candidate.deployment)) is not None:
            add_note(no_decode_bound(missing))
            return None
        for each in all_drafted_kept(scenario):
            add_note(each)
        return decode_bound(scenario, candidate.deployment, ranks)
    except KvcalcError:  # told of what is spilled
        return None
