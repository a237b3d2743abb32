"""A model as vLLM lays it out: groups over the whole model, and one pool of blocks on every rank."""

from __future__ import annotations

from functools import cached_property
from math import lcm
from typing import TYPE_CHECKING

from kvcalc.engines.budget import Pool
from kvcalc.engines.content_counter import ContentCounter, Rate
from kvcalc.engines.load import Load
from kvcalc.engines.settled import Settled
from kvcalc.engines.setup import Setup
from kvcalc.engines.vllm.cache.groups import HYBRID_MANAGER, Group
from kvcalc.engines.vllm.cache.padded import PACKED, UNPADDED, padded_block_bytes
from kvcalc.engines.vllm.cache.placing import groups_on
from kvcalc.engines.vllm.cache.rank import rank_of, with_draft
from kvcalc.engines.vllm.cache.shared_entries import check_sources
from kvcalc.engines.vllm.cache.span_specs import ChunkedLocal, SlidingWindow
from kvcalc.engines.vllm.cache.specs import FullAttention, Request
from kvcalc.engines.vllm.cache.stage_blocks import StageBlocks, StageGroup
from kvcalc.engines.vllm.cache.state_spec import State
from kvcalc.engines.vllm.formats import kept_format
from kvcalc.engines.vllm.token_sharing import IN_TURN
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Compressed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.rank_load import RankLoad
    from kvcalc.engines.vllm.cache.specs import Spec
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.model.stages import Stage


TOKENS_FROM_CONCURRENCY = (0, 20, 1)
"""The first version that prints int(concurrency x max_model_len), and not the tokens of its blocks."""


def pp_lengths(layers: int, pp: int) -> tuple[int, ...]:
    """Layers of each stage: what does not divide goes to the stages before the last, one each, backwards.

    vllm/distributed/utils.py, get_pp_indices.
    """
    size, longer = divmod(layers, pp)
    return tuple(size + (pp - 1 - longer <= stage < pp - 1) for stage in range(pp))


