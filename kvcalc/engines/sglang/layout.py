"""A model as SGLang lays it out: pools on every rank, and pages of them for each sequence."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from kvcalc.engines.budget import Pool
from kvcalc.engines.content_counter import Rate
from kvcalc.engines.load import Alike, Load
from kvcalc.engines.sglang.capped_windows import capped, holds_by_requests
from kvcalc.engines.sglang.compressed import compresses
from kvcalc.engines.sglang.compressed_pools import compressed_widths
from kvcalc.engines.sglang.pools import Copies, Need, Pools, Widths
from kvcalc.engines.sglang.rows import SglangRows
from kvcalc.engines.sglang.served import has_states
from kvcalc.engines.sglang.state_slots import slots_of_a_sequence
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Compressed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.engines.rank_load import RankLoad
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.sglang.settings import Settings
    from kvcalc.model.stages import Stage

POOL_CONFIGURATOR = (0, 5, 11)
"""Since then the budget is divided by the bytes of both pools at once."""
PADDING_SLOT_CHARGED = (0, 5, 17)
MOST_REQUESTS = 4096
"""resolve_max_num_reqs, where max-running-requests is not given."""


class SglangLayout(SglangRows):
    """Sequences take pages of pools whose sizes stand in a ratio, whatever is asked of each."""

    def __init__(self, setup: Setup, settings: Settings) -> None:
        super().__init__(setup, settings)
        self._pools: dict[int, Pools] = {}

    @property
    def block_tokens(self) -> int:
        return max(self.pools_of(stage).block_tokens for stage in self.stages)

    @property
    def most_at_once(self) -> int:
        return self.settings.max_running_requests or MOST_REQUESTS

    @property
    def most_held(self) -> int | None:
        """Rings, and a pool of windows that is sized by requests, are there for so many, whatever the pools hold."""
        reserved = compresses(self.setup.model) or holds_by_requests(self.setup.model, self.settings)
        return self.settings.max_running_requests if reserved else None

    @property
    def parks_by_itself(self) -> bool:
        """HiSparse does so."""
        return self.settings.hisparse is not None

    def pools_of(self, stage: Stage) -> Pools:
        """The pools of a rank of a stage."""
        known = self._pools.get(stage.number)
        if known is None:
            settings = self.settings
            known = self._pools[stage.number] = Pools(
                self._widths(stage)._replace(state=self._most_state),
                settings.page_size,
                settings.swa_full_tokens_ratio,
                settings.mamba_full_memory_ratio,
                self._stated_slots,
                settings.version >= PADDING_SLOT_CHARGED,
                settings.max_total_tokens,
                settings.version < POOL_CONFIGURATOR,
                self._copies,
            )
        return known

    @property
    def _copies(self) -> Copies | None:
        """Of states, for tokens that are drafted; --speculative-eagle-topk is 1."""
        draft, requests = self.setup.draft, self.settings.max_running_requests
        if draft is None or draft.drafted is None or requests is None:
            return None
        return Copies(draft.drafted + 1, requests, self.slots_of_a_sequence)

    @property
    def _stated_slots(self) -> int | None:
        settings = self.settings
        if settings.max_mamba_cache_size is not None:
            dp = self.setup.deployment.dp if self.setup.deployment.dp_attention else 1
            return max(1, settings.max_mamba_cache_size // dp)
        return settings.max_running_requests if settings.disable_radix_cache else None

    @cached_property
    def _most_state(self) -> int:
        """Bytes of a slot. All stages have as many slots as the one with the most layers of states needs."""
        return max(self._state(each) for each in self.stages)

    def _state(self, stage: Stage) -> int:
        return sum(each.row_bytes * each.constant_rows for each in self._content_rows(stage) if each.constant_rows)

    def _widths(self, stage: Stage) -> Widths:
        if compresses(self.setup.model):
            return compressed_widths(self._content_rows(stage), self.settings, self.cache_format)
        full = window = 0
        for each in self._content_rows(stage):
            if each.constant_rows is None:
                full += 0 if self._in_windows(each.layer) else each.row_bytes
                window += each.row_bytes if self._in_windows(each.layer) else 0
        for extra in self.extras(stage):
            full += 0 if extra.window else extra.row
            window += extra.row if extra.window else 0
        hisparse = self.settings.hisparse
        if hisparse is None:
            if self.setup.draft is not None and window and holds_by_requests(self.setup.model, self.settings):
                raise KvcalcError(
                    "--engine-option disable-radix-cache: kvcalc does not follow how sglang then sizes the pool of "
                    "windows beside a draft; leave it out"
                )
            return capped(Widths(full, window), self.setup.model, self.settings)
        unused = sum(extra.row for extra in self.extras(stage))  # indexers' keys: all layers have them
        beside = (hisparse.host_to_device_ratio - 1) * (self.index_row(stage) + unused)
        return Widths(full + beside, window, beside=beside)

    def rank_load(self, stage: Stage, load: Load, *, read: bool = False) -> RankLoad:
        found = super().rank_load(stage, load, read=read)
        hisparse = self.settings.hisparse
        return found if hisparse is None else found._replace(hot=hisparse.device_buffer_size)

    @property
    def slots_of_a_sequence(self) -> int:
        """Slots of states that it needs."""
        return slots_of_a_sequence(self.setup, self.settings)

    def need(self, load: Load) -> Need:
        """What a load takes of the pools."""
        page, hisparse = self.settings.page_size, self.settings.hisparse
        if hisparse is not None:
            return Need(hisparse.tokens(load.alike, page))
        kinds = self.setup.model.layout.kinds
        kept = max((layer.span.tokens for layer in kinds if layer.span is not None), default=0)
        kept = max(
            kept, *(each.attention.sliding_window for each in kinds if isinstance(each.attention, Compressed)), 0
        )
        own = windows = shared = 0
        for sequences, context in load.alike:
            pages, shared = self._pages(load._replace(context=context))
            own += sequences * pages
            windows += sequences * -(-min(context, kept + page) // page)
        return Need(
            (own + shared * load.prefixes_kept) * page,
            windows * page if self.settings.window_pool else 0,
            load.sequences * self.slots_of_a_sequence,
        )

    def _pages(self, load: Load) -> tuple[int, int]:
        """Pages that each sequence takes, and those that all share."""
        whole = -(-load.context // self.settings.page_size)
        if not load.shared_prefix or self.settings.disable_radix_cache:
            return whole, 0
        shared = load.shared_prefix // self.settings.page_size
        return max(whole - shared, min(shared, 1)), shared

    def held_bytes(self, stage: Stage, load: Load) -> int:
        pools = self.pools_of(stage)
        return pools.memory(self.need(load)) + pools.uncharged

    def beside_bytes(self, stage: Stage, whole: Load, tokens: int) -> int:
        if not whole.sequences:
            return self.held_bytes(stage, Load(1, tokens))
        if self.settings.hisparse is not None:
            mixed = (*whole.alike, Alike(1, tokens))
            together = whole._replace(sequences=whole.sequences + 1, mixed=mixed)
            return self.held_bytes(stage, together) - self.held_bytes(stage, whole)
        pools, beside = self.pools_of(stage), self.need(Load(1, tokens, min(whole.shared_prefix, tokens)))
        prefix = self._pages(Load(1, tokens, min(whole.shared_prefix, tokens)))[1] * self.settings.page_size
        before = self.need(whole)
        both = Need(
            before.tokens + beside.tokens - prefix,
            before.window_tokens + beside.window_tokens,
            before.slots + beside.slots,
        )
        return pools.memory(both) - pools.memory(before)

    def rate(self, stage: Stage, load: Load) -> Rate:
        pools = self.pools_of(stage)
        own, shared = self._pages(load)
        page, one, none = self.settings.page_size, self.need(Load(1, load.context)), Load(1, 0)
        return Rate(
            bytes_per_token=self._growth(pools, Load(1, 0)),
            bytes_per_token_at_context=self._growth(pools, Load(1, load.context)),
            state_bytes_per_sequence=pools.memory(self.need(Load(2, 0))) - pools.memory(self.need(none)),
            bytes_per_sequence=self._another(pools, one._replace(tokens=self._tokens_of_another(load, own))),
            shared_bytes=int(shared * page * pools.cell),
        )

    def _tokens_of_another(self, load: Load, pages: int) -> int:
        """Tokens of the pool on the device that another sequence takes, of so many pages of its own."""
        page, hisparse = self.settings.page_size, self.settings.hisparse
        if hisparse is None:
            return pages * page
        return max(hisparse.hot(load.context, page), -(-pages * page // hisparse.host_to_device_ratio))

    def _another(self, pools: Pools, need: Need) -> int:
        """What another sequence with such a need adds."""
        twice = Need(*(2 * each for each in need))
        return pools.memory(twice) - pools.memory(need)

    def _growth(self, pools: Pools, load: Load) -> int:
        """What a token adds, spread over those that memory is rounded to."""
        block = pools.block_tokens
        start = -(-load.context // block) * block
        more = pools.memory(self.need(Load(1, start + block))) - pools.memory(self.need(Load(1, start)))
        return -(-more // block)

    def taken_bytes(self, stage: Stage, memory: int) -> int:
        """Less where max-total-tokens limits the pools."""
        return self.pools_of(stage).taken(memory)

    def pool(self, memory: Sequence[int], load: Load) -> Pool | None:
        found = []
        for stage, each in zip(self.stages, memory, strict=True):
            pools = self.pools_of(stage)
            if pools.cell:
                found.append(pools.sizes(max(0, each - pools.uncharged)))
        if not found:
            return None
        sizes, page = min(found), self.settings.page_size
        concurrency = sizes.tokens / load.context if load.context else 0.0
        if self.settings.hisparse is not None and load.context:
            concurrency = self.settings.hisparse.concurrency(sizes.tokens, load.context, page)
        windows = sizes.window_tokens if self.settings.window_pool else None
        slots = sizes.slots if has_states(self.setup.model) else None
        return Pool(sizes.tokens // page, page, sizes.tokens, float(f"{concurrency:.2f}"), windows, slots)
