"""Models of the catalogue that differ in what a test looks at."""

from __future__ import annotations

from collections.abc import Callable

import kvcalc
from kvcalc.catalogue import model_names


def distinct_names(of: Callable[[kvcalc.Model], object] = lambda model: (model.layers, model.dtype)) -> list[str]:
    """The first name of each: by default of those with the same layers, which keep the same cache."""
    first: dict[str, str] = {}
    for name in model_names():
        first.setdefault(repr(of(kvcalc.load_model(name))), name)
    return list(first.values())