class VllmLayout(Settled):
    """Every sequence takes whole blocks of each group, and a block takes as much as the widest group needs."""

    def __init__(self, setup: Setup, settings: Settings) -> None:
        super().__init__(setup)
        self.settings = settings
        kept_in = self.cache_format
        counter = setup.counter if kept_in == setup.cache_format else ContentCounter(kept_in)
        rank = rank_of(setup.model, setup.deployment.tp, counter, settings, setup.gpu)
        if setup.draft is not None:
            kept = ContentCounter(kept_format(setup.draft, settings.version))
            rank = with_draft(rank, setup.draft, kept)
        self.groups = groups_on(rank)
        self._blocks: dict[int, StageBlocks] = {}
        self._check_stages()

    def _check_stages(self) -> None:
        """Blocks beside states are as long as attention's backend needs them, which each stage asks for itself.

        Raises:
            KvcalcError: a stage has states and no attention.
        """
        if self.setup.deployment.pp > 1:
            check_sources(self.setup.model, self._lengths)
        if (
            self.setup.deployment.pp == 1
            or len({isinstance(spec, State) for each in self.groups for spec in each.specs}) == 1
        ):
            return
        for stage in self.stages:
            kinds = [layer.attention for layer in stage.kinds]
            if not any(each.elements_per_token for each in kinds):
                raise KvcalcError(
                    f"--pp: pipeline stage {stage.number} would have no attention, for whose backend vllm chooses "
                    "blocks (vllm/platforms/interface.py, update_block_size_for_backend)"
                )

    def rank_load(self, stage: Stage, load: Load, *, read: bool = False) -> RankLoad:
        """The layers of one rank of a stage with such a load: of an indexer's keys too, ranks take tokens in turn."""
        return super().rank_load(stage, load, read=read)._replace(in_turn=IN_TURN)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        return self.setup.model.layout.split(self._lengths)

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        return pp_lengths(self.setup.model.num_layers, self.setup.deployment.pp)

    @property
    def null_blocks(self) -> int:
        """One that no sequence gets, but none in V0."""
        return int(self.settings.runner != "v0")

    @property
    def block_tokens(self) -> int:
        return max((spec.block_size for group in self.groups for spec in group.specs), default=1) or 1

    @cached_property
    def cache_format(self) -> CacheFormat:
        """As asked for where vLLM has that, and its own formats of states and sparse latents."""
        return kept_format(self.setup, self.settings.version)

    @property
    def frees_read_prompts(self) -> bool:
        """Of windows and chunks it counts tokens in flight; each step lets go of those that nothing attends to."""
        return any(isinstance(spec, SlidingWindow | ChunkedLocal) for group in self.groups for spec in group.specs)

    @property
    def most_at_once(self) -> int:
        return self.settings.max_num_seqs

    def request(self, tokens: int) -> Request:
        """A request of so many tokens."""
        return Request(tokens, self.settings.max_in_flight_tokens, self.setup.deployment.dcp)

    def blocks_of(self, stage: Stage) -> StageBlocks:
        """The blocks of a stage; of stages that hold the same, those of the one with the largest."""
        known = self._blocks.get(stage.number)
        if known is None:
            numbers = [number for numbers in stage.numbers for number in numbers]
            each = [self._projected(number) for number in (numbers if len(self.groups) > 1 else numbers[:1])]
            known = self._blocks[stage.number] = max(each, key=lambda blocks: blocks.bytes)
        return known

    def _projected(self, number: int) -> StageBlocks:
        start = sum(self._lengths[:number])
        held = range(start, start + self._lengths[number])
        groups = [StageGroup(group, group.held(held)) for group in self.groups]
        widest = max((group.width for group in groups), default=0)
        pages = [group.pages for group in groups]
        padded = padded_block_bytes(pages, self.settings.version) if self.has_padding else None
        stride = lcm(*(kept.spec.stride for group in groups for kept in group.layers))
        return StageBlocks(tuple(groups), -(-widest // stride) * stride if padded is None else padded)

    @property
    def has_padding(self) -> bool:
        """Whether windows' pages are in the places of pages of entries."""
        return self.settings.version < PACKED and any(
            isinstance(layer.attention, Compressed) for layer in self.setup.model.layout.kinds
        )

    def shares_prefix(self, spec: Spec) -> bool:
        """Whether sequences hold the blocks of a common prefix once, for as long as they run."""
        return isinstance(spec, FullAttention) and self.settings.enable_prefix_caching

    def _taken(self, group: Group, load: Load) -> tuple[int, int]:
        """Blocks that each sequence takes of a group, and those that all share."""
        request = self.request(load.context)
        whole = group.blocks(request)
        if not (load.shared_prefix and all(map(self.shares_prefix, group.specs))):
            return whole, 0
        block = max(spec.block_size for spec in group.specs) * request.dcp
        shared = load.shared_prefix // block
        return max(whole - shared, min(shared, 1)), shared

    def blocks_taken(self, group: Group, load: Load) -> int:
        """Blocks that all sequences take of a group."""
        if not load.mixed:
            own, shared = self._taken(group, load)
            return load.sequences * own + shared * load.prefixes_kept
        each = [(alike.sequences, *self._taken(group, load._replace(context=alike.context))) for alike in load.mixed]
        return sum(sequences * own for sequences, own, _ in each) + each[0][2] * load.prefixes_kept

    def held_bytes(self, stage: Stage, load: Load) -> int:
        blocks = self.blocks_of(stage)
        taken = self.null_blocks
        for group in self.groups:
            taken += self.blocks_taken(group, load)
        return taken * blocks.bytes

    def beside_bytes(self, stage: Stage, whole: Load, tokens: int) -> int:
        """It finds the shared prefix kept by whole sequences."""
        prefix = min(whole.shared_prefix, tokens) if whole.sequences else 0
        null = 0 if whole.sequences else self.null_blocks
        taken = sum(self._taken(group, Load(1, tokens, prefix))[0] for group in self.groups)
        return (taken + null) * self.blocks_of(stage).bytes

    def rate(self, stage: Stage, load: Load) -> Rate:
        block = self.blocks_of(stage).bytes
        now, first = self.request(load.context), self.request(0)
        own = shared = at_start = 0
        for group in self.groups:
            each, together = self._taken(group, load)
            own, shared = own + each, shared + together
            at_start += group.blocks(first)
        return Rate(
            bytes_per_token=self._growth(block, first),
            bytes_per_token_at_context=self._growth(block, now),
            state_bytes_per_sequence=at_start * block,
            bytes_per_sequence=own * block,
            shared_bytes=shared * block,
        )

    def _growth(self, block: int, request: Request) -> int:
        total = 0
        for group in self.groups:
            growing = [spec for spec in group.specs if spec.grows(request)]
            if growing:
                total += -(-block // min(spec.tokens_of_block(request) for spec in growing))
        return total

    def _blocks_admitted(self, request: Request) -> int:
        """Blocks of one request by which vLLM tells concurrency (get_max_concurrency_for_kv_cache_config).

        Where pages are padded, it divides a request's bytes in all groups by the bytes that a block has of the first.
        """
        if not self.has_padding or self.settings.version >= UNPADDED:
            return sum(group.blocks(request) for group in self.groups)
        widths = [group.width for group in self.blocks_of(self.stages[0]).groups]
        held = sum(group.blocks(request) * width for group, width in zip(self.groups, widths, strict=True))
        return -(-held // widths[0])

    def pool(self, memory: Sequence[int], load: Load) -> Pool | None:
        sizes = [(self.blocks_of(stage).bytes, each) for stage, each in zip(self.stages, memory, strict=True)]
        found = min((max(0, each) // size for size, each in sizes if size), default=None)
        if found is None:
            return None
        request = self.request(load.context)
        specs = [spec for group in self.groups for spec in group.specs]
        sizes_cached = [spec.block_size or load.context for spec in specs if spec.prefix_cacheable]
        block_size = min(sizes_cached, default=min(spec.block_size for spec in specs))
        concurrency = found / self._blocks_admitted(request)
        if self.settings.version < HYBRID_MANAGER:
            concurrency = found * block_size / load.context
        if self.settings.version < TOKENS_FROM_CONCURRENCY:
            tokens = found // len(self.groups) * block_size * request.dcp
        else:
            tokens = int(concurrency * load.context)
        return Pool(found, block_size, tokens, float(f"{concurrency:.2f}"))
