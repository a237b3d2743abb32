"""The ranks of one deployment of a sweep: what stands beside their caches, and how many sequences these can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.verbs.searching.capacity_search import MOST_SEQUENCES, least, most, usual

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvcalc.deployment import Deployment
    from kvcalc.engines import Temporary
    from kvcalc.engines.growth import Stretch
    from kvcalc.memory import Rank

Line = tuple[int, int]
"""A value at 0, and what each step adds."""

_UNBOUNDED = 10**40


class DeploymentHeld(NamedTuple):
    """The ranks of one deployment: what stands beside their caches, and the memory that these have."""

    deployment: Deployment
    ranks: tuple[Rank, ...]
    memory: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, deployment: Deployment, ranks: tuple[Rank, ...]) -> DeploymentHeld:
        def each(figure: Callable[[Temporary], int]) -> tuple[int, ...]:
            return tuple(rank.memory_for_cache(figure(rank.temporary)) for rank in ranks)

        return cls(deployment, ranks, {"most": each(most), "least": each(least), "usual": each(usual)})

    def reach(self, lines: Sequence[Line], figure: str) -> int:
        """The largest number at which every rank's line stays within its memory; -1 where none does."""
        return min(map(_reach, lines, self.memory[figure]))

    def most_sequences(self, context: int) -> int | None:
        """As `Replica.most_sequences`, of lines; None where another sequence costs nothing."""
        lines = [stretch.held.over_sequences(context) for stretch in self.stretches(context)]
        most_held = max(0, min(self.reach(lines, "usual"), MOST_SEQUENCES))
        return None if most_held and not any(step for _, step in lines) else self.deployment.dp * most_held

    def stretches(self, context: int) -> list[Stretch]:
        """How the cache of each rank grows around a context."""
        return [stretch for rank in self.ranks if (stretch := rank.stretch(context)) is not None]


def _reach(line: Line, memory: int) -> int:
    start, step = line
    return (memory - start) // step if step else _UNBOUNDED if start <= memory else -1
