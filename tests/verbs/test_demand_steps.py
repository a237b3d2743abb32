"""Steps that are mostly not looked at, beside every request at every moment."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.memory import Ranks
from kvcalc.scenario.make import make_scenario
from kvcalc.verbs.demand.bounds import steps_over_time
from kvcalc.verbs.demand.held import Steps, held
from kvcalc.verbs.demand.over_time import BUCKETS, bucket_edges
from kvcalc.verbs.demand.quantiles import percentile_of, percentiles
from kvcalc.verbs.demand.staircases import Staircase, staircases
from kvcalc.verbs.demand.stays import Stays

if TYPE_CHECKING:
    import random

LONGEST = 400
SHARES = (Fraction(1, 100), Fraction(50, 100), Fraction(90, 100), Fraction(95, 100), Fraction(99, 100))


def drawn_steps(draw: random.Random) -> Steps:
    """Of a few groups of layers, each with its period, some of which end, and of single steps anywhere."""
    rises = dict.fromkeys([draw.randrange(1, LONGEST) for _ in range(draw.randrange(4))], 3)
    for _ in range(draw.randrange(1, 5)):
        first, period = draw.randrange(1, 40), draw.choice([1, 2, 3, 4, 8, 16, 60])
        height, last = draw.choice([1, 2, 5, 40]), draw.choice([LONGEST, LONGEST, draw.randrange(20, LONGEST)])
        for at in range(first, last + 1, period):
            rises[at] = rises.get(at, 0) + height
    corners = sorted(rises)
    values = [0]
    for at in corners:
        values.append(values[-1] + rises[at])
    return Steps((0, *corners), tuple(values))


def drawn_stays(draw: random.Random) -> Stays:
    """Some begin at the same tick, or as others are done, or go up steps at the same time."""
    token, number = draw.choice([60, 61, 1000]), draw.randrange(1, 30)  # a token is many ticks
    starts = sorted(draw.randrange(draw.choice([1, 20, 50_000])) * draw.choice([1, token]) for _ in range(number))
    starts = [start - starts[0] for start in starts]
    prompts = array("q", [draw.randrange(LONGEST // 2) for _ in range(number)])
    generated = array("q", [draw.randrange(1, LONGEST // 2) for _ in range(number)])
    return Stays(1000, token, starts, prompts, generated, array("q", range(number)), (0, 0))


def moment_by_moment(stays: Stays, steps: Steps, base: int) -> tuple[dict[int, int], list[int]]:
    """How long so much is held, and the most in each bucket, every request asked whenever something changes."""
    taken = [steps.bytes[bisect_right(steps.tokens, tokens) - 1] for tokens in range(LONGEST + 1)]
    coming = [*zip(stays.starts, stays.prompts, stays.generated, strict=True)]
    moments = {start + token * stays.token for start, _, generated in coming for token in range(generated + 1)}
    moments |= {0, *bucket_edges(stays.end)}
    level, most = dict[int, int](), [0] * BUCKETS
    for now, until in pairwise(sorted(moments)):
        held_then = base
        for start, prompt, generated in coming:
            if start <= now < start + generated * stays.token:
                held_then += taken[prompt + 1 + (now - start) // stays.token]
        level[held_then] = level.get(held_then, 0) + until - now
        bucket = now * BUCKETS // stays.end
        most[bucket] = max(most[bucket], held_then)
    return level, most


@examples(40)
@given(st.randoms(use_true_random=False))
def test_steps_are_those_of_every_moment(draw: random.Random) -> None:
    steps, stays = drawn_steps(draw), drawn_stays(draw)
    level, most = moment_by_moment(stays, steps, 7)
    found = steps_over_time(stays, steps, 7, SHARES, stays.number)
    assert percentiles(found, SHARES) == [percentile_of(level, share) for share in SHARES]
    assert found.buckets == tuple(most)
    assert found.sum == 2 * sum(value * ticks for value, ticks in level.items())
    assert sum(found.level.values()) == stays.end


@examples(40)
@given(st.randoms(use_true_random=False))
def test_staircases_add_up_to_the_steps(draw: random.Random) -> None:
    steps = drawn_steps(draw)
    found, alone = staircases(steps)
    rises = dict(alone)
    for stair in found:
        for at in range(stair.first, stair.last + 1, stair.period):
            rises[at] = rises.get(at, 0) + stair.height
    value = 0
    for at, held_there in zip(steps.tokens, steps.bytes, strict=True):
        value += rises.pop(at, 0)
        assert value == held_there
    assert not rises


@pytest.mark.parametrize(
    ("model", "engine", "stairs"),
    [
        ("llama-3-8b", "vllm", [(1, 19985, 16)]),
        ("gemma-3-27b", "vllm", [(1, 17393, 16), (17409, 19985, 16)]),  # 16,384 tokens of a step beside the window
        ("deepseek-v4-flash", "exact", [(1, 8, 1), (4, 20000, 4), (9, 128, 1), (128, 19968, 128)]),
    ],
)
def test_staircases_of_models(model: str, engine: str, stairs: list[tuple[int, int, int]]) -> None:
    """Blocks of 16 tokens; of DeepSeek-V4 entries of 4 and of 128 tokens, beside windows of 128 and what makes them."""
    scenario = make_scenario(model, context=20_000, engine=engine)
    shape = held(Ranks(scenario), kvcalc.Deployment(), 20_000).each
    assert isinstance(shape, Steps)
    found, alone = staircases(shape)
    assert [stair[:3] for stair in found] == stairs
    assert all(isinstance(stair, Staircase) for stair in found)
    assert not alone
