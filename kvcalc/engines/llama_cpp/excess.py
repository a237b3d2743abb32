"""What llama.cpp reserves beyond what a model's layers hold: padding of cells, copies of states, caches that draft."""

from __future__ import annotations

from itertools import groupby
from math import prod
from typing import TYPE_CHECKING

from kvcalc.engines.content import contents
from kvcalc.engines.llama_cpp.second_context import idle_cells, second_cache
from kvcalc.engines.side_by_side import named_draft
from kvcalc.mechanisms import Role
from kvcalc.term import Factor, Product, leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.content import Content
    from kvcalc.engines.llama_cpp.layout import Cells, LlamaLayout
    from kvcalc.engines.load import Load
    from kvcalc.model.stages import Stage

_KV = "llama.cpp b11549, src/llama-kv-cache.cpp"
_SWA = "llama.cpp b11549, src/llama-kv-cache-iswa.cpp"
_WAITING = "llama.cpp b11549, src/llama-kv-cache-dsv4.cpp, llama_dsv4_comp_state: 1 + n_rs_seq times the rows"
_STATES = "llama.cpp b11549, src/llama-memory-recurrent.cpp: 1 + n_rs_seq rows of each slot"


def excess(layout: LlamaLayout, stage: Stage, load: Load) -> Iterator[Product]:
    """Each excess of a rank's cache over its content, as a row with a name and a source."""
    for (label, names), same in groupby(contents(layout.rank_load(stage, load)), key=_key):
        parts = list(same)
        content = parts[-1]
        several = (Factor("_and_".join(tensor.name for tensor in content.tensors), len(content.tensors)),)
        of_all = (*(several if len(content.tensors) > 1 else ()), Factor("layers", content.layers, "layer"))
        if content.tensors[0].rows is not None:
            if number := layout.settings.state_copies:
                what, noun = "copies for drafted tokens", "drafted token"
                if layout.settings.ollama_new_engine:
                    what, noun = "checkpoints", "checkpoint"
                copies = Factor(f"{noun.replace(' ', '_')}s", number, noun)
                yield Product(f"{label}: {names}, {what}", (*of_all, copies, *content.rows, *content.row), _STATES)
            continue
        cells = layout.cells_of(content.layer, content.tensors[0], load)
        held = sum(prod(factor.value for factor in part.rows) for part in parts)
        if unused := cells.all - held:
            spare = Factor("further_cells", unused, "cell")
            windowed = content.layer.span or (content.tensors[0].last and content.tensors[0].role is Role.CACHE)
            what = "cells of a micro-batch and padding" if windowed else "padding of cells"
            what = what if not load.shared_prefix else f"{what}, prefix of each slot"
            what = what if not load.mixed else f"{what}, every slot for the longest request"
            source = _SWA if windowed else _KV
            yield Product(f"{label}: {names}, {what}", (*of_all, spare, *content.row), source)
        if content.tensors[0].role is Role.STATE and (number := layout.settings.state_copies):
            copies = Factor("drafted_tokens", number, "drafted token")
            rows = Factor("cells", cells.all, "cell")
            yield Product(
                f"{label}: {names}, copies for drafted tokens", (*of_all, copies, rows, *content.row), _WAITING
            )
        yield from _as_wide_as_the_widest(layout, content, cells)
    if (idle := idle_cells(layout, stage)) is not None and load.sequences:
        yield idle.term(layout.cells(None, load).all)
    if (drafting := second_cache(layout, stage)) is not None and load.sequences:
        yield drafting.term(layout.cells(None, load).all)
    if layout.draft is not None:
        yield from map(named_draft, leaves(layout.draft.held(layout.draft.stages[0], load)))


def _as_wide_as_the_widest(layout: LlamaLayout, content: Content, cells: Cells) -> Iterator[Product]:
    """Where V is transposed, all layers have V as wide as the widest."""
    if not layout.transposes_values or content.tensors[-1].name != "v":
        return
    values = [tensor.row_elements for tensor in layout.setup.model.cached_tensors if tensor.name == "v"]
    if lacking := max(values) - content.tensors[-1].row_elements:
        yield Product(
            f"{content.layer.label}: v, as wide as the widest",
            (
                Factor("layers", content.layers, "layer"),
                Factor("cells", cells.all, "cell"),
                Factor("lacking_width", lacking, "element"),
                content.row[-1],
            ),
            f"{_KV}: n_embd_v_gqa_max",
        )


def _key(content: Content) -> tuple[str, str]:
    return content.layer.label, "+".join(tensor.name for tensor in content.tensors)
