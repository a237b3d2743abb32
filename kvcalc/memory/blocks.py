"""Quantised weights whose rows tensor parallelism cuts within a block of elements that share a scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.memory.parts import placed_parts, whole_parts
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.engines import Settled
    from kvcalc.memory.parts import Part
    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario


def split_blocks(scenario: Scenario, deployment: Deployment, settled: Settled) -> Iterator[Note]:
    """A note for each part whose feed-forward rows ranks cut within blocks, unless the engine counts their padding."""
    for part in placed_parts(scenario) or whole_parts(scenario) or ():
        if part.split == "ep" and part.element_format is not None and settled.pads_experts(part.element_format.name):
            continue
        if part.block > 1 and part.split != "all" and part.heads is None and part.place in {"layers", None}:
            yield from _of_part(scenario, deployment, part)


def _rows(model: Model, part: Part) -> tuple[str, int | None]:
    """The rows of a part's feed-forward blocks: their width's name and value; None where it has no such blocks."""
    if part.split == "ep":
        return "moe_intermediate_size", model.moe_intermediate_size
    if not model.is_mixture_of_experts or model.first_k_dense:
        return "intermediate_size", model.intermediate_size
    return "moe_intermediate_size", model.moe_intermediate_size if model.num_shared_experts else None


def _of_part(scenario: Scenario, deployment: Deployment, part: Part) -> Iterator[Note]:
    name, width = _rows(scenario.model, part)
    ranks = deployment.expert_ranks // deployment.ep if part.split == "ep" else deployment.tp
    if width is None or ranks == 1 or width % (ranks * part.block) == 0:
        return
    each = f"{width // ranks:,}" if width % ranks == 0 else f"{width / ranks:,.1f}"
    yield note(
        "blocks-split",
        f"{ranks} ranks leave rows of {each} elements ({name} {width:,} / {ranks}) in '{part.term.path}', not whole "
        f"blocks of {part.block} that share a scale: engines pad them or refuse, and padding is not counted",
        part=part.term.path,
        ranks=ranks,
        width=width,
        block=part.block,
    )
