"""What vLLM reserves beyond what layers hold: the null block, padding, rounding to blocks, tokens in flight."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvcalc.engines.content_counter import rows_bytes
from kvcalc.engines.vllm.cache.specs import INTERFACE
from kvcalc.engines.vllm.cache.state_spec import State
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.load import Load
    from kvcalc.engines.vllm.cache.placed import Kept
    from kvcalc.engines.vllm.cache.specs import Piece, Spec
    from kvcalc.engines.vllm.layout import VllmLayout
    from kvcalc.model.stages import Stage

PLANNER = "vllm/v1/core/kv_cache_utils.py"


def excess(layout: VllmLayout, stage: Stage, load: Load) -> Iterator[Product]:
    """Each excess of a rank's cache over its content, as a row with a name and a source."""
    blocks = layout.blocks_of(stage)
    if not blocks.bytes:
        return
    if layout.null_blocks:
        source = "vllm/v1/core/block_pool.py, BlockPool"
        yield Product("null block", (Factor("block", blocks.bytes, "byte"),), source)
    layers: Counter[tuple[Kept, int]] = Counter()
    padding: Counter[tuple[str, int]] = Counter()
    for group in blocks.groups:
        taken = layout.blocks_taken(group.group, load)
        padding[group.group.family, taken] += blocks.bytes - group.width
        for kept, count in group.layers.items():
            layers[kept, taken] += count
    for (family, taken), unused in padding.items():
        if unused and taken:
            factors = (Factor("blocks", taken, "block"), Factor("padding", unused, "byte"))
            yield Product(f"{family}: padding layers", factors, f"{PLANNER}, get_kv_cache_groups")
    for (kept, taken), count in layers.items():
        factor = Factor("layers", count, "layer")
        if not kept.drafts:
            yield from _beyond(layout, kept, factor, taken, load, stage)
        elif taken:
            pages = (factor, Factor("blocks", taken, "block"), Factor("page", kept.spec.page, "byte"))
            yield Product(f"{kept.layer.label}: layers that draft", pages, f"{PLANNER}, get_kv_cache_groups")


def _beyond(layout: VllmLayout, kept: Kept, layers: Factor, taken: int, load: Load, stage: Stage) -> Iterator[Product]:
    """What layers of a kind take of so many blocks beyond the content."""
    layer, spec, _ = kept
    once, each = layout.rank_load(stage, load), layout.rank_load(stage, load._replace(shared_prefix=0))
    rest = taken * spec.content_page - rows_bytes(spec.rows, once)
    if load.shared_prefix and not layout.shares_prefix(spec):
        again = rows_bytes(spec.rows, each) - rows_bytes(spec.rows, once)
        if again:
            rest -= again
            tokens = Factor("tokens", again // spec.row_bytes, "token again")
            row = Factor("row", spec.row_bytes, "byte")
            source = "vllm/v1/core/block_pool.py, BlockPool"
            yield Product(f"{layer.label}: prefix that is not shared", (layers, tokens, row), source)
    for piece in _pieces(layout, spec, load):
        number = min(piece.number, rest // piece.size if piece.size else 0)  # a prefix is shared
        if reserved := number * piece.size:
            rest -= reserved
            several = Factor(f"{piece.noun}s", number, piece.noun)
            size = Factor("size", piece.size, "byte")
            yield Product(f"{layer.label}: {piece.name}", (layers, several, size), piece.source)
    if rest:
        tokens = Factor("unused_tokens", rest // spec.row_bytes, "token unused")
        row = Factor("row", spec.row_bytes, "byte")
        source = f"{INTERFACE}, max_memory_usage_bytes"
        yield Product(f"{layer.label}: rounding to blocks", (layers, tokens, row), source)
    if taken and spec.page > spec.content_page:
        unused = Factor("padding", spec.page - spec.content_page, "byte")
        name = "state pages padded" if isinstance(spec, State) else "pages padded"
        source = f"{PLANNER}, unify_kv_cache_spec_page_size"
        yield Product(f"{layer.label}: {name}", (layers, Factor("blocks", taken, "block"), unused), source)


def _pieces(layout: VllmLayout, spec: Spec, load: Load) -> Iterator[Piece]:
    """What all sequences reserve in a layer beside rounding to blocks."""
    together: dict[Piece, int] = {}
    for sequences, context in load.alike:
        for piece in spec.pieces(layout.request(context)):
            kind = piece._replace(number=0)
            together[kind] = together.get(kind, 0) + sequences * piece.number
    yield from (piece._replace(number=number) for piece, number in together.items())
