"""What to know of a model at a context: what is taken for granted, and what engines keep beside what is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.mechanisms import Cross, Role
from kvcalc.memory import Ranks
from kvcalc.note import Note, note
from kvcalc.scenario import DEFAULT_DTYPE
from kvcalc.verbs.searching.replica import bytes_without_windows, shares_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.model.layers import Layer
    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario


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
            "default-dtype", f"{scenario.origin} does not say its dtype: {DEFAULT_DTYPE} is used", dtype=DEFAULT_DTYPE
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
            f"each sequence is assumed to have an encoder's {tokens} tokens, which engines may set aside in any case",
            encoder_context=tuple(sorted(encoders)),
        )


def _keeps(layer: Layer, role: Role) -> bool:
    """Whether it keeps a constant number of rows of that role."""
    return any(tensor.role is role and tensor.rows is not None for tensor in layer.attention.cached())
