"""What the ranks of a deployment hold: weights, cache, temporary, overhead, and what the user reserves."""

from __future__ import annotations

from kvcalc.memory.blocks import split_blocks
from kvcalc.memory.overhead import overhead
from kvcalc.memory.parts import beside_experts, left_alone
from kvcalc.memory.rank import Rank
from kvcalc.memory.rank_memory import Fit, RankMemory
from kvcalc.memory.ranks import Ranks, fullest, memories_of, rank_memories, ranks_of
from kvcalc.memory.weights import replica_weights, uncounted_copies, weights_basis

__all__ = [
    "Fit",
    "Rank",
    "RankMemory",
    "Ranks",
    "beside_experts",
    "fullest",
    "left_alone",
    "memories_of",
    "overhead",
    "rank_memories",
    "ranks_of",
    "replica_weights",
    "split_blocks",
    "uncounted_copies",
    "weights_basis",
]
