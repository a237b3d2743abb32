"""A model as llama.cpp lays it out: cells of every slot, reserved at the start."""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.llama_cpp.formats import WITHOUT_FLASH, flash_attention
from kvcalc.engines.llama_cpp.layers import shared_out
from kvcalc.engines.llama_cpp.ollama import cells_of_window
from kvcalc.engines.load import Load
from kvcalc.engines.placement import Placement
from kvcalc.engines.settled import Settled
from kvcalc.mechanisms import Compressed, Role
from kvcalc.model.layers import count_layers
from kvcalc.model.span import Window

if TYPE_CHECKING:
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.llama_cpp.builds import BuildRules
    from kvcalc.engines.llama_cpp.options import Settings
    from kvcalc.engines.setup import Setup
    from kvcalc.mechanisms import CachedTensor
    from kvcalc.model.layers import Layer
    from kvcalc.model.span import Span
    from kvcalc.model.stages import Stage

PAD = 256
"""Cells are a multiple of it (src/llama-context.cpp, n_ctx_seq; src/llama-kv-cache-iswa.cpp)."""


class Cells(NamedTuple):
    """The cells of a layer: `each` of them, of all slots together or of each."""

    each: int
    sets: int

    @property
    def all(self) -> int:
        return self.each * self.sets


class LlamaLayout(Settled):
    """Each slot has the cells of the whole context.

    Attributes:
        drops_windows: whether the model has windows that llama.cpp does not use.
        pools_keys: whether it has an indexer that pools its keys, and rows for each token here.
        draft: a model of its own that drafts tokens, with a context of its own on the same card.
    """

    def __init__(
        self,
        setup: Setup,
        settings: Settings,
        kept_in: CacheFormat,
        rules: BuildRules,
        *,
        drops_windows: bool = False,
        pools_keys: bool = False,
        draft: LlamaLayout | None = None,
    ) -> None:
        super().__init__(setup)
        self.drops_windows, self.pools_keys, self.draft = drops_windows, pools_keys, draft
        self.settings, self._format, self.rules = settings, kept_in, rules
        self.flash_attention = flash_attention(setup, settings, kept_in, rules)
        self.pad = PAD if self.flash_attention or settings.ollama_new_engine else rules.pad_without_flash
        self.stages  # noqa: B018  # refuses a card without layers at once

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Layers and the output head, which counts as one, are shared out over cards (layers.py).

        Raises:
            KvcalcError: a card would have no layer.
        """
        layout, gpu, pp = self.setup.model.layout, self.setup.gpu, self.setup.deployment.pp
        layers, first = len(layout.layers), self.first_on_card
        if pp == 1:
            lengths: tuple[int, ...] = (layers,)
        else:
            by_memory = tuple(Fraction(gpu.of_stage(stage).memory_bytes or 1) for stage in range(pp))
            lengths = shared_out(layers, first, self.settings.tensor_split or by_memory)
        unlike = tuple(gpu.of_stage(stage).name for stage in range(pp))
        stages = layout.split(lengths, unlike if len(set(unlike)) > 1 else None)
        if self.settings.no_kv_offload:
            return tuple(stage._replace(kinds={}) for stage in stages)
        if not first:
            return stages
        on_first = count_layers(layout.layers[first : lengths[0]])
        return tuple(stage._replace(kinds=on_first) if not stage.number else stage for stage in stages)

    @property
    def first_on_card(self) -> int:
        """The first layer that lies on a card (src/llama-model.cpp, i_gpu_start)."""
        layers, on_card = len(self.setup.model.layout.layers), self.settings.n_gpu_layers
        return 0 if on_card is None else min(layers, max(0, layers + 1 - on_card))

    @property
    def transposes_values(self) -> bool:
        """Whether V is kept transposed: without flash attention, unless llama.cpp turned that off itself.

        src/llama-model.cpp, create_memory (v_trans); src/llama-context.cpp, which asks the card only after it.
        """
        left_to_it = self.settings.flash_attn == "auto" and not self.rules.flash_asked
        return not (self.flash_attention or (left_to_it and self.setup.model.model_type not in WITHOUT_FLASH))

    @property
    def mask_bytes(self) -> int:
        """Of a mask's cell for each token: f16 for flash attention."""
        return 2 if self.flash_attention else 4

    @property
    def works_in_turn(self) -> bool:
        """Whether cards work on micro-batches in turn: all layers must lie on them (src/llama-context.cpp)."""
        settings = self.settings
        whole = not (self.first_on_card or settings.n_cpu_moe or settings.no_kv_offload)
        return whole and self.setup.deployment.pp > 1

    @property
    def placement(self) -> Placement:
        """Token embeddings stay with the host; a table that is the output head too has a copy on the last card."""
        model, settings = self.setup.model, self.settings
        head = settings.n_gpu_layers != 0
        both = bool(model.tie_word_embeddings) and self.setup.deployment.pp == 1
        return Placement(both and head, head, self.first_on_card, settings.n_cpu_moe)

    @property
    def reads_host_memory(self) -> bool:
        """Layers, their experts, the output head or the cache; of token embeddings a step reads a row."""
        experts = self.settings.n_cpu_moe and self.setup.model.is_mixture_of_experts
        return bool(self.first_on_card or experts or self.settings.no_kv_offload or not self.placement.head)

    @property
    def block_tokens(self) -> int:
        return self.pad

    @property
    def reserves_ahead(self) -> bool:
        return True

    @property
    def most_held(self) -> int:
        return self.rules.most_slots

    @property
    def cache_format(self) -> CacheFormat:
        return self._format

    def cells(self, span: Span | None, load: Load) -> Cells:
        """The cells of a layer with such a span."""
        unified = self.settings.kv_unified
        together = max(load.tokens, load.context if load.mixed else 0)
        whole = self._padded(together if unified else load.context)
        slots = load.sequences if unified else 1
        each = whole if span is None else min(whole, self._window_cells(span, slots, load.context))
        return Cells(each, 1 if unified else load.sequences)

    def cells_of(self, layer: Layer, tensor: CachedTensor, load: Load) -> Cells:
        """The cells of a tensor: of compressed attention each has its own, and each slot all of them."""
        if not isinstance(layer.attention, Compressed):
            return self.cells(layer.span, load)
        return Cells(self._cells_of_part(tensor, load), load.sequences)

    def _cells_of_part(self, tensor: CachedTensor, load: Load) -> int:
        """Of one slot, which also with kv-unified has the cells of all (src/llama-kv-cache-dsv4.cpp)."""
        if tensor.role is Role.STATE and tensor.last is not None:
            return tensor.last.value
        together = max(load.tokens, load.context if load.mixed else 0)
        whole = self._padded(together if self.settings.kv_unified else load.context)
        if tensor.last is not None:
            return min(whole, self._window_cells(Window(tensor.last.value), 1, load.context))
        return self._padded(-(-whole // tensor.tokens_per_row))

    def _padded(self, cells: int) -> int:
        return -(-cells // self.pad) * self.pad

    def _window_cells(self, span: Span, slots: int, context: int) -> int:
        """The most cells of a layer with a window, of so many slots."""
        cells: int | None = span.tokens * slots + self.settings.ubatch_size
        if self.settings.ollama_new_engine:
            model_type = self.setup.model.model_type
            cells = cells_of_window(span, model_type, slots, context, self.settings.ubatch_size)
        return 10**30 if cells is None or self.settings.swa_full else self._padded(cells)

    def step_tokens(self, load: Load) -> int:
        """Tokens of a micro-batch: no more than all cells."""
        cells = load.tokens if self.settings.kv_unified else load.sequences * load.context
        return min(self.settings.ubatch_size, cells or load.sequences)

    def states_bytes(self, stage: Stage, load: Load) -> int:
        """What of that are states, with their copies for drafted tokens."""
        rows = self._content_rows(stage)
        one = sum(each.row_bytes * each.constant_rows for each in rows if each.constant_rows is not None)
        waiting = (each for each in rows if each.constant_rows is None and each.tensor.role is Role.STATE)
        one += sum(each.row_bytes * self._cells_of_part(each.tensor, load) for each in waiting)
        return one * load.sequences * (1 + self.settings.state_copies)

    def beside_bytes(self, stage: Stage, whole: Load, tokens: int) -> int:
        """Slots are of one length, unless they share cells."""
        if not whole.sequences:
            return self.held_bytes(stage, Load(1, tokens))
        if self.settings.kv_unified:
            return super().beside_bytes(stage, whole, tokens)
        return self.held_bytes(stage, whole.and_one_more()) - self.held_bytes(stage, whole)
