"""What an entry of the catalogue has, and which of it a model lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.model.model import Model

ALWAYS = ("hub_ids", "source", "hidden_size", "vocab_size", "max_context", "tie_word_embeddings", "parameters")
OF_EXPERTS = ("num_experts_per_tok", "moe_intermediate_size", "active_parameters")


def lacks(model: Model) -> tuple[str, ...]:
    """The keys that an entry has, and this model has not."""
    return tuple(key for key in _wanted(model) if getattr(model, key) in (None, ()))


def _wanted(model: Model) -> Iterator[str]:
    yield from ALWAYS
    yield from OF_EXPERTS if model.is_mixture_of_experts else ("intermediate_size",)
    if model.has_towers:
        yield "tower_parameters"
