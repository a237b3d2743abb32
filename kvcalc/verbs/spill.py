"""Cache that has no room on an accelerator and is kept in its host's memory: how many bytes, whatever they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.memory import Rank, ranks_of

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.scenario import Scenario


class Spilled(NamedTuple):
    """What does not fit.

    Attributes:
        room_bytes: for the cache, on the rank with the most spilled.
        bytes_per_rank: of that rank's cache.
        bytes: of all ranks of a replica.
    """

    room_bytes: int
    bytes_per_rank: int
    bytes: int


def spilled(scenario: Scenario, deployment: Deployment) -> Spilled:
    """What a deployment spills of the scenario's workload.

    Raises:
        KvcalcError: the weights are not known, or have no room themselves.
    """
    ranks = ranks_of(scenario, deployment)
    refuse_unknown_weights(ranks[0])
    sequences, context = deployment.sequences(scenario.workload.batch), scenario.workload.context
    rooms = {rank: room_for_cache(scenario, rank) for rank in ranks}
    beyond = {rank: max(0, rank.cache_bytes(sequences, context) - room) for rank, room in rooms.items()}
    worst = max(beyond, key=lambda rank: beyond[rank])
    return Spilled(rooms[worst], beyond[worst], deployment.tp * sum(beyond[rank] for rank in ranks))


def room_for_cache(scenario: Scenario, rank: Rank) -> int:
    """What a rank has beside all else, with the usual temporary figure.

    Raises:
        KvcalcError: nothing, and less.
    """
    room = scenario.usable_bytes - rank.fixed_bytes - rank.temporary.term.bytes
    if room < 0:
        raise KvcalcError(
            f"--spill: only cache can be kept in the host's memory, and a rank lacks {-room:,} bytes for the rest; "
            "give more ranks (--tp, --pp)"
        )
    return room


def refuse_unknown_weights(rank: Rank) -> None:
    """The room beside weights that are not known cannot be told."""
    if rank.weights is None:
        raise KvcalcError("--spill: the room beside the weights is not known: give --weights SIZE or --parameters N")
