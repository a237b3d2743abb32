"""A deployment under llama.cpp: its layout, with what slots reserve, compute buffers, and what is to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.budget import Budget, Temporary
from kvcalc.engines.content_counter import Rate
from kvcalc.engines.llama_cpp.compute import SEEN, compute_buffer
from kvcalc.engines.llama_cpp.excess import excess
from kvcalc.engines.llama_cpp.layout import LlamaLayout
from kvcalc.engines.llama_cpp.notes import notes
from kvcalc.engines.llama_cpp.second_context import idle_cells, second_cache
from kvcalc.engines.load import Load
from kvcalc.mechanisms import Compressed, Role
from kvcalc.note import Note
from kvcalc.term import Factor, Product, Sum
from kvcalc.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.model.stages import Stage

MARGIN = 1024 * MIB
"""What fitting leaves free on a card (common/common.h, fit_params_target)."""

DRAFTING = "llama.cpp: the context of the layers that draft has a compute buffer of its own, no larger"
COMPUTE = "llama.cpp: each context has a compute buffer, kvcalc/engines/llama_cpp/compute.py"


class SettledLlama(LlamaLayout):
    """What each slot has the cells of, and what stands beside them."""

    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:
        return excess(self, stage, load)

    def drafting_bytes(self, stage: Stage, load: Load) -> int:
        """What of that is the cache of layers that draft."""
        drafting = second_cache(self, stage)
        return 0 if drafting is None else drafting.term(self.cells(None, load).all).bytes

    def rate(self, stage: Stage, load: Load) -> Rate:
        a_token = growing = own = state = 0
        for each in self._content_rows(stage):
            constant = each.constant_rows
            if isinstance(each.layer.attention, Compressed):
                if each.tensor.role is not Role.STATE:
                    cells = self._cells_of_part(each.tensor, Load(1, load.context))
                    a_token += -(-each.row_bytes // each.tensor.tokens_per_row)
                    own += each.row_bytes * cells
                    grown = each.row_bytes if each.tensor.last is None or cells >= load.context else 0
                    growing += -(-grown // each.tensor.tokens_per_row)
                    continue
                constant = self._cells_of_part(each.tensor, load)
            if constant is not None:
                state += each.row_bytes * constant * (1 + self.settings.state_copies)
                continue
            a_token += each.row_bytes
            span = each.layer.span
            most = None if span is None else self._window_cells(span, 1, load.context)
            if most is None or most > load.context:
                growing += each.row_bytes
            kept = load.context if most is None or span is None else min(load.context, most)
            if span is not None and self.settings.kv_unified and not self.settings.swa_full:
                kept = min(load.context, span.tokens)  # the micro-batch's cells are there once
            own += each.row_bytes * kept
        for beside in (idle_cells(self, stage), second_cache(self, stage)):
            if beside is not None:
                a_token, growing = a_token + beside.row_bytes, growing + beside.row_bytes
                own += beside.row_bytes * load.context
        found = Rate(a_token, growing, state, state + own, 0)
        return found if self.draft is None else found.plus(self.draft.rate(self.draft.stages[0], load))

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:  # noqa: ARG002  # the interface's
        left_free = Product("left free for other programs", (Factor("margin", MARGIN, "byte"),), "--fit-target: 1 GiB")
        return Budget(self.setup.gpu.of_stage(stage.number).memory_bytes, SEEN, Sum("overhead", ()), left_free)

    def temporary(self, stage: Stage, load: Load) -> Temporary | None:
        found = compute_buffer(self, stage, load)
        if found is not None and self.draft is not None:
            drafts = self.draft.temporary(self.draft.stages[0], load) or SEEN
            sizes = found.term.bytes, drafts.term.bytes
            told = "compute buffer + the draft's", f"{sizes[0]:,} + {sizes[1]:,}"
            whole = Product("temporary", (Factor("compute_buffers", sum(sizes), "byte", told),), COMPUTE)
            return Temporary(whole, found.low + drafts.low, found.high + drafts.high)
        if found is None or second_cache(self, stage) is None:
            return found
        size = Factor("compute_buffer", found.term.bytes, "byte")
        both = Product("temporary", (Factor("contexts", 2, "context"), size), DRAFTING)
        return Temporary(both, 2 * found.low, 2 * found.high)

    def notes(self, load: Load) -> Iterator[Note]:
        return notes(self, load)
