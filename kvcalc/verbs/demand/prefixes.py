"""Hits of a prefix cache: blocks by name, of which the one that was not used for longest is dropped first.

A block is found where all before it are. Of one request the last blocks are dropped first, as vLLM frees them in
reverse (vllm/v1/core/single_type_kv_cache_manager.py, free).
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heappop, heappush
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from kvcalc.traces import Hashes
    from kvcalc.verbs.demand.stays import Stays


class Hits(NamedTuple):
    """Tokens of prompts that were found, of a cache of that capacity and of one that drops nothing."""

    tokens: int
    unbounded: int


def hits_of(hashes: Hashes, stays: Stays, capacity: Callable[[int], int]) -> Hits:
    """What is found of all requests.

    Args:
        hashes: of the blocks of each prompt.
        stays: the requests.
        capacity: of the cache in blocks, beside requests that hold so many tokens.
    """
    block, ids, ends = hashes.block_tokens, hashes.ids, hashes.ends
    used: OrderedDict[int, None] = OrderedDict()
    seen: set[int] = set()
    found = unbounded = 0
    running = _Running(stays.token)
    for start, prompt, generated, number in zip(
        stays.starts, stays.prompts, stays.generated, stays.numbers, strict=True
    ):
        blocks = ids[ends[number - 1] if number else 0 : ends[number]]
        found += min(prompt, block * _leading(blocks, used))
        unbounded += min(prompt, block * _leading(blocks, seen))
        seen.update(blocks)
        running.begin(start, prompt, generated)
        for each in reversed(blocks):
            used[each] = None
            used.move_to_end(each)
        most = max(0, capacity(running.tokens))
        while len(used) > most:
            used.popitem(last=False)
    return Hits(found, unbounded)


def _leading(blocks: Iterable[int], known: Container[int]) -> int:
    """How many of the first blocks are there."""
    return sum(1 for _ in takewhile(known.__contains__, blocks))


class _Running:
    """The tokens that admitted requests hold, as time passes."""

    def __init__(self, token: int) -> None:
        self._token, self._ends = token, list[tuple[int, int, int]]()
        self._prompts = self._starts = self._now = 0

    def begin(self, start: int, prompt: int, generated: int) -> None:
        """A request is admitted; those that are done by then are gone."""
        while self._ends and self._ends[0][0] <= start:
            _, begun, tokens = heappop(self._ends)
            self._starts -= begun
            self._prompts -= tokens
        heappush(self._ends, (start + generated * self._token, start, prompt))
        self._starts += start
        self._prompts += prompt
        self._now = start

    @property
    def tokens(self) -> int:
        """Held now, rounded up."""
        return self._prompts - (self._starts - len(self._ends) * self._now) // self._token
