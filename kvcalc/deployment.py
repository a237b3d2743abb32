"""How replicas are spread over ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from kvcalc.errors import KvcalcError
from kvcalc.model.stages import stage_ranges
from kvcalc.noun import Noun, noun

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

MAX_RANKS = 10**6


@noun
class Deployment(Noun):
    """dp replicas of tp x pp ranks each.

    Attributes:
        tp: tensor-parallel ranks, which share each layer.
        pp: pipeline stages, which share the layers.
        dp: replicas, which share the batch.
        ep: expert-parallel size: experts are split over so many ranks; where there are more, ranks share each part.
        dcp: ranks, among the tp, that share the tokens of a sequence (decode context parallelism). Adds no ranks.
        dp_attention: whether replicas share the experts, and only attention and its caches are their own.
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1
    dcp: int = 1
    dp_attention: bool = False

    def __post_init__(self) -> None:
        for name in ("tp", "pp", "dp", "ep", "dcp"):
            value = getattr(self, name)
            if not 1 <= value <= MAX_RANKS:
                raise KvcalcError(f"{name}: must be from 1 to {MAX_RANKS:,}, not {value}")

    @property
    def ranks(self) -> int:
        """GPUs of one replica."""
        return self.tp * self.pp

    @property
    def gpus(self) -> int:
        return self.tp * self.pp * self.dp

    @property
    def replicas_joined(self) -> int:
        """Replicas that cannot run without each other, since they share the experts."""
        return self.dp if self.dp_attention else 1

    @property
    def expert_ranks(self) -> int:
        """Ranks of a stage among which the experts are spread."""
        return self.tp * self.replicas_joined

    @property
    def connected_ranks(self) -> int:
        """Ranks that exchange activations."""
        return self.ranks * self.replicas_joined

    def sequences(self, batch: int) -> int:
        """How many of a batch a replica holds, the fullest one."""
        return -(-batch // self.dp)

    def __str__(self) -> str:
        parts = [f"tp {self.tp}"]
        parts += [f"pp {self.pp}"] if self.pp > 1 else []
        parts += [f"dp {self.dp}"] if self.dp > 1 else []
        others = [f"dcp {self.dcp}"] if self.dcp > 1 else []
        others += ["dp-attention"] if self.dp_attention else []
        others += [f"ep {self.ep}"] if self.ep > 1 else []
        return ", ".join([" x ".join(parts), *others])


def heads_on_rank(heads: int, tp: int) -> int:
    """How many of a tensor's heads a tensor-parallel rank holds: its share, or one that several ranks copy.

    A tensor without heads (heads 1) is whole on every rank.

    Raises:
        ValueError: tp neither divides the heads nor is a multiple of them.
    """
    if heads % tp == 0:
        return heads // tp
    if tp % heads == 0:
        return 1
    raise ValueError(f"{heads} heads do not spread over {tp} ranks")


def ranks_per_head(heads: int, tp: int) -> int:
    """How many tensor-parallel ranks hold each head: more than one where tp is larger than the heads."""
    return tp // heads if tp > heads else 1


def stages(layers: Sequence[T], pp: int) -> list[Sequence[T]]:
    """Pipeline stages: contiguous, the first (layers mod pp) of them one layer longer."""
    return [layers[held.start : held.stop] for held in stage_ranges(len(layers), pp)]
