"""What to know beside the figures of a result: of its model, its accelerator and its deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.mechanisms import Cross, Role
from kvcalc.memory import Fit, Ranks, split_blocks, weights_basis
from kvcalc.note import Note, note
from kvcalc.scenario import DEFAULT_DTYPE
from kvcalc.verbs.decode_bound import why_no_bound
from kvcalc.verbs.gpu_notes import gpu_notes
from kvcalc.verbs.mixed import mix_notes
from kvcalc.verbs.replica import bytes_without_windows, one_copy_content_bytes, replica_content_bytes, shares_nothing
from kvcalc.verbs.weight_notes import weight_notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.memory.weights import Basis
    from kvcalc.model.layers import Layer
    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.candidate import Candidate


_WEIGHTS_NOTE: dict[Basis, str] = {
    "by place": (
        "weights of a rank: layers are taken as equally large, experts are on the layers that have them, embeddings on "
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
        yield no_decode_bound(
            f"{shown.deployment} does not hold the workload (--spill keeps the rest of the cache in host memory)"
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
    if on_host := deployment.tp * sum(rank.stages_alike * rank.host_weights_bytes for rank in shown.ranks):
        yield note(
            "weights-on-host",
            f"{on_host:,} bytes of the weights are in host memory",
            bytes=on_host,
        )
    basis = weights_basis(scenario, deployment)
    whole = deployment.ranks == 1 and not ranks.settled(deployment).placement.first_layer
    if basis in _WEIGHTS_NOTE and shown.weights_known and not whole:
        yield note("weights-of-a-rank", _WEIGHTS_NOTE[basis], split=basis)
    yield from split_blocks(scenario, deployment)
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


def waiting(scenario: Scenario, most_at_once: int | None, sequences: int | None) -> Iterator[Note]:
    """Of more sequences than the engine runs at once, that some of them wait."""
    if most_at_once is not None and sequences is not None and sequences > most_at_once:
        yield note(
            "sequences-that-wait",
            f"{scenario.engine.name} runs at most {most_at_once:,} sequences at once on a replica, and {sequences:,} "
            "are held there: the others wait",
            at_once=most_at_once,
            held=sequences,
        )


def model_notes(scenario: Scenario, deployment: Deployment) -> Iterator[Note]:
    """What to know of the model at this context."""
    model, context = scenario.model, scenario.workload.context
    if model.dtype is None:
        yield note(
            "default-dtype", f"{scenario.origin} does not say its dtype: {DEFAULT_DTYPE} is taken", dtype=DEFAULT_DTYPE
        )
    if model.max_context is not None and context > model.max_context:
        yield context_above_max_context(context, model.max_context)
    yield from _prefix_notes(scenario, deployment)
    if not scenario.engine.plain:
        load = scenario.load_on(deployment)
        settled = Ranks(scenario).settled(deployment)
        given = scenario.replacements
        replaced = {
            code
            for code, size in (("engine-overhead-range", given.overhead), ("temporary-not-derived", given.temporary))
            if size is not None
        }
        yield from (each for each in settled.notes(load) if each.code not in replaced)
        yield from waiting(scenario, settled.most_at_once, load.sequences)
        return
    windowed = {layer: n for layer, n in model.distinct().items() if layer.limits(context)}
    if windowed:
        full = bytes_without_windows(scenario, deployment)
        names = [*dict.fromkeys(layer.span.name for layer in windowed if layer.span)]
        own, without = " or ".join(names), " or ".join(f"{name}s" for name in names)
        layers = sum(windowed.values())
        yield note(
            "windows-lower-bound",
            f"{layers} of {model.num_layers} layers keep only their {own}: a lower bound; engines "
            f"keep somewhat more, and an engine without {without} {full:,} bytes a replica",
            layers=layers,
            without_windows_bytes=full,
        )
    yield from _state_notes(model)


def _prefix_notes(scenario: Scenario, deployment: Deployment) -> Iterator[Note]:
    """That --shared-prefix changes nothing, however many sequences there are."""
    if scenario.shared_prefix and shares_nothing(scenario, deployment):
        text = "--shared-prefix: nothing of those tokens is kept once for all sequences here"
        yield note("unused-option", text, options=("--shared-prefix",))


def context_above_max_context(context: int, max_context: int) -> Note:
    """That the model was not made for so many tokens."""
    return note(
        "context-above-max-context",
        f"context {context:,} is above the model's max_context of {max_context:,}",
        context=context,
        max_context=max_context,
    )


def _state_notes(model: Model) -> Iterator[Note]:
    """What engines keep beside the states that are counted."""
    kinds = model.distinct()
    with_state = {layer: n for layer, n in kinds.items() if _keeps(layer, Role.STATE) or _keeps(layer, Role.CONV)}
    if with_state:
        layers = sum(with_state.values())
        yield note(
            "states-lower-bound",
            f"{layers} of {model.num_layers} layers keep a state of one size whatever the context: a "
            "lower bound; vLLM pads states to its pages and keeps two where prefixes are cached, transformers keeps "
            "conv_kernel inputs instead of conv_kernel - 1",
            layers=layers,
        )
    encoders = {layer.attention.encoder_context for layer in kinds if isinstance(layer.attention, Cross)}
    if encoders:
        tokens = " or ".join(f"{each:,}" for each in sorted(encoders))
        yield note(
            "encoder-context",
            f"each sequence is taken to have an encoder's {tokens} tokens, which engines may set aside in any case",
            encoder_context=tuple(sorted(encoders)),
        )


def _keeps(layer: Layer, role: Role) -> bool:
    """Whether it keeps a constant number of rows of that role."""
    return any(tensor.role is role and tensor.rows is not None for tensor in layer.attention.cached())
