"""What one request holds as a function of its tokens: worked out once, by the same code as an estimate.

Where a token more always costs something, a request's bytes grow steadily between whole tokens (`Slopes`); where an
engine takes whole blocks, they jump as the first token of a block begins (`Steps`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines import Load
from kvcalc.engines.load import Alike
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.deployment import Deployment
    from kvcalc.memory import Ranks

MAX_CORNERS = 3 * 10**5
"""Steps of a request's bytes that are looked at: 4.8 million tokens in blocks of 16."""


class Slopes(NamedTuple):
    """Straight lines between corners.

    Attributes:
        tokens: of the corners, ascending; the first is 0.
        bytes: at each corner.
        rates: from each corner on, in bytes for `every` tokens.
        every: tokens.
    """

    tokens: tuple[int, ...]
    bytes: tuple[int, ...]
    rates: tuple[int, ...]
    every: int


class Steps(NamedTuple):
    """Constant between steps.

    Attributes:
        tokens: from which it is so much, ascending; the first is 0.
        bytes: from there to the next.
    """

    tokens: tuple[int, ...]
    bytes: tuple[int, ...]


class Held(NamedTuple):
    """What requests hold on all ranks of all replicas, every copy counted.

    Attributes:
        base_bytes: what is there without any request.
        each: what a request adds.
        one: so many requests of so many tokens each on one replica, and what is there without them.
    """

    base_bytes: int
    each: Slopes | Steps
    one: Callable[[int, int], int]


def held(ranks: Ranks, deployment: Deployment, longest: int) -> Held:
    """What requests of up to so many tokens hold on a deployment.

    Raises:
        KvcalcError: the engine serves a whole batch at once, or what it reserves for several requests is no sum.
    """
    engine = ranks.scenario.engine
    if engine.whole_batch is not None:
        raise KvcalcError(
            f"--engine: {engine.name} {engine.whole_batch}: kvcalc estimate --engine {engine.name} -b N -c M says how "
            "much that is; --engine exact counts what requests hold as they come and go"
        )
    one = replace(deployment, dp=1) if not deployment.dp_attention else deployment
    settled = ranks.settled(one)

    def of(sequences: int, context: int) -> int:
        return total(Load(sequences, context))

    def total(load: Load) -> int:
        return deployment.tp * sum(stage.times * settled.held_bytes(stage, load) for stage in settled.stages)

    base = 2 * of(1, longest) - of(2, longest)
    block = settled.block_tokens

    def each(tokens: int) -> int:
        return of(1, tokens) - base

    lengths = sorted({1, min(block + 1, longest), -(-longest // 50), (longest + 1) // 2, longest})
    mixed = Load(len(lengths), longest, mixed=tuple(Alike(1, tokens) for tokens in reversed(lengths)))
    together = base + sum(map(each, lengths))
    if total(mixed) != together or any(of(2, tokens) - of(1, tokens) != each(tokens) for tokens in lengths):
        raise KvcalcError(
            f"--engine: what {engine.name} reserves for requests of this model that differ is not the sum of what each "
            "takes, so it is not counted over time; --engine exact counts what requests hold"
        )
    steady = _steady(each, block)
    if not steady and longest > MAX_CORNERS * block:
        raise _too_many()
    shape = _slopes(each, longest, block * deployment.dcp) if steady else _steps(each, longest, block)
    return Held(deployment.dp * base, shape, of)


def _steady(each: Callable[[int], int], block: int) -> bool:
    """Whether most tokens cost something, so that there would be a step for each of them.

    Not the first ones, of which windows keep each, however short the longest request is.
    """
    if block == 1:
        return True
    start = 4 * block
    values = [each(tokens) for tokens in range(start, start + block + 1)]
    return 4 * sum(low < high for low, high in pairwise(values)) > block


def _slopes(each: Callable[[int], int], longest: int, every: int) -> Slopes:
    """The corners at multiples of `every`, among which more tokens never cost more than fewer did before them.

    So the middle of a stretch is on the line between its ends only where all of it is.
    """
    last = -(-longest // every) + 1
    known: dict[int, int] = {}

    def at(point: int) -> int:
        if point not in known:
            known[point] = each(point * every)
        return known[point]

    corners = {0, last}
    stretches = [(0, last)]
    while stretches:
        low, high = stretches.pop()
        middle = (low + high) // 2
        if middle == low:
            continue
        if (at(middle) - at(low)) * (high - low) == (at(high) - at(low)) * (middle - low):
            continue
        corners.add(middle)
        stretches += [(low, middle), (middle, high)]
        if len(corners) > MAX_CORNERS:
            raise _too_many()
    points = sorted(corners)
    grown = [(at(high) - at(low), high - low) for low, high in pairwise(points)]
    if any(bytes_ % stretch for bytes_, stretch in grown):
        raise _too_many()  # no straight line: it is none of what this is for
    rates = [bytes_ // stretch for bytes_, stretch in grown]
    kept = [0, *(index for index in range(1, len(rates)) if rates[index] != rates[index - 1])]
    return Slopes(
        tuple(points[index] * every for index in kept),
        tuple(at(points[index]) for index in kept),
        tuple(rates[index] for index in kept),
        every,
    )


def _steps(each: Callable[[int], int], longest: int, block: int) -> Steps:
    """Every number of tokens at which more is taken: the next is a block away, or it is looked for."""
    each = cache(each)
    tokens, values, period, most = [0], [each(0)], block, each(longest)
    while True:
        here, value = tokens[-1], values[-1]
        if most == value:
            return Steps(tuple(tokens), tuple(values))
        at = here + period
        if not (at <= longest and each(at) > value and each(at - 1) == value):
            low, step = here, 1
            while each(min(low + step, longest)) == value:
                low, step = min(low + step, longest), 2 * step
            high = min(low + step, longest)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if each(middle) == value else (low, middle)
            at = high
        tokens.append(at)
        values.append(each(at))
        period = at - here
        if len(tokens) > MAX_CORNERS:
            raise _too_many()


def _too_many() -> KvcalcError:
    return KvcalcError(
        f"--trace: its longest request takes its cache in more than {MAX_CORNERS:,} steps, which are not looked at; "
        "leave it out"
    )
