"""What all ranks of a deployment have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.engines import Settled
    from kvcalc.engines.budget import Temporary
    from kvcalc.memory.parts import Part
    from kvcalc.memory.weights import PartsAlike
    from kvcalc.scenario import Scenario
    from kvcalc.term import Sum


class HeldWeights(NamedTuple):
    """The parts that the ranks of a replica hold together."""

    parts: tuple[Part, ...]
    alike: PartsAlike


class Common(NamedTuple):
    """What all ranks of a deployment have in common.

    Attributes:
        settled: how the engine lays out the deployment.
        weights: None where the model's parameters are not known.
        temporary: memory of one rank, where the engine has no figure of its own or the user gives one.
        reserve: what the user reserves on every rank.
        usual: bytes of that temporary memory, as totals count it.
    """

    scenario: Scenario
    deployment: Deployment
    settled: Settled
    weights: HeldWeights | None
    temporary: Temporary
    reserve: Sum
    usual: int
