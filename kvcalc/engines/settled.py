"""A model on a deployment as an engine lays it out: the bytes that each rank reserves, as terms.

What is settled answers for each stage: what a load takes, what a token costs, what memory there is for the cache. The
defaults are the plain formulas; an engine states only what differs.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from kvcalc.engines.budget import Budget
from kvcalc.engines.content import contents
from kvcalc.engines.content_counter import ContentCounter, rows_bytes, rows_rate
from kvcalc.engines.load import Load
from kvcalc.engines.placement import Placement
from kvcalc.engines.rank_load import RankLoad
from kvcalc.term import Factor, Sum, leaves

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.engines.budget import Pool, Temporary
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.content_counter import Rate, TensorRows
    from kvcalc.engines.growth import Stretch
    from kvcalc.engines.parked import Parked
    from kvcalc.engines.setup import Setup
    from kvcalc.model.stages import Stage
    from kvcalc.note import Note
    from kvcalc.term import Product, Term


class Settled:
    """A model on a deployment as an engine lays it out. The defaults are the plain formulas: nothing is rounded.

    What `held` takes never falls as sequences or tokens are added, and is never less than the content. Stages hold no
    less apart than together on one. The searches rest on that.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._rows: dict[int, tuple[TensorRows, ...]] = {}

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The pipeline stages, of which those that hold the same are one."""
        return self.setup.model.layout.stages(self.setup.deployment.pp)

    @property
    def block_tokens(self) -> int:
        """Tokens after which what a sequence takes has grown by whole blocks: then `rate` is exact."""
        return 1

    @property
    def cache_format(self) -> CacheFormat:
        """The formats that tensors are kept in: as asked for, unless the engine keeps some in a format of its own."""
        return self.setup.cache_format

    def rank_load(self, stage: Stage, load: Load, *, read: bool = False) -> RankLoad:
        """The layers of one rank of a stage with such a load."""
        deployment = self.setup.deployment
        return RankLoad(
            stage.kinds,
            deployment.tp,
            load.sequences,
            load.context,
            self.cache_format,
            deployment.dcp,
            load.shared_prefix,
            read,
            load.mixed,
            load.prefixes,
        )

    def held(self, stage: Stage, load: Load) -> Sum:
        """Bytes that one rank of a stage reserves: what its layers hold, and each excess over it as a row."""
        content = (each.term for each in contents(self.rank_load(stage, load)))
        return Sum("cache", (*content, *self.excess(stage, load)))

    def held_bytes(self, stage: Stage, load: Load) -> int:
        """The bytes of that."""
        return self.content_bytes(stage, load) + sum(term.bytes for term in self.excess(stage, load))

    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:  # noqa: ARG002  # for engines
        """What the engine reserves beyond the content, each with a name and a source: nothing, in plain formulas."""
        yield from ()

    def weights_excess(self, stage: Stage) -> Iterator[Product]:  # noqa: ARG002  # for engines
        """What one rank of a stage loads beyond its share of the checkpoint, each with a name and a source.

        Tables of rotations, copies that are made for kernels, padding. Nothing, in plain formulas.
        """
        yield from ()

    def pads_experts(self, name: str) -> bool:  # noqa: ARG002  # for engines
        """Whether `weights_excess` counts what a rank's share of an expert is padded to, in the format of that name."""
        return False

    @property
    def placement(self) -> Placement:
        """Which weights lie on accelerators: all of them, unless the engine `places_weights`."""
        return Placement()

    @property
    def reads_host_memory(self) -> bool:
        """Whether a step of decoding reads weights or caches that are not on an accelerator."""
        return False

    @property
    def parks_by_itself(self) -> bool:
        """Whether it keeps a part of the cache of sequences that run in host memory, by rules of its own."""
        return False

    def content_bytes(self, stage: Stage, load: Load, *, read: bool = False) -> int:
        """What the layers of a rank hold, or what a step of decoding reads of it."""
        asked = self.rank_load(stage, load, read=read)
        if asked.mixed or asked.shared_prefix:
            return rows_bytes(self._content_rows(stage), asked)
        return asked.sequences * self._counter.sequence_bytes(asked)

    def bytes_of_layers(self, load: RankLoad) -> int:
        """What layers hold that need not be a rank's, in the formats that tensors are kept in here."""
        return rows_bytes(self._counter.rows(load.layers, load.tp), load)

    def content_read(self, stage: Stage, load: Load) -> Sum:
        """What a step of decoding reads of what the layers of a rank hold."""
        return Sum("cache", tuple(each.term for each in contents(self.rank_load(stage, load, read=True))))

    def beside_bytes(self, stage: Stage, whole: Load, tokens: int) -> int:  # noqa: ARG002  # for engines
        """What one shorter sequence, of so many tokens, takes at most beside whole ones."""
        return self.held_bytes(stage, Load(1, tokens))

    def rate(self, stage: Stage, load: Load) -> Rate:
        """What a token and a sequence cost on a rank of a stage, at the load's context."""
        return rows_rate(self._content_rows(stage), self.rank_load(stage, load))

    def stretch(self, stage: Stage, load: Load) -> Stretch | None:  # noqa: ARG002  # for engines
        """The contexts around the load's over which what it holds grows evenly, and how; None where nothing is known.

        Only where it is linear in the sequences, and nothing else of a rank depends on the load.
        """
        return None

    def replica(self, load: Load) -> Sum:
        """What all ranks of a replica reserve, every copy on every rank."""
        tp, several = self.setup.deployment.tp, len(self.stages) > 1
        parts: list[Term] = []
        for stage in self.stages:
            ranks = tp * stage.times
            for leaf in leaves(self.held(stage, load)):
                named = leaf._replace(path=f"{leaf.path}, stage {stage.number}") if several else leaf
                parts.append(named.times(Factor("ranks", ranks, "rank")) if ranks > 1 else named)
        return Sum("cache", tuple(parts))

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:  # noqa: ARG002  # for engines
        """What memory a rank of a stage has beside weights of so many bytes, 0 where they are not known.

        Whatever it holds: what grows with that is said by `held` and `temporary`.

        More replicas that share experts leave no more of it for the cache.
        """
        return Budget()

    def temporary(self, stage: Stage, load: Load) -> Temporary | None:  # noqa: ARG002  # for engines
        """Temporary memory of a rank with such a load, where it grows with that; None: as `budget` has it.

        None of its figures falls as sequences or tokens are added.
        """
        return None

    def taken_bytes(self, stage: Stage, memory: int) -> int:  # noqa: ARG002  # for engines that are told a limit
        """What it allocates for the cache on a rank of the stage that has so much memory for it: all."""
        return memory

    def pool(self, memory: Sequence[int], load: Load) -> Pool | None:  # noqa: ARG002  # for engines
        """The blocks that the engine prints, of so much memory for the cache on a rank of each of `stages`.

        Below zero is what a rank lacks for all but its cache.
        """
        return None

    def parked(self, tokens: int) -> Parked | str:  # noqa: ARG002  # for engines
        """One sequence of so many tokens beside the accelerators of a replica, or why it is not known how."""
        return "it has no tier that kvcalc knows"

    @property
    def reserves_ahead(self) -> bool:
        """Whether a request has the memory of its last token from its first on."""
        return False

    @property
    def frees_read_prompts(self) -> bool:
        """Whether a request that generates may hold less than is counted: that has room for parts of a prompt."""
        return False

    @property
    def most_at_once(self) -> int | None:
        """Sequences that a replica runs at the same time, whatever its cache holds; None: as many as it holds."""
        return None

    @property
    def most_held(self) -> int | None:
        """Sequences that a replica can be asked to hold, whatever its memory; None: as many as that holds."""
        return None

    def lower_bound(self, load: Load) -> bool:  # noqa: ARG002  # for engines
        """Whether serving engines are known to reserve more than this counts."""
        return False

    def notes(self, load: Load) -> Iterator[Note]:  # noqa: ARG002  # for engines
        """What to know of how the engine lays out this model."""
        yield from ()

    def _content_rows(self, stage: Stage) -> tuple[TensorRows, ...]:
        known = self._rows.get(stage.number)
        if known is None:
            rows = self._counter.rows(stage.kinds, self.setup.deployment.tp)
            known = self._rows[stage.number] = rows
        return known

    @cached_property
    def _counter(self) -> ContentCounter:
        """Of the formats that tensors are kept in."""
        own = self.cache_format
        return self.setup.counter if own == self.setup.cache_format else ContentCounter(own)
