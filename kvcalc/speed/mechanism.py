"""Which mechanisms have a speed that is measured here."""

from __future__ import annotations

from kvcalc.mechanisms import GQA, MHA, MLA, MQA

Measured = MHA | GQA | MQA | MLA
"""Those that the articles compare. Indexers, states and expanded latents have no path here."""


def why_not_measured(attention: object) -> str | None:
    """Why there is no path for a layer; None where there is one."""
    if not isinstance(attention, Measured):
        return "has no heads that read rows of every token, or keeps its latents expanded"
    if getattr(attention, "index_head_dim", None) is not None:
        return "reads rows that an indexer chooses, which no path here does"
    return None
