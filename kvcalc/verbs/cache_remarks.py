"""What to say of a model's cache beside its bytes: what is left out of it, and what engines keep otherwise."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.formats.element import find_format
from kvcalc.mechanisms import Cross, Role
from kvcalc.scenario import DEFAULT_DTYPE, compute_format
from kvcalc.verbs.replica import replica_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.formats.element import ElementFormat
    from kvcalc.memory import Ranks
    from kvcalc.model.layers import Layer
    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario


def cache_not_modelled(scenario: Scenario) -> Iterator[str]:
    """What is left out of the cache."""
    model = scenario.model
    computing, formats = bits(compute_format(model)), scenario.cache_format
    kept = [(layer, tensor) for layer in model.distinct() for tensor in layer.attention.cached()]
    if any(bits(formats.of(layer, tensor)) < computing for layer, tensor in kept if tensor.role is Role.CACHE):
        yield f"quality loss of a cache kept in {formats.name}"
    if any(
        bits(formats.of(layer, tensor)) < bits(find_format("fp32", "state"))
        for layer, tensor in kept
        if tensor.role is Role.STATE
    ):
        yield "quality loss of states kept in less than fp32"
    if any(layer.attention.positions_read for layer in model.distinct()):
        yield "what an indexer computes to choose positions"
    yield "rounding to blocks, fragmentation, and prefix caching's blocks that can be evicted"


def model_notes(scenario: Scenario, deployment: Deployment, ranks: Ranks | None = None) -> Iterator[str]:
    """What to know of the model at this context."""
    model, context = scenario.model, scenario.workload.context
    if model.dtype is None:
        yield f"{scenario.origin} does not say its dtype: {DEFAULT_DTYPE} is taken"
    if model.max_context is not None and context > model.max_context:
        yield f"context {context:,} is above the model's max_context of {model.max_context:,}"
    windowed = {layer: n for layer, n in model.distinct().items() if layer.limits(context)}
    if windowed:
        full = replica_bytes(scenario, deployment, ranks, windows=False)
        names = [*dict.fromkeys(layer.span.name for layer in windowed if layer.span)]
        own, without = " or ".join(names), " or ".join(f"{name}s" for name in names)
        yield (
            f"{sum(windowed.values())} of {model.num_layers} layers keep only their {own}: a lower bound; engines "
            f"keep somewhat more, and an engine without {without} {full:,} bytes a replica"
        )
    yield from _state_notes(model)


def _state_notes(model: Model) -> Iterator[str]:
    """What engines keep beside the states that are counted."""
    kinds = model.distinct()
    with_state = {layer: n for layer, n in kinds.items() if _keeps(layer, Role.STATE) or _keeps(layer, Role.CONV)}
    if with_state:
        yield (
            f"{sum(with_state.values())} of {model.num_layers} layers keep a state of one size whatever the context: a "
            "lower bound; vLLM pads states to its pages and keeps two where prefixes are cached, transformers keeps "
            "conv_kernel inputs instead of conv_kernel - 1"
        )
    encoders = {layer.attention.encoder_context for layer in kinds if isinstance(layer.attention, Cross)}
    if encoders:
        tokens = " or ".join(f"{each:,}" for each in sorted(encoders))
        yield f"each sequence is taken to have an encoder's {tokens} tokens, which engines may set aside in any case"


def _keeps(layer: Layer, role: Role) -> bool:
    return any(tensor.role is role for tensor in layer.attention.cached())


def bits(element_format: ElementFormat) -> Fraction:
    """Of an element, a block's scales included."""
    return Fraction(8 * element_format.block_bytes, element_format.block_elems)
