"""Towers for images or sound among the parts of a model's weights, and where engines have them.

llama.cpp's file of a model has none: convert_hf_to_gguf.py writes the text model's tensors, and with --mmproj those of
the towers into a file of their own, in f16 or bf16, which llama-server loads where --mmproj (or -hf) gives it. Ollama's
files for its own engine have both, the tower in f16.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from kvcalc.model.model import Model, WeightPart

TITLE = "towers for images or sound"
"""What such parts are called, or how what they are called begins."""

TowersIn = Literal["the file", "a file of their own", "the file, in its dtype"]
"""Where an engine's towers are: with the other weights, apart and not loaded unless given, or with them in 16 bits."""


def is_tower(part: WeightPart) -> bool:
    """Whether a part of a list is of towers: only those are held whole by every rank, or have that title."""
    return part.split == "all" or part.part.startswith(TITLE)


def without_towers(parts: tuple[WeightPart, ...]) -> tuple[WeightPart, ...]:
    """The parts of the text model."""
    return tuple(part for part in parts if not is_tower(part))


def text_model(model: Model) -> Model:
    """The model without its towers."""
    parameters = None if model.parameters is None else model.parameters - (model.tower_parameters or 0)
    weights = without_towers(model.weights)
    return replace(model, modalities=("text",), parameters=parameters, tower_parameters=None, weights=weights)
