"""A model's parts as files of llama.cpp have them: tables in blocks of their own, and rows that blocks do not fill.

K and IQ blocks hold 256 elements of a row. A matrix whose rows they do not fill is in blocks of 32 instead
(llama-quant.cpp, tensor_type_fallback): of Qwen2.5-72B's the down-projections, whose rows have 29,568; of Gemma 3 1B's
all but these, since its hidden size is 1,152.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.formats.file_types import EVEN, rows_of, table_in, tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.model.model import Model, WeightPart

EXPERTS_STAY = "mxfp4"
"""Experts that are published in it (gpt-oss) stay in it whatever the file type, as unsloth's files have them."""
DOWN = "{}: down-projections"


def in_file(model: Model, parts: tuple[WeightPart, ...], asked: str) -> Iterator[WeightPart]:
    """The parts in a file of a type: those that have the type's format."""
    tables = tables_of(asked)
    tied = not any(part.place == "head" for part in parts)
    dense = [part for part in parts if (part.split, part.place, part.format) == ("tp", "layers", asked)]
    home = max(dense, key=lambda part: part.parameters, default=None)
    for part in parts:
        if _stay(model, part):
            yield replace(part, format=EXPERTS_STAY)
        elif tables is None or part.format != asked:
            yield part
        elif part.split == "ep" and tables.experts is not None:
            yield replace(part, format=tables.experts)
        elif part.place == "layers":
            yield from _of_layers(model, part, tables.layers, is_home=part is home)
        else:
            is_head = part.place == "head" or (tied and part.part == "embedding")
            width = None if part.ngrams else model.hidden_size
            yield replace(part, format=table_in(tables, width, is_head=is_head))


def _of_layers(model: Model, part: WeightPart, stored: str, *, is_home: bool) -> Iterator[WeightPart]:
    """A part of the layers, with down-projections apart where some rows are such that blocks do not fill them."""
    width, down = _experts(model, part) if part.split == "ep" else _dense(model) if is_home else (None, 0)
    uneven_down, uneven = bool((width or EVEN) % EVEN), bool((model.hidden_size or EVEN) % EVEN)
    if not (uneven or uneven_down):
        yield replace(part, format=stored)
        return
    down = min(down, part.parameters)
    if down:
        form = rows_of(stored, down=True, uneven=uneven_down, attention=False)
        yield replace(part, part=DOWN.format(part.part), parameters=down, format=form, projections=False)
    if down < part.parameters:
        form = rows_of(stored, down=False, uneven=uneven, attention=part.split != "ep")
        yield replace(part, parameters=part.parameters - down, format=form)


def _stay(model: Model, part: WeightPart) -> bool:
    """Whether llama.cpp's files leave what the checkpoint has in blocks of 32 already, as gpt-oss's experts."""
    return part.split == "ep" and any(each.split == "ep" and each.format == EXPERTS_STAY for each in model.weights)


def _experts(model: Model, part: WeightPart) -> tuple[int | None, int]:
    """The width of experts, and their down-projections' parameters: of three matrices, or without gates of two."""
    experts, width, hidden = model.num_experts, model.moe_intermediate_size, model.hidden_size
    if experts is None or width is None or hidden is None:
        return None, 0
    matrices = part.parameters // (experts * width * hidden)
    return width, part.parameters // (3 if matrices % 3 == 0 or matrices % 2 else 2)


def _dense(model: Model) -> tuple[int | None, int]:
    """The width of feed-forward blocks that are not of routed experts, and their down-projections' parameters."""
    hidden = model.hidden_size or 0
    if not model.is_mixture_of_experts:
        width = model.intermediate_size or 4 * hidden
        return width, model.num_layers * width * hidden
    shared = (model.num_shared_experts or 0) * (model.moe_intermediate_size or 0)
    return shared or None, (model.num_layers - model.first_with_experts) * shared * hidden
