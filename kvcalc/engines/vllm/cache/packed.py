"""Groups whose layers' pages lie side by side in a block, whatever each one's size.

Named as in vllm/v1/core/kv_cache_planning.py, _get_packed_kv_cache_groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.vllm.cache.span_specs import CircularBuffer, SlidingWindow
from kvcalc.engines.vllm.cache.state_spec import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.engines.vllm.cache.placed import Placed
    from kvcalc.engines.vllm.cache.specs import Spec

    Bucket = dict[int, list[Placed]]  # layers that can be one group, by the size of their pages


def packed_buckets(placed: Sequence[Placed]) -> list[list[Placed]]:
    """The layers of each group.

    Layers of one kind of spec are a bucket. Where each size of page has as many layers, they are a pattern that
    repeats; buckets of one size are split so that all groups have about as many repeats, with the least padding.
    """
    kinds: dict[object, Bucket] = {}
    for each in placed:
        kinds.setdefault(each.spec.uniform, {}).setdefault(each.spec.page, []).append(each)
    buckets = list(kinds.values())
    least = max((_repeats(each) for each in buckets if _balanced(each) and len(each) > 1), default=0)
    repeats = approximate_gcd([_repeats(each) for each in buckets if _balanced(each)], least) if least else None
    split = [-(-_repeats(each) // repeats) if repeats and _balanced(each) else 1 for each in buckets]
    states = [_one_by_one(_first(each), packed=repeats is not None) for each in buckets]
    anchor = max(
        _widest(each, _layers(each) if state else number)
        for each, number, state in zip(buckets, split, states, strict=True)
    )
    found = []
    for bucket, number, state in zip(buckets, split, states, strict=True):
        groups = number
        if state:
            groups = max(number, -(-_layers(bucket) // max(anchor // _first(bucket).page, 1)))
        if groups == 1:
            found.append([each for members in bucket.values() for each in members])
            continue
        patterns = list(zip(*bucket.values(), strict=True))
        found += [[each for pattern in patterns[start::groups] for each in pattern] for start in range(groups)]
    return found


def _one_by_one(spec: Spec, *, packed: bool) -> bool:
    """Whether its layers are put into as many groups as a block of the others has no room for."""
    return isinstance(spec, State | CircularBuffer) or (not packed and isinstance(spec, SlidingWindow))


def _first(bucket: Bucket) -> Spec:
    return next(iter(bucket.values()))[0].spec


def _layers(bucket: Bucket) -> int:
    return sum(map(len, bucket.values()))


def _repeats(bucket: Bucket) -> int:
    """Most layers of one size of page."""
    return max(map(len, bucket.values()))


def _balanced(bucket: Bucket) -> bool:
    """Whether each size of page has as many layers."""
    return len({len(members) for members in bucket.values()}) == 1


def _widest(bucket: Bucket, groups: int) -> int:
    """Bytes of the largest of so many groups."""
    return sum(-(-len(members) // groups) * page for page, members in bucket.items())


def approximate_gcd(values: Sequence[int], least: int) -> int:
    """The divisor that pads these numbers least where each is rounded up to its multiple; of equals the largest."""
    return min(range(least, max(values) + 1), key=lambda each: (sum(-value % each for value in values), -each))
