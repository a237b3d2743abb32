"""A deployment under SGLang: its pools, with what of them is not content, and what stands beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.content_counter import rows_bytes
from kvcalc.engines.load import Load
from kvcalc.engines.rotary import rotary_tables
from kvcalc.engines.sglang.absorbed import absorbed_projections
from kvcalc.engines.sglang.budget import budget_notes, budget_of
from kvcalc.engines.sglang.compressed import compresses
from kvcalc.engines.sglang.compressed_pools import is_reserved
from kvcalc.engines.sglang.drafting import copies_of_tables, draft_notes
from kvcalc.engines.sglang.hisparse_rows import hisparse_excess, hisparse_notes
from kvcalc.engines.sglang.layout import SglangLayout
from kvcalc.engines.sglang.model_types import type_notes
from kvcalc.engines.sglang.parked import parked
from kvcalc.engines.sglang.pools import Need, Pools
from kvcalc.engines.sglang.segments import rests_of_segments
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.budget import Budget
    from kvcalc.engines.content_counter import TensorRows
    from kvcalc.engines.parked import Parked
    from kvcalc.model.stages import Stage
    from kvcalc.note import Note

CONFIGURATOR = "sglang/srt/model_executor/pool_configurator.py"
POOL = "sglang/srt/mem_cache/memory_pool.py"


class SettledSglang(SglangLayout):
    """What each pool holds, row by row, and what stands beside them."""

    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:
        pools, need = self.pools_of(stage), self.need(load)
        sizes = pools.sizes(pools.memory(need))
        left = self.held_bytes(stage, load) - self.content_bytes(stage, load)
        for product in self._named_excess(stage, load, pools, need, sizes):
            if 0 < product.bytes <= left:
                left -= product.bytes
                yield product
        if left:
            source = f"{CONFIGURATOR}; {CONFIGURATOR.replace('model_executor/pool', 'mem_cache/kv_cache')}"
            yield Product("pools kept in their ratio", (Factor("unused", left, "byte"),), source)

    def _named_excess(self, stage: Stage, load: Load, pools: Pools, need: Need, sizes: Need) -> Iterator[Product]:
        if compresses(self.setup.model):
            yield from self._reserved(stage, load, pools)
            return
        if self.settings.hisparse is not None:
            yield from hisparse_excess(self, self.settings.hisparse, stage, load, sizes.tokens)
        else:
            yield from self._of_tokens(stage, load, need, sizes)
        row = int(pools.widths.padding_row)
        yield Product("padding page", (Factor("page", pools.page, "token"), Factor("row", row, "byte")), POOL)
        if pools.widths.state:
            state = Factor("state", pools.widths.state, "byte")
            spare = max(0, sizes.slots - load.sequences)
            yield Product("slots of states for equal prefixes", (Factor("slots", spare, "slot"), state), POOL)
            yield Product("padding slot of states", (Factor("slots", 1, "slot"), state), POOL)
            if (drafted := pools.copies) is not None:
                copies = drafted.of(sizes.slots) + (drafted.tokens if pools.padding_slot_charged else 0)
                yield Product("states of drafted tokens", (Factor("copies", copies, "copy"), state), POOL)

    def _of_tokens(self, stage: Stage, load: Load, need: Need, sizes: Need) -> Iterator[Product]:
        for each in self.grown_rows(stage):
            yield from self._beyond(stage, load, each, need, sizes)
        for extra in self.extras(stage):
            tokens = Factor("tokens", sizes.window_tokens if extra.window else sizes.tokens, "token")
            yield Product(extra.name, (tokens, Factor("row", extra.row, "byte")), POOL)

    def _reserved(self, stage: Stage, load: Load, pools: Pools) -> Iterator[Product]:
        """What is there for requests that do not run; of compressed attention."""
        rows = [each for each in self._content_rows(stage) if is_reserved(each, by_requests=pools.window_fixed)]
        unused = pools.widths.fixed - rows_bytes(tuple(rows), self.rank_load(stage, load))
        what = "rings and windows" if pools.window_fixed else "rings"
        yield Product(f"{what} of other requests", (Factor("reserved", max(0, unused), "byte"),), CONFIGURATOR)

    def _beyond(self, stage: Stage, load: Load, rows: TensorRows, need: Need, sizes: Need) -> Iterator[Product]:
        """What the rows of a tensor take of a pool beyond the content."""
        windows = self._in_windows(rows.layer)
        unused = (sizes.window_tokens if windows else sizes.tokens) - (
            rows_bytes((rows,), self.rank_load(stage, load)) // rows.row_bytes
        )
        if unused <= 0:
            return
        if windows:
            name, source = "pool of windows", CONFIGURATOR
        elif rows.layer.span is not None:
            name, source = "tokens outside the window", "sglang/srt/configs/model_config.py, is_hybrid_swa_model"
        elif sizes.tokens > need.tokens:
            name, source = "pool kept in its ratio", CONFIGURATOR
        else:
            name, source = "rounding to pages", POOL
            if load.shared_prefix and self.settings.disable_radix_cache:
                name += ", prefix of each sequence"
        label = f"{rows.layer.label}: {rows.tensor.name}, {name}"
        factors = (Factor("unused_tokens", unused, "token unused"), Factor("row", rows.row_bytes, "byte"))
        yield Product(label, factors, source)

    def weights_excess(self, stage: Stage) -> Iterator[Product]:
        source = "sglang/srt/layers/rotary_embedding.py: the cache is in fp32 on CUDA"
        model = self.setup.model
        most = model.max_context if model.has_towers else None  # vLLM alone has four times the positions for images
        yield from rotary_tables(model, stage, Factor("float32", 4, "byte"), source, most)
        if stage.layers.stop == model.num_layers:
            yield from copies_of_tables(self.setup)
        yield from absorbed_projections(self.setup, stage)
        yield from rests_of_segments(self.setup, stage)

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:  # noqa: ARG002  # the interface's
        return budget_of(self.setup, self.settings, self.pools_of(stage).uncharged)

    def parked(self, tokens: int) -> Parked | str:
        return parked(self, [self.pools_of(stage).widths for stage in self.stages], tokens)

    def notes(self, load: Load) -> Iterator[Note]:
        yield from super().notes(load)
        yield from type_notes(self.setup.model)
        yield from self.settings.notes(self.setup.gpu)
        if self.settings.hisparse is not None:
            yield from hisparse_notes(self, self.settings.hisparse, load)
        yield from draft_notes(self.setup, self.draft_pool)
        yield from budget_notes(self.setup, self.settings)
