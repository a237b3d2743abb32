"""How much of the prompts of a trace with hashes a prefix cache finds."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Role
from kvcalc.note import Note, note
from kvcalc.verbs.demand.prefixes import hits_of
from kvcalc.verbs.demand.result import PrefixHits
from kvcalc.verbs.searching.capacity_search import replica_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario
    from kvcalc.traces import Hashes, Trace
    from kvcalc.verbs.demand.held import Held
    from kvcalc.verbs.demand.stays import Stays
    from kvcalc.verbs.searching.candidate import Candidate


def prefix_hits(
    scenario: Scenario, trace: Trace, stays: Stays, each: Held, largest: Candidate | None, size: int | None
) -> tuple[PrefixHits | None, tuple[Note, ...]]:
    """The hits, and what to know of them; None where they are not counted.

    Args:
        scenario: the model and its accelerator.
        trace: with hashes, or without.
        stays: its requests.
        each: what one holds.
        largest: the deployment that holds the most that is ever held.
        size: bytes for blocks; None: what requests leave of the memory of a deployment.

    Raises:
        KvcalcError: a size is given, and nothing is to be counted.
    """
    why = _why_not(scenario.model, trace)
    if why is None and size is None and scenario.deployment is None and largest is None:
        why = "what requests leave is not known without a deployment that holds them: give --prefix-cache SIZE"
    if why is not None or trace.hashes is None:
        if size is not None:
            raise KvcalcError(f"--prefix-cache: {why}")
        told = () if trace.hashes is None else (note("prefix-hits-not-counted", f"prefix hits: {why}", reason=why),)
        return None, told
    hashes = trace.hashes
    block = each.one(1, hashes.block_tokens) - each.one(0, 1)
    if size is not None:
        blocks = size // block
        found = hits_of(hashes, stays, lambda _: blocks)
    else:
        found = hits_of(hashes, stays, _left(scenario, largest, hashes.block_tokens))
    prompts = sum(stays.prompts)
    hits = PrefixHits(
        hashes.block_tokens,
        block,
        size,
        found.tokens,
        round(found.tokens / prompts, 6) if prompts else 0.0,
        round(found.unbounded / prompts, 6) if prompts else 0.0,
    )
    told_of = note(
        "prefix-hits-beside",
        "requests are assumed to hold their prefixes each for itself; hits are of a cache beside them",
    )
    return hits, (told_of, *_of_a_part(trace, hashes))


def _of_a_part(trace: Trace, hashes: Hashes) -> Iterator[Note]:
    """Where prompts have whole blocks without a name: those are taken for new, or blocks are larger than is said."""
    block = hashes.block_tokens
    blocks = [end - start for start, end in pairwise(chain((0,), hashes.ends))]
    named = [min(prompt, block * number) for prompt, number in zip(trace.inputs, blocks, strict=True)]
    if all(prompt - each < block for prompt, each in zip(trace.inputs, named, strict=True)):
        return
    share = sum(named) / sum(trace.inputs)
    yield note(
        "hash-ids-of-a-part",
        f"hash_ids name {100 * share:.1f}% of the prompts' tokens, in blocks of {block:,}: the others are taken for "
        "new each time (--hash-block sets how many tokens a block has)",
        share=round(share, 6),
        block_tokens=block,
    )


def _why_not(model: Model, trace: Trace) -> str | None:
    if trace.hashes is None:
        return "the trace has no hash_ids, which tell equal prefixes"
    for layer in model.distinct():
        if layer.span is not None or any(
            tensor.role in (Role.STATE, Role.CONV) or tensor.last is not None or tensor.rows is not None
            for tensor in layer.attention.cached()
        ):
            return "are counted for models whose layers all keep every token, which this one's do not"
    return None


def _left(scenario: Scenario, largest: Candidate | None, block: int) -> Callable[[int], int]:
    """Blocks that fit beside requests with so many tokens."""
    deployment = scenario.deployment
    if deployment is None and largest is not None:
        deployment = largest.deployment
    assert deployment is not None  # noqa: S101  # else there is a reason why not
    replica = replica_of(scenario, deployment)
    per_rank = [
        (max(0, memory), taken)
        for rank, memory in zip(replica.ranks, replica.cache_memory, strict=True)
        if (taken := rank.cache_bytes(2, block) - rank.cache_bytes(1, block))
    ]
    most = deployment.dp * min(memory // taken for memory, taken in per_rank)
    return lambda tokens: most - -(-tokens // block)
