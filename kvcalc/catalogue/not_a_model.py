"""Names that are typed where a model is asked for, and are something else: an accelerator, an engine, a format."""

from __future__ import annotations

from kvcalc.catalogue.gpu_words import may_be
from kvcalc.catalogue.gpus import shipped_gpus
from kvcalc.catalogue.suggestions import step
from kvcalc.engines import ENGINES
from kvcalc.formats.element import FORMATS
from kvcalc.formats.weights import WEIGHT_ALIASES, WEIGHT_FORMATS


def not_a_model(text: str) -> tuple[str, ...] | None:
    """The lines that say so, the last of them a command that tells more; None of what may be a model's name."""
    name = text.strip().lower()
    shown = f"model: '{text.strip()[:100]}' is"
    engine = name.partition("@")[0]
    if engine in ENGINES:
        return (f"{shown} an engine; name a model, and the engine with --engine", *step(f"explain {engine}"))
    if name in FORMATS or name in WEIGHT_FORMATS or name in WEIGHT_ALIASES:
        said = "name a model, and the format with --cache-dtype or --weight-dtype"
        return (f"{shown} a format; {said}", *step(f"explain {name}"))
    cards = may_be(name, shipped_gpus())
    if cards:
        said = "name a model, and the accelerator with --gpu"
        return (f"{shown} an accelerator; {said}", *step(f"gpus show {cards[0].name}"))
    return None
