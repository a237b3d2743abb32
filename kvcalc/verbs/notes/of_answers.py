"""What to know beside the figures of an estimate: what was assumed, and what its deployment brings with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.memory import Fit, Ranks, split_blocks, weights_basis
from kvcalc.note import Note, note
from kvcalc.verbs.bounds.decode import why_no_bound
from kvcalc.verbs.bounds.drafted import tokens_drafted
from kvcalc.verbs.notes.of_gpus import gpu_notes
from kvcalc.verbs.notes.of_models import model_notes
from kvcalc.verbs.notes.of_weights import weight_notes
from kvcalc.verbs.requests.mixed import mix_notes
from kvcalc.verbs.searching.replica import one_copy_content_bytes, replica_content_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.memory.weights import Basis
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.searching.candidate import Candidate


_WEIGHTS_NOTE: dict[Basis, str] = {
    "by place": (
        "weights of a rank: layers are assumed equally large, experts are on the layers that have them, embeddings on "
        "the first stage, the output head on the last"
    ),
    "by layers": "weights of a rank: each part evenly over the layers, experts over those that have them",
    "even": "weights of a rank: total / (tp x pp), since the sizes of the embedding, layers or experts are not known",
}
"""Of a deployment that does more than divide everything over tensor-parallel ranks."""


def notes(ranks: Ranks, asked: Candidate, found: Candidate | None) -> Iterator[Note]:
    """What was assumed, and what else to know.

    Args:
        ranks: of the scenario that is asked.
        asked: the deployment asked for, or a single rank.
        found: the smallest deployment, if there is one.
    """
    scenario = ranks.scenario
    yield from scenario.notes
    yield from mix_notes(scenario.workload)
    shown = asked if scenario.deployment is not None or found is None else found
    yield from model_notes(scenario, asked.deployment if scenario.engine.plain else shown.deployment)
    if not asked.weights_known:
        yield unknown_weights(scenario)
    yield from weight_notes(scenario)
    yield from gpu_notes(scenario)
    if asked.weights_known:
        yield from _bound_notes(scenario, shown)
    yield from _deployment_notes(ranks, shown)
    yield from each_card(scenario, shown)
    if found is None and asked.weights_known:
        yield no_legal_deployment(scenario)
    if asked.fit is Fit.NO and asked.weights_known and scenario.engine.options:
        from kvcalc.verbs.offload import EXPERTS, LAYERS, on_gpu, part_on_gpu  # of engines alone

        chosen = dict(scenario.engine.given).keys() & {LAYERS, EXPERTS}
        if LAYERS in scenario.engine.options and not chosen:
            yield from part_on_gpu(scenario, asked.deployment, on_gpu(scenario, asked.deployment))


def each_card(scenario: Scenario, shown: Candidate) -> Iterator[Note]:
    """What each of unlike cards holds of its own memory."""
    if scenario.gpu.number_together is None or not shown.weights_known:
        return
    cards = {number: rank for rank in shown.ranks for numbers in rank.numbers for number in numbers}
    held = [
        (scenario.gpu.of_stage(number).name, shown.bytes_of(cards[number]), cards[number].usable_bytes)
        for number in sorted(cards)
    ]
    told = "; ".join(f"{name} holds {size:,} of {usable:,} bytes" for name, size, usable in held)
    yield note("each-card", told, cards=tuple(name for name, _, _ in held), bytes=tuple(size for _, size, _ in held))


def can_decode(scenario: Scenario, shown: Candidate) -> bool:
    """Whether the deployment holds the workload, if need be with cache in host memory."""
    return scenario.spill or shown.fit is not Fit.NO


def _bound_notes(scenario: Scenario, shown: Candidate) -> Iterator[Note]:
    if missing := why_no_bound(scenario, shown.deployment):
        yield no_decode_bound(missing)
    elif not can_decode(scenario, shown):
        parks = any(rank.settled.parks_by_itself for rank in shown.ranks)
        spill = "" if parks else " (--spill keeps the rest of the cache in host memory)"
        yield no_decode_bound(f"{shown.deployment} does not hold the workload{spill}")
    else:
        yield from all_drafted_kept(scenario)


def all_drafted_kept(scenario: Scenario) -> Iterator[Note]:
    """That a bound takes all drafted tokens to be accepted, where nobody says how many are."""
    drafting, tokens = scenario.drafting, tokens_drafted(scenario)
    if drafting is not None and drafting.acceptance_length is None and tokens:
        yield note(
            "all-drafted-kept",
            f"the bound of decoding assumes that all drafted tokens are accepted: {tokens + 1:,} tokens a step, "
            "the most there can be (--acceptance-length X sets how many a step makes)",
            drafted=tokens,
        )


def no_decode_bound(reason: str) -> Note:
    """Why there is no bound of decoding."""
    return note("no-decode-bound", f"no bound of decoding: {reason}", reason=reason)


def no_legal_deployment(scenario: Scenario) -> Note:
    """That no number of GPUs holds the workload."""
    size, card = scenario.gpu.node_size, scenario.gpu.slice_of
    within = f"within nodes of {size}" if card is None else f"on slices of {card}"
    return note("no-legal-deployment", f"no legal deployment {within} holds this workload", gpus_per_node=size)


def unknown_weights(scenario: Scenario) -> Note:
    """What is missing where weights are not known, and how to give it."""
    return note(
        "weights-unknown",
        f"weights are not known: {scenario.origin} lacks 'parameters'; give --weights SIZE or --parameters N for the "
        "total and the GPU count",
        origin=scenario.origin,
    )


def _deployment_notes(ranks: Ranks, shown: Candidate) -> Iterator[Note]:
    scenario, deployment = ranks.scenario, shown.deployment
    copies = replica_content_bytes(scenario, deployment, ranks)
    one_copy = one_copy_content_bytes(scenario, deployment, ranks)
    if deployment.tp > 1 and copies > one_copy:
        held = "" if scenario.engine.plain else "its layers hold "  # and the engine reserves more
        yield note(
            "cache-copied",
            f"tp {deployment.tp} cannot divide all of the cache: {held}{copies:,} bytes a replica with its copies, "
            f"{one_copy:,} bytes without",
            tp=deployment.tp,
            bytes=copies,
            one_copy_bytes=one_copy,
        )
    if shown.fit is Fit.TIGHT:
        left = shown.least_headroom + shown.largest_rank.temporary.term.bytes
        yield note(
            "tight", f"tight: holds only while temporary memory stays within {left:,} bytes", temporary_bytes=left
        )
    if scenario.deployment is None and deployment.dp > 1:
        yield note(
            "several-replicas",
            f"no single replica holds the batch: {deployment.gpus:,} GPUs are {deployment.dp:,} replicas",
            gpus=deployment.gpus,
            dp=deployment.dp,
        )
    if on_host := deployment.tp * sum(rank.stages_alike * rank.own_weights.host_bytes for rank in shown.ranks):
        yield note(
            "weights-on-host",
            f"{on_host:,} bytes of the weights are in host memory",
            bytes=on_host,
        )
    basis = weights_basis(scenario, deployment)
    whole = deployment.ranks == 1 and not ranks.settled(deployment).placement.first_layer
    if basis in _WEIGHTS_NOTE and shown.weights_known and not whole:
        yield note("weights-of-a-rank", _WEIGHTS_NOTE[basis], split=basis)
    yield from split_blocks(scenario, deployment, ranks.settled(deployment))
    largest, fullest = shown.largest_rank, shown.fullest_rank
    most = shown.bytes_of(largest)
    if most > shown.bytes_of(fullest):
        yield note(
            "stage-with-most-memory",
            f"pipeline stage {largest.stage} has more memory in all, {most:,} bytes, than stage "
            f"{fullest.stage}, which has the most cache; whether it fits counts every stage",
            stage=largest.stage,
            bytes=most,
            stage_with_most_cache=fullest.stage,
        )
