"""How much a replica holds: searches on the exact number of bytes, which never falls as more is to be held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import MAX_RANKS
from kvcalc.engines import Load
from kvcalc.errors import KvcalcError
from kvcalc.memory import Rank, Ranks
from kvcalc.named_tuple import NamedTuple
from kvcalc.scenario.mix import Mix, longest
from kvcalc.units import MAX_CONTEXT, MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.deployment import Deployment
    from kvcalc.engines import Pool, Temporary
    from kvcalc.scenario import Scenario
    from kvcalc.scenario.mix import Lengths


def usual(temporary: Temporary) -> int:
    """The figure that totals count."""
    return temporary.term.bytes


def least(temporary: Temporary) -> int:
    """The least seen: what holds with it alone is tight."""
    return temporary.low


def most(temporary: Temporary) -> int:
    """The most seen: what holds with it fits."""
    return temporary.high


MOST_SEQUENCES = MAX_SIZE
"""A sequence that costs anything takes a byte at least."""

LONGEST_CONTEXT = MAX_SIZE * MAX_RANKS
"""A layer that grows takes a byte at least for as many tokens as ranks can share."""


class Replica(NamedTuple):
    """One rank of each kind of stage, and what each has for the cache: below zero where the rest is too much.

    Attributes:
        figure: of temporary memory, which is set aside as the scenario's workload needs it: another one may need more
            or less. None where temporary memory plays no part.
    """

    ranks: tuple[Rank, ...]
    cache_memory: tuple[int, ...]
    figure: Callable[[Temporary], int] | None = None

    def takes(self, rank: Rank, sequences: int, context: Lengths) -> int:
        """Bytes of its memory for the cache that so many sequences of such lengths take on a rank."""
        held = rank.cache_bytes(sequences, context)
        return held if self.figure is None else held + self._temporary_beyond(rank, sequences, context)

    def temporary_grows(self, rank: Rank, sequences: int, context: Lengths) -> bool:
        """Whether one sequence more takes more temporary memory, or the scenario's workload another amount."""
        return any(self._temporary_beyond(rank, held, context) for held in (sequences, sequences + 1))

    def _temporary_beyond(self, rank: Rank, sequences: int, context: Lengths) -> int:
        """Temporary memory beyond what is set aside; below zero where it is less."""
        if self.figure is None:
            return 0
        set_aside, needed = rank.temporary, rank.temporary_with(sequences, context)
        return 0 if needed is set_aside else self.figure(needed) - self.figure(set_aside)

    def pool(self, context: int) -> Pool | None:
        """The blocks that the engine divides this memory into; None where it has none."""
        return self.ranks[0].settled.pool(self.cache_memory, Load(1, context))

    def holds(self, sequences: int, context: Lengths) -> bool:
        """Whether every rank holds so many sequences of so many tokens."""
        limit = self.limit
        if limit is not None and sequences > limit:
            return False
        for rank, memory in zip(self.ranks, self.cache_memory, strict=True):
            if self.takes(rank, sequences, context) > memory:
                return False
        return True

    @property
    def limit(self) -> int | None:
        """Sequences that the engine takes at all, whatever the memory; None where it has no such limit."""
        return self.ranks[0].settled.most_held

    def lacks(self, sequences: int, context: Lengths) -> int:
        """Bytes that the rank with the least memory lacks for so many sequences; below 1 where they are held."""
        ranks = zip(self.ranks, self.cache_memory, strict=True)
        return max(self.takes(rank, sequences, context) - memory for rank, memory in ranks)

    def most_sequences(self, context: Lengths) -> int | None:
        """The most sequences of that many tokens; None where another costs nothing.

        Of a mix, one request more may take less, since it changes how they are shared out: then the most that are held
        may be more than the first number that is not.
        """
        if not isinstance(context, Mix):
            return self._most_of(context)
        most = self._most_of(context.least)
        if most is None:
            return None
        return next((number for number in range(most, 0, -1) if self.holds(number, context)), 0)

    def _most_of(self, context: Lengths) -> int | None:
        """The most sequences, where one more never takes less."""
        guesses, limit = [], self.limit
        for rank, memory in zip(self.ranks, self.cache_memory, strict=True):
            first = self.takes(rank, 1, context)
            another = self.takes(rank, 2, context) - first
            if another:
                guesses.append(1 + (memory - first) // another)
        if not guesses and not any(rank.rate(longest(context)).bytes_per_sequence for rank in self.ranks):
            return limit if self.holds(1, context) else 0
        most = MOST_SEQUENCES if limit is None else limit
        return largest(lambda sequences: self.holds(sequences, context), most, min(guesses, default=1))

    def longest_context(self, sequences: int) -> int | None:
        """The most tokens of each of so many sequences; None where it is unbounded."""
        if not any(rank.grows for rank in self.ranks) and self.holds(sequences, MAX_CONTEXT):
            return None
        far, guesses = 2 * MAX_CONTEXT, []
        for rank, memory in zip(self.ranks, self.cache_memory, strict=True):
            there = self.takes(rank, sequences, far)
            if grown := there - self.takes(rank, sequences, MAX_CONTEXT):
                guesses.append(far - (there - memory) * (far - MAX_CONTEXT) // grown)
        return largest(lambda context: self.holds(sequences, context), LONGEST_CONTEXT, min(guesses, default=1))

    def most_tokens(self, context: Lengths) -> int | None:
        """The most tokens in sequences of at most `context` each; None where a sequence is unbounded.

        As many whole sequences as fit, and the longest that fits beside them.
        """
        whole = self.most_sequences(context)
        if whole is None or self.longest_context(1) is None:
            return None
        beside = largest(lambda tokens: self._holds_beside(whole, context, tokens), longest(context) - 1)
        return self.ranks[0].load(whole, context).tokens + beside

    def _holds_beside(self, whole: int, context: Lengths, tokens: int) -> bool:
        """Beside whole ones it takes the temporary memory of one more of them."""
        return whole != self.limit and all(
            (rank.cache_bytes(whole, context) if whole else 0)
            + rank.bytes_beside(whole, context, tokens)
            + self._temporary_beyond(rank, whole + 1, context if whole else tokens)
            <= memory
            for rank, memory in zip(self.ranks, self.cache_memory, strict=True)
        )


def replica_of(
    scenario: Scenario,
    deployment: Deployment,
    temporary: Callable[[Temporary], int] = usual,
    ranks: Ranks | None = None,
) -> Replica:
    """A replica with what is usable of the scenario's accelerator.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        temporary: which figure of temporary memory is set aside.
        ranks: of the same model and workload, where they are known.

    Raises:
        KvcalcError: the weights are not known.
    """
    each = (ranks or Ranks(scenario)).of(deployment)
    refuse_unknown_weights(scenario, each[0].weights_bytes)
    memory = tuple(rank.memory_for_cache(temporary(rank.temporary), scenario) for rank in each)
    return Replica(each, memory, None if scenario.engine.plain else temporary)


def refuse_unknown_weights(scenario: Scenario, weights: object) -> None:
    """The memory left for the cache is not known where the weights are not.

    Raises:
        KvcalcError: they are None.
    """
    if weights is None:
        raise KvcalcError(
            f"the memory left for the cache needs the weights: {scenario.origin} lacks 'parameters'; give "
            "--weights SIZE or --parameters N"
        )


PAIRS_TRIED = 8
"""Smaller numbers of replicas that are looked at, since requests of a mix may be shared out better by fewer."""


def fewest_of_a_mix(holds: Callable[[int], bool], least: int, most: int) -> int | None:
    """The fewest replicas that hold requests of a mix, found by halves; None where `most` do not hold them."""
    if most < least or not holds(most):
        return None
    more = largest(lambda fewer: holds(most - fewer), most - least, max(1, most - least))
    found = most - more
    return next((each for each in range(max(least, found - PAIRS_TRIED), found) if holds(each)), found)


def largest(holds: Callable[[int], bool], limit: int, guess: int = 1) -> int:
    """The largest number from 0 to `limit` that holds, where all below one that holds do too.

    A good guess saves steps; any other leads to the same number.
    """
    guess, step = min(max(guess, 1), max(limit, 1)), 1
    if limit >= 1 and holds(guess):
        low = guess
        while low + step <= limit and holds(low + step):
            low, step = low + step, 2 * step
        high = min(low + step, limit + 1)
    else:
        high = min(guess, limit + 1)
        while high > step and not holds(high - step):
            high, step = high - step, 2 * step
        low = max(high - step, 0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
