"""Requests that differ: kinds of them, each with its share of all."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, pairwise
from math import lcm

from kvcalc.engines.load import Alike, Load
from kvcalc.errors import KvcalcError
from kvcalc.named_tuple import NamedTuple
from kvcalc.noun import Noun, noun
from kvcalc.units import MAX_CONTEXT, check_count

MOST_KINDS = 256
"""Kinds of requests in a mix."""


class Kind(NamedTuple):
    """Requests of one kind.

    Attributes:
        share: of all requests, above 0 and up to 1.
        input: tokens of the prompt.
        output: tokens that are generated.
    """

    share: Fraction
    input: int
    output: int

    @property
    def peak(self) -> int:
        """Tokens that a request holds with its last."""
        return self.input + self.output

    @property
    def average(self) -> int:
        """Tokens that it holds on average while it generates: half a token is rounded up."""
        return self.input + -(-self.output // 2)


@noun
class Mix(Noun):
    """Kinds of requests, the longest first. Equal kinds are one; shares add up to 1.

    Attributes:
        on_average: whether requests hold what they do on average, and not all of their tokens.
        rounded_down: whether a number of requests stands for no more of each kind than any share of it may have. That
            never falls as requests are added, where largest remainders may take one of a kind away.
    """

    kinds: tuple[Kind, ...]
    on_average: bool = False
    rounded_down: bool = False

    def __post_init__(self) -> None:
        together: dict[tuple[int, int], Fraction] = {}
        for share, prompt, generated in self.kinds:
            check_count(prompt + generated, "--mix", MAX_CONTEXT)
            together[prompt, generated] = together.get((prompt, generated), Fraction(0)) + share
        if sum(together.values()) != 1:
            raise KvcalcError("--mix: shares do not add up to 1")
        if len(together) > MOST_KINDS:
            raise KvcalcError(
                f"--mix: {len(together):,} kinds of requests are more than {MOST_KINDS:,}; put lengths that are near "
                "each other together"
            )
        kinds = (Kind(share, *lengths) for lengths, share in together.items())
        object.__setattr__(self, "kinds", tuple(sorted(kinds, key=lambda kind: (-kind.peak, -kind.input))))

    def __str__(self) -> str:
        """As --mix takes it."""
        return ",".join(f"{_percent(kind.share)}:{kind.input}+{kind.output}" for kind in self.kinds)

    @property
    def longest(self) -> int:
        """Tokens of the longest request."""
        return self.kinds[0].peak

    @property
    def is_one_length(self) -> bool:
        """Whether all requests have the same tokens all the time: then they are sequences of that context."""
        return len(self.kinds) == 1 and not self.kinds[0].output

    @property
    def shortest_input(self) -> int:
        """Tokens of the shortest prompt."""
        return min(kind.input for kind in self.kinds)

    @property
    def least_with_all(self) -> int:
        """A number of requests from which on there is one of each kind, whatever the remainders are."""
        return max(-(-kind.share.denominator // kind.share.numerator) for kind in self.kinds)

    def with_input(self, tokens: int) -> Mix:
        """With so many tokens more in every prompt."""
        return replace(self, kinds=tuple(kind._replace(input=kind.input + tokens) for kind in self.kinds))

    @property
    def averaged(self) -> Mix:
        """The same requests with what they hold on average."""
        return replace(self, on_average=True)

    @property
    def least(self) -> Mix:
        """No more of each kind than any number of them has."""
        return replace(self, rounded_down=True)

    def shared_out(self, requests: int, replicas: int = 1) -> tuple[int, ...]:
        """How many of each kind one replica has, of so many requests on each replica.

        All of them are shared out by largest remainder, of equal ones the longest first. Replicas take them in turn,
        the longest first: this is the first replica, whose requests are the longest.
        """
        if self.rounded_down:
            return _rounded_down(self.kinds, requests, int(replicas > 1))
        return _shared_out(self.kinds, requests, replicas)

    def load(self, requests: int, shared_prefix: int = 0, prefixes: int = 1, replicas: int = 1) -> Load:
        """So many requests on each of some replicas: what the first of them has."""
        together: dict[int, int] = {}
        for kind, number in zip(self.kinds, self.shared_out(requests, replicas), strict=True):
            if number:
                tokens = kind.average if self.on_average else kind.peak
                together[tokens] = together.get(tokens, 0) + number
        alike = tuple(Alike(number, tokens) for tokens, number in together.items())
        mixed = alike if any(tokens != self.longest for tokens in together) else ()
        return Load(sum(together.values()), self.longest, shared_prefix, mixed, prefixes)

    def at(self, share: Fraction) -> Kind:
        """The shortest kind so that at least such a share of requests is no longer than it: a percentile."""
        ascending = self.kinds[::-1]
        return ascending[bisect_left(list(accumulate(kind.share for kind in ascending)), share)]


Lengths = int | Mix
"""Tokens of each of some sequences, or the requests that they are."""


def longest(lengths: Lengths) -> int:
    """Tokens of the longest."""
    return lengths.longest if isinstance(lengths, Mix) else lengths


def load_of(sequences: int, lengths: Lengths, shared_prefix: int = 0, prefixes: int = 1, replicas: int = 1) -> Load:
    """What one replica has, with so many sequences of such lengths on each of them.

    Of a prefix that is longer than they are, they share all that they have.
    """
    if isinstance(lengths, Mix):
        return lengths.load(sequences, shared_prefix, prefixes, replicas)
    return Load(sequences, lengths, min(shared_prefix, lengths), (), prefixes)


def _percent(share: Fraction) -> str:
    return f"{float(100 * share):.15g}%"


@lru_cache(maxsize=256)
def _weights(kinds: tuple[Kind, ...]) -> tuple[tuple[int, ...], int]:
    """The shares as whole numbers, and their sum."""
    whole = lcm(*(kind.share.denominator for kind in kinds))
    return tuple(int(kind.share * whole) for kind in kinds), whole


@lru_cache(maxsize=4096)
def _shared_out(kinds: tuple[Kind, ...], requests: int, replicas: int) -> tuple[int, ...]:
    weights, whole = _weights(kinds)
    each = [divmod(weight * requests * replicas, whole) for weight in weights]
    numbers = [number for number, _ in each]
    order = sorted(range(len(kinds)), key=lambda index: -each[index][1])
    for index in order[: requests * replicas - sum(numbers)]:
        numbers[index] += 1
    if replicas == 1:
        return tuple(numbers)
    ends = [-(-end // replicas) for end in accumulate(numbers, initial=0)]
    return tuple(end - start for start, end in pairwise(ends))


def _rounded_down(kinds: tuple[Kind, ...], requests: int, fewer: int) -> tuple[int, ...]:
    weights, whole = _weights(kinds)
    return tuple(max(0, weight * requests // whole - fewer) for weight in weights)
