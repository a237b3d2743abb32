"""A model as vLLM lays it out: groups over the whole model, and one pool of blocks on every rank."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.budget import Budget, Pool
from kvcalc.engines.content_counter import ContentCounter, Rate, rows_bytes
from kvcalc.engines.load import Load
from kvcalc.engines.settled import Settled
from kvcalc.engines.setup import Setup
from kvcalc.engines.vllm.budget import budget_notes, budget_of
from kvcalc.engines.vllm.formats import kept_format
from kvcalc.engines.vllm.groups import HYBRID_MANAGER, Group, Kept
from kvcalc.engines.vllm.model_types import type_notes
from kvcalc.engines.vllm.padded import PACKED, UNPADDED, padded_block_bytes
from kvcalc.engines.vllm.parked import parked
from kvcalc.engines.vllm.placing import groups_on, rank_of, with_draft
from kvcalc.engines.vllm.specs import INTERFACE, FullAttention, Request, State
from kvcalc.engines.vllm.traits import traits_of
from kvcalc.engines.vllm.turboquant import reserved_bytes
from kvcalc.engines.vllm.weights import loaded_beyond
from kvcalc.errors import KvcalcError
from kvcalc.formats.turboquant import TURBOQUANT
from kvcalc.mechanisms import Compressed
from kvcalc.model.layers import count_layers
from kvcalc.note import note, register
from kvcalc.term import Factor, Product
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.parked import Parked
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.engines.vllm.specs import Piece, Spec
    from kvcalc.model.stages import Stage
    from kvcalc.note import Note

register(
    {
        "draft-not-counted": "tokens are drafted by a model that is not counted",
        "compressed-attention-memory": "what compressed attention takes beside its cache is not counted",
        "turboquant-memory": "what TurboQuant's kernels take beside the memory that is measured is not counted",
    }
)

PLANNER = "vllm/v1/core/kv_cache_utils.py"
TOKENS_FROM_CONCURRENCY = (0, 20, 1)
"""The first version that prints int(concurrency x max_model_len), and not the tokens of its blocks."""


class StageGroup(NamedTuple):
    """What a stage holds of a group.

    Attributes:
        layers: and how many of each.
    """

    group: Group
    layers: Mapping[Kept, int]

    @property
    def width(self) -> int:
        """Bytes of a block that its layers fill."""
        return sum(size * count for size, count in self.pages.items())

    @property
    def pages(self) -> Counter[int]:
        """By their size, those of a block that its layers fill."""
        found: Counter[int] = Counter()
        for kept, count in self.layers.items():
            found[kept.spec.page] += count
        return found


class StageBlocks(NamedTuple):
    """The blocks of a stage.

    Attributes:
        bytes: of one block: what the widest group needs, whichever takes it.
    """

    groups: tuple[StageGroup, ...]
    bytes: int


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

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        return self.setup.model.layout.split(self._lengths)

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        return pp_lengths(self.setup.model.num_layers, self.setup.deployment.pp)

    @property
    def _null_blocks(self) -> int:
        """One that no sequence gets, but none in V0."""
        return int(self.settings.runner != "v0")

    @property
    def block_tokens(self) -> int:
        return max((spec.block_size for group in self.groups for spec in group.specs), default=1) or 1

    @cached_property
    def cache_format(self) -> CacheFormat:
        """As asked for where vLLM has that, and its own formats of states and sparse latents."""
        return kept_format(self.setup, self.settings.version)

    def parked(self, tokens: int) -> Parked | None:
        return parked(self, tokens)

    @property
    def most_at_once(self) -> int:
        return self.settings.max_num_seqs

    def notes(self, load: Load) -> Iterator[Note]:
        yield from super().notes(load)
        yield from self.settings.notes(self.setup.gpu)
        yield from budget_notes(self.setup, self.settings, self.stages[-1])
        yield from type_notes(
            self.setup.model, self.settings.version, traits_of(self.setup.model, self.setup.weight_format)
        )
        if any(isinstance(layer.attention, Compressed) for layer in self.setup.model.layout.kinds):
            yield note(
                "compressed-attention-memory",
                "what compressed attention and its indexers take in a step beside the cache is not counted, so the "
                "memory for the cache is less than it says: give --cache-memory as the server prints it",
            )
        if self.cache_format.name in TURBOQUANT:
            yield self._turboquant_note()
        drafted = self.settings.num_speculative_tokens
        if drafted and self.setup.draft is None:
            yield note(
                "draft-not-counted",
                f"num-speculative-tokens {drafted:,}: the model's file has no layers that draft, and what a draft "
                "model keeps and weighs is not counted",
                num_speculative_tokens=drafted,
            )

    def _turboquant_note(self) -> Note:
        """vllm/v1/worker/gpu_worker.py, determine_available_memory: the profiled step runs no attention."""
        reserved = reserved_bytes(self.setup, self.settings, self.block_tokens)
        if reserved is None:
            return note(
                "turboquant-memory",
                "TurboQuant's kernels take memory as they first run, after that for the cache is measured, which is "
                "not counted: leave some free by a smaller --utilization",
            )
        return note(
            "turboquant-memory",
            f"TurboQuant's kernels reserve {format_size(reserved, 'MiB')} MiB on each GPU once the memory for the "
            "cache is measured (vllm/v1/attention/backends/turboquant_attn.py, _reserve_workspace), which is not "
            "counted: --utilization must leave as much free",
            reserved_bytes=reserved,
        )

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:  # noqa: ARG002  # the interface's
        return budget_of(self.setup, self.settings, stage)

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
        padded = padded_block_bytes([group.pages for group in groups], self.settings.version) if self._padded else None
        return StageBlocks(tuple(groups), widest if padded is None else padded)

    @property
    def _padded(self) -> bool:
        """Whether windows' pages are in the places of pages of entries."""
        return self.settings.version < PACKED and any(
            isinstance(layer.attention, Compressed) for layer in self.setup.model.layout.kinds
        )

    def _shares(self, spec: Spec) -> bool:
        """Whether sequences hold the blocks of a common prefix once, for as long as they run."""
        return isinstance(spec, FullAttention) and self.settings.enable_prefix_caching

    def _taken(self, group: Group, load: Load) -> tuple[int, int]:
        """Blocks that each sequence takes of a group, and those that all share."""
        request = self.request(load.context)
        whole = group.blocks(request)
        if not (load.shared_prefix and all(map(self._shares, group.specs))):
            return whole, 0
        block = max(spec.block_size for spec in group.specs) * request.dcp
        shared = load.shared_prefix // block
        return max(whole - shared, min(shared, 1)), shared

    def _taken_by_all(self, group: Group, load: Load) -> int:
        """Blocks that all sequences take of a group."""
        if not load.mixed:
            own, shared = self._taken(group, load)
            return load.sequences * own + shared * load.prefixes_kept
        each = [(alike.sequences, *self._taken(group, load._replace(context=alike.context))) for alike in load.mixed]
        return sum(sequences * own for sequences, own, _ in each) + each[0][2] * load.prefixes_kept

    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:
        blocks = self.blocks_of(stage)
        if not blocks.bytes:
            return
        if self._null_blocks:
            source = "vllm/v1/core/block_pool.py, BlockPool"
            yield Product("null block", (Factor("block", blocks.bytes, "byte"),), source)
        layers: Counter[tuple[Kept, int]] = Counter()
        padding: Counter[tuple[str, int]] = Counter()
        for group in blocks.groups:
            taken = self._taken_by_all(group.group, load)
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
                yield from self._beyond(kept, factor, taken, load, stage)
            elif taken:
                pages = (factor, Factor("blocks", taken, "block"), Factor("page", kept.spec.page, "byte"))
                yield Product(f"{kept.layer.label}: layers that draft", pages, f"{PLANNER}, get_kv_cache_groups")

    def _beyond(self, kept: Kept, layers: Factor, taken: int, load: Load, stage: Stage) -> Iterator[Product]:
        """What layers of a kind take of so many blocks beyond the content."""
        layer, spec, _ = kept
        once, each = self.rank_load(stage, load), self.rank_load(stage, load._replace(shared_prefix=0))
        rest = taken * spec.content_page - rows_bytes(spec.rows, once)
        if load.shared_prefix and not self._shares(spec):
            again = rows_bytes(spec.rows, each) - rows_bytes(spec.rows, once)
            if again:
                rest -= again
                tokens = Factor("tokens", again // spec.row_bytes, "token again")
                row = Factor("row", spec.row_bytes, "byte")
                source = "vllm/v1/core/block_pool.py, BlockPool"
                yield Product(f"{layer.label}: prefix that is not shared", (layers, tokens, row), source)
        for piece in self._pieces(spec, load):
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

    def _pieces(self, spec: Spec, load: Load) -> Iterator[Piece]:
        """What all sequences reserve in a layer beside rounding to blocks."""
        together: dict[Piece, int] = {}
        for sequences, context in load.alike:
            for piece in spec.pieces(self.request(context)):
                kind = piece._replace(number=0)
                together[kind] = together.get(kind, 0) + sequences * piece.number
        yield from (piece._replace(number=number) for piece, number in together.items())

    def weights_excess(self, stage: Stage) -> Iterator[Product]:
        setup, own = self.setup, self.setup.weights_as
        if own is not None:
            layers = own.layout.layers[stage.layers.start : stage.layers.stop]
            setup, stage = setup._replace(model=own), stage._replace(kinds=count_layers(layers))
        return loaded_beyond(setup, self.settings.version, stage)

    def held_bytes(self, stage: Stage, load: Load) -> int:
        blocks = self.blocks_of(stage)
        taken = self._null_blocks
        for group in self.groups:
            taken += self._taken_by_all(group, load)
        return taken * blocks.bytes

    def beside_bytes(self, stage: Stage, whole: Load, tokens: int) -> int:
        """It finds the shared prefix kept by whole sequences."""
        prefix = min(whole.shared_prefix, tokens) if whole.sequences else 0
        null = 0 if whole.sequences else self._null_blocks
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
        if not self._padded or self.settings.version >= UNPADDED:
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
        block_size = min(spec.block_size or load.context for group in self.groups for spec in group.specs)
        concurrency = found / self._blocks_admitted(request)
        if self.settings.version < HYBRID_MANAGER:
            concurrency = found * block_size / load.context
        if self.settings.version < TOKENS_FROM_CONCURRENCY:
            tokens = found // len(self.groups) * block_size * request.dcp
        else:
            tokens = int(concurrency * load.context)
        return Pool(found, block_size, tokens, float(f"{concurrency:.2f}"))
