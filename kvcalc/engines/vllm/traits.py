"""What vLLM asks of a model before it decides anything: does it have experts, states, windows, a latent."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.formats.weights import find_weight_format
from kvcalc.mechanisms import KDA, MLA, GatedDeltaNet
from kvcalc.model.span import Window

if TYPE_CHECKING:
    from kvcalc.formats.element import ElementFormat
    from kvcalc.model.model import Model

UNQUANTISED = ("bf16", "fp16", "fp32")


class Traits(NamedTuple):
    """Of a model and the format that its weights are in.

    Attributes:
        experts: whether a layer has a mixture of experts.
        states: whether a layer keeps a state of constant size (Mamba and its like).
        attention: whether a layer keeps keys and values.
        latent: whether a layer is multi-head latent attention.
        windows: whether a layer has a sliding window.
        gated_delta: whether a layer is a gated delta net, whose kernels use TMA.
        towers: whether it takes more than text.
        weight_formats: of its weights: the format asked for, else the checkpoint's, the one with most bytes first.
    """

    experts: bool
    states: bool
    attention: bool
    latent: bool
    windows: bool
    gated_delta: bool
    towers: bool
    weight_formats: tuple[str, ...]

    @property
    def quantised(self) -> bool:
        return any(name not in UNQUANTISED for name in self.weight_formats)

    @property
    def hybrid(self) -> bool:
        """Attention and states, in one layer or in different ones (ModelConfig.is_hybrid)."""
        return self.states and self.attention


@lru_cache(maxsize=64)  # searches ask on thousands of deployments of one model
def traits_of(model: Model, weight_format: ElementFormat | None) -> Traits:
    """The traits of a model with its weights in a format, or as its file has them."""
    kinds = [layer for layer in model.distinct() if layer.attention.cached()]
    states = [any(tensor.rows is not None for tensor in layer.attention.cached()) for layer in kinds]
    return Traits(
        experts=model.is_mixture_of_experts,
        states=any(state and layer.attention.kind != "cross" for state, layer in zip(states, kinds, strict=True)),
        attention=not all(states),
        latent=any(isinstance(layer.attention, MLA) for layer in kinds),
        windows=model.unreached_window is not None or any(isinstance(layer.span, Window) for layer in kinds),
        gated_delta=any(isinstance(layer.attention, GatedDeltaNet | KDA) for layer in kinds),
        towers=model.has_towers,
        weight_formats=_weight_formats(model, weight_format),
    )


def _weight_formats(model: Model, weight_format: ElementFormat | None) -> tuple[str, ...]:
    if weight_format is not None:
        return (weight_format.name,)
    if model.weights:
        sizes: dict[str, int] = {}
        for part in model.weights:
            if part.split != "all" and not part.scales:
                name = find_weight_format(part.format, "format").name
                sizes[name] = sizes.get(name, 0) + part.size
        return tuple(sorted(sizes, key=lambda name: -sizes[name]))
    return (find_weight_format(model.weight_dtype or model.dtype or "bf16", "weight_dtype").name,)
