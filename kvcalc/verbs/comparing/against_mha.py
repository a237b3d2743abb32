"""What a model would keep with multi-head attention, which `ratio_to_mha` is of, and why that is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.note import Note, note
from kvcalc.verbs.comparing.row import cache_bytes, why_not_kept
from kvcalc.verbs.comparing.what_if import as_mha, unchanged, with_unknown_heads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.scenario import Scenario


def mha_bytes(scenario: Scenario) -> int | None:
    """What the model would keep with multi-head attention; None where there is none, or the format cannot hold it."""
    model = as_mha(scenario.model)
    if model is None:
        return None
    mha = replace(scenario, model=model)
    return cache_bytes(mha) if why_not_kept(mha) is None else None


def mha_note(scenario: Scenario) -> Iterator[Note]:
    """Why that is not known, or what of it stays as it is."""
    model, kept = as_mha(scenario.model), unchanged(scenario.model)
    if layers := with_unknown_heads(scenario.model):
        yield _no_ratio(f": what {', '.join(layers)} would keep under another mechanism is not known")
    elif model is None:
        yield _no_ratio(": no layer has heads that multi-head attention would keep")
    elif (reason := why_not_kept(replace(scenario, model=model))) is not None:
        yield _no_ratio(f", for mha: {reason}")
    elif kept:
        yield note(
            "states-unchanged",
            f"states stay as they are under every mechanism, in mha too: {', '.join(kept)}",
            layers=tuple(kept),
        )


def _no_ratio(why: str) -> Note:
    return note("ratio-to-mha-unknown", f"ratio_to_mha is not known{why}", reason=why.lstrip(":, "))
