"""How a replica is spread over ranks, and which spreads are legal."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvcalc.mechanisms import Mechanism

T = TypeVar("T")

MAX_RANKS = 10**6


@dataclass(frozen=True, slots=True)
class Deployment:
    """dp replicas of tp x pp ranks each.

    Attributes:
        tp: tensor-parallel ranks, which share each layer.
        pp: pipeline stages, which share the layers.
        dp: replicas, which share the batch.
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1

    def __post_init__(self) -> None:
        for name, value in (("tp", self.tp), ("pp", self.pp), ("dp", self.dp)):
            if not 1 <= value <= MAX_RANKS:
                raise KvcalcError(f"{name}: must be from 1 to {MAX_RANKS:,}, not {value}")

    @property
    def ranks(self) -> int:
        """GPUs of one replica."""
        return self.tp * self.pp

    @property
    def gpus(self) -> int:
        return self.tp * self.pp * self.dp

    def __str__(self) -> str:
        parts = [f"tp {self.tp}"]
        parts += [f"pp {self.pp}"] if self.pp > 1 else []
        parts += [f"dp {self.dp}"] if self.dp > 1 else []
        return " x ".join(parts)


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


def tp_is_legal(mechanisms: Iterable[Mechanism], tp: int) -> bool:
    """Whether every layer's query heads divide by tp, and its KV heads divide or are copied evenly."""
    for mechanism in mechanisms:
        if mechanism.query_heads is not None and mechanism.query_heads % tp:
            return False
        for tensor in mechanism.cached():
            if tensor.heads % tp and tp % tensor.heads:
                return False
    return True


def legal_tps(mechanisms: Iterable[Mechanism], at_most: int | None = None) -> list[int]:
    """Every legal tensor-parallel size, smallest first."""
    kinds = tuple(mechanisms)
    heads = [kind.query_heads for kind in kinds if kind.query_heads is not None]
    largest = min(heads, default=1)
    limit = largest if at_most is None else min(largest, at_most)
    return [tp for tp in range(1, limit + 1) if largest % tp == 0 and tp_is_legal(kinds, tp)]


def check_legal(deployment: Deployment, mechanisms: Iterable[Mechanism], num_layers: int) -> None:
    """Refuse a deployment that this model cannot have, naming the legal values.

    Raises:
        KvcalcError: the tp or pp is illegal.
    """
    kinds = tuple(mechanisms)
    legal = legal_tps(kinds)
    if deployment.tp not in legal:
        raise KvcalcError(
            f"tp: {deployment.tp} is illegal for this model; legal are {', '.join(map(str, legal))} "
            "(query heads divide by tp, and KV heads divide by tp or tp by KV heads)"
        )
    if deployment.pp > num_layers:
        raise KvcalcError(f"pp: {deployment.pp} is illegal for this model; legal are 1 to {num_layers}, its layers")


def stages(layers: Sequence[T], pp: int) -> list[Sequence[T]]:
    """Pipeline stages: contiguous, the first (layers mod pp) of them one layer longer."""
    size, longer = divmod(len(layers), pp)
    starts = [stage * size + min(stage, longer) for stage in range(pp + 1)]
    return [layers[start:end] for start, end in pairwise(starts)]
