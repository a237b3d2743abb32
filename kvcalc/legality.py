"""Which deployments a model can have.

Legality is about heads, layers and experts; whether the memory is enough is another question.
"""

from __future__ import annotations

from math import gcd, isqrt
from typing import TYPE_CHECKING

from kvcalc.deployment import ranks_per_head
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvcalc.deployment import Deployment
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model


def why_tp_is_illegal(mechanisms: Iterable[Mechanism], tp: int) -> str | None:
    """Which heads do not spread over tp ranks; None where every layer's do.

    Query heads, and heads or channels of states, must divide by tp; KV heads and groups divide by tp or are copied
    evenly.
    """
    for mechanism in mechanisms:
        for heads in mechanism.divided:
            if heads.value % tp:
                return f"{heads.value} {heads.noun}s do not divide by {tp}"
        for tensor in mechanism.cached():
            if tensor.num_heads % tp and tp % tensor.num_heads:
                noun = "KV heads" if tensor.role is Role.CACHE else "groups"
                return f"{tensor.num_heads} {noun} neither divide by {tp} nor {tp} by them"
    return None


def legal_tps(model: Model, at_most: int | None = None) -> list[int]:
    """Every legal tensor-parallel size, smallest first."""
    kinds = [layer.attention for layer in model.layout.kinds]
    divided = {heads.value for kind in kinds for heads in kind.divided}
    copied = {tensor.num_heads for kind in kinds for tensor in kind.cached()}
    candidates = _divisors(gcd(*divided) or 1, at_most)
    return [tp for tp in candidates if all(heads % tp == 0 or tp % heads == 0 for heads in copied)]


def legal_dcps(model: Model, tp: int) -> list[int]:
    """Every legal decode-context-parallel size among tp ranks.

    Ranks share the tokens of a head that they all hold: where a head is on several ranks (a latent or MQA's head on all
    tp, KV heads on tp / num_kv_heads), dcp divides their number. Windows, states and an indexer's keys stay whole.
    """
    copies = [
        ranks_per_head(tensor.num_heads, tp)
        for layer in model.distinct()
        if layer.span is None
        for tensor in layer.attention.cached()
        if tensor.role is Role.CACHE and tensor.rows is None and tensor.last is None
    ]
    return _divisors(gcd(*copies) or 1)


def _divisors(number: int, at_most: int | None = None) -> list[int]:
    """Ascending; with a limit, those up to it."""
    limit = number if at_most is None else min(number, at_most)
    small = [each for each in range(1, isqrt(number) + 1) if number % each == 0]
    return [each for each in sorted({*small, *(number // each for each in small)}) if each <= limit]


def legal_eps(model: Model, expert_ranks: int) -> list[int]:
    """Every legal expert-parallel size: a divisor of the ranks that share the experts, no larger than the experts."""
    most = min(expert_ranks, model.num_experts or 1)
    return [ep for ep in range(1, most + 1) if expert_ranks % ep == 0]


def check_legal(deployment: Deployment, model: Model) -> None:
    """Refuse a deployment that this model cannot have, naming the legal values.

    Raises:
        KvcalcError: the tp, pp, dcp, ep or dp-attention is illegal.
    """
    tp, num_layers = deployment.tp, model.num_layers
    if tp > 1 and tp not in (legal := legal_tps(model)):
        raise KvcalcError(f"tp: {tp} is illegal for this model; legal are {_listed(legal)} ({_rule(model)})")
    if deployment.pp > num_layers:
        raise KvcalcError(f"pp: {deployment.pp} is illegal for this model; legal are 1 to {num_layers}, its layers")
    if deployment.dcp > 1 and deployment.dcp not in (dcps := legal_dcps(model, tp)):
        raise KvcalcError(
            f"dcp: {deployment.dcp} is illegal for this model at tp {tp}; legal are {_listed(dcps)} "
            "(it divides the number of ranks that hold the same KV head, or the same latent; windows are not split)"
        )
    _check_experts(deployment, model)


def _check_experts(deployment: Deployment, model: Model) -> None:
    if not model.is_mixture_of_experts and (deployment.ep > 1 or deployment.dp_attention):
        name = "ep" if deployment.ep > 1 else "dp-attention"
        raise KvcalcError(f"{name}: {model.name} has no experts to spread or share; --dp N makes replicas of all of it")
    if deployment.dp_attention and deployment.dp == 1:
        raise KvcalcError("dp-attention: needs at least two replicas that share the experts: give --dp N")
    if deployment.ep > 1 and deployment.ep not in (eps := legal_eps(model, deployment.expert_ranks)):
        ranks = "tp x dp" if deployment.dp_attention else "tp"
        if deployment.expert_ranks == 1:
            raise KvcalcError(f"ep: {deployment.ep} ranks cannot share the experts of one rank; give --tp N too")
        raise KvcalcError(
            f"ep: {deployment.ep} is illegal for {model.num_experts} experts on {deployment.expert_ranks} ranks; legal "
            f"are {_listed(eps)} (it divides {ranks}, the ranks of a stage that share the experts)"
        )


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))


def _rule(model: Model) -> str:
    states = any(layer.attention.kept_per == "sequence" for layer in model.distinct())
    also = " and those of states" if states else ""
    return f"query heads{also} divide by tp, and KV heads divide by tp or tp by KV heads"
