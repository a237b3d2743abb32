"""What a trace says, whatever file it was in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from array import array

SECOND = 10**9
"""Nanoseconds, in which times are counted."""


class Hashes(NamedTuple):
    """The blocks of each request's input, named so that equal prefixes have equal names.

    Attributes:
        block_tokens: tokens of a block; the last of a request may have fewer.
        ids: of all requests, one after another, each name as a number from 0.
        ends: where those of each request end.
    """

    block_tokens: int
    ids: array[int]
    ends: array[int]


class Trace(NamedTuple):
    """Requests in the order of their arrival.

    Attributes:
        format: which public format it is in, or 'columns'.
        arrivals: nanoseconds since an epoch of the trace's own, ascending; None where it has no times.
        inputs: tokens of each prompt.
        outputs: tokens that each generated.
        time_unit: of the file's times, in words; None without times.
        hashes: None where the file has none.
        disordered: requests that the file has after one that arrived later.
    """

    format: str
    arrivals: array[int] | None
    inputs: array[int]
    outputs: array[int]
    time_unit: str | None
    hashes: Hashes | None
    disordered: int
