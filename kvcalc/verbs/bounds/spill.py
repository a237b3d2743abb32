"""Cache that does not fit on an accelerator and is kept in host memory: how many bytes, whatever they cost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.legality import legal_tps
from kvcalc.memory import Rank, Ranks
from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from kvcalc.scenario import Scenario

MOST_TRIED = 3
"""Tensor-parallel sizes that are tried, the smallest, before it is said that none is served."""


class Spilled(NamedTuple):
    """What does not fit.

    Attributes:
        headroom_bytes: for the cache, on the rank with the most spilled.
        bytes_per_rank: of that rank's cache.
        bytes: of all ranks of a replica.
    """

    headroom_bytes: int
    bytes_per_rank: int
    bytes: int


def spilled(scenario: Scenario, deployment: Deployment, ranks: Ranks | None = None) -> Spilled:
    """What a deployment spills of the scenario's workload.

    Args:
        scenario: what is asked.
        deployment: over which ranks.
        ranks: of the scenario, where others of its deployments are looked at too.

    Raises:
        KvcalcError: the weights are not known, or do not fit themselves.
    """
    each = (ranks or Ranks(scenario)).of(deployment)
    refuse_unknown_weights(each[0])
    sequences, context = deployment.sequences(scenario.workload.batch), scenario.workload.lengths
    cache_memory = {rank: memory_for_cache(scenario, rank) for rank in each}
    beyond = {rank: max(0, rank.cache_bytes(sequences, context) - memory) for rank, memory in cache_memory.items()}
    worst = max(beyond, key=lambda rank: beyond[rank])
    return Spilled(
        cache_memory[worst], beyond[worst], deployment.tp * sum(rank.stages_alike * beyond[rank] for rank in each)
    )


def memory_for_cache(scenario: Scenario, rank: Rank) -> int:
    """What a rank of a scenario's deployment has beside all else, with the usual temporary figure.

    Raises:
        KvcalcError: nothing, and less; or the engine keeps some of the cache elsewhere itself.
    """
    if rank.settled.parks_by_itself:
        raise KvcalcError(
            f"--spill: {scenario.engine.name} keeps a part of this cache in host memory already, and takes the rest "
            "from the GPU's pool; leave --spill out, and kvcalc capacity says how many sequences that holds"
        )
    memory = rank.memory_for_cache(rank.temporary.term.bytes)
    if memory < 0:
        lacks = "1 byte" if memory == -1 else f"{-memory:,} bytes"
        raise KvcalcError(
            f"--spill: only cache can be kept in host memory, and a rank lacks {lacks} for the rest; "
            f"{_what_helps(scenario)}"
        )
    return memory


def _what_helps(scenario: Scenario) -> str:
    """More ranks, in the ways that the engine serves the model on several."""
    served = Ranks(replace(scenario, spill=False))
    tps = [Deployment(tp) for tp in legal_tps(scenario.model) if tp > 1][:MOST_TRIED]
    pps = [Deployment(pp=2)] if scenario.model.num_layers > 1 else []
    several = (("--tp", tps), ("--pp", pps)) if scenario.gpu.slice_of is None else ()
    ways = [name for name, sizes in several if any(served.can_hold(each) for each in sizes)]
    if ways:
        return f"give more ranks ({', '.join(ways)})"
    return "take an accelerator with more memory (--gpu), or weights of fewer bits (--weight-dtype)"


def refuse_unknown_weights(rank: Rank) -> None:
    """What is left beside weights that are not known is not known."""
    if rank.weights_bytes is None:
        raise KvcalcError(
            "--spill: what is left beside the weights is not known: give --weights SIZE or --parameters N"
        )
