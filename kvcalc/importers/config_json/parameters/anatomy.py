"""The words for what families' layers have beside the projections that all have: biases, norms, gates."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple


class Flag(NamedTuple):
    """Whether a family has something: always, never, or by a key.

    Attributes:
        key: of config.json; None where it is always so.
        default: where the key is absent.
    """

    key: str | None
    default: bool = False


NEVER, ALWAYS = Flag(None), Flag(None, default=True)
BIAS, BIAS_UNLESS = Flag("attention_bias"), Flag("attention_bias", default=True)


class Anatomy(NamedTuple):
    """A decoder's layer.

    Attributes:
        qkv_bias: on the projections to queries, keys and values.
        out_bias: on the projection back.
        qk_norm: norms of queries and keys: of a head's width, or of all heads together.
        if_qk_norm: whether it has those.
        doubled_queries: a gate beside each query, as wide.
        gate: a gate on what attention gives, one a head or as wide as the head; 'by gating' reads the key.
        sinks: a learned logit for each head, of all layers or of sliding ones.
        norms: vectors of hidden_size in a layer, without those after the last layer.
        norm_bias: whether each norm has a bias too.
        final_norm: whether there is one after the last layer.
        embedding_norm: whether there is one after the embedding.
        gated: three matrices in a feed-forward block, not two.
        activation: parameters of a block's activation.
        mlp_bias: on each of them, but not on experts'.
        positions: keys that may have the number of learned positions.
        more_positions: beyond those.
        head_bias: on the output head.
        router_bias: a correction for each expert.
        expert_bias: on the experts' matrices and the router.
        expert_norm: a norm more in layers with experts.
        feed_forward: whether layers have such a block at all.
        only_if: keys, maybe of a part, and the values of them that are counted here; with others there is no count.
        shared_gate: a gate before the shared expert.
        shared_experts: as wide as the others, where no key counts them.
    """

    qkv_bias: Flag = NEVER
    out_bias: Flag = NEVER
    qk_norm: Literal["none", "head", "heads", "each head", "head with bias"] = "none"
    if_qk_norm: Flag = ALWAYS
    doubled_queries: bool = False
    gate: Literal["none", "a head", "wide", "by gating"] = "none"
    sinks: Literal["none", "all", "sliding"] = "none"
    norms: int = 2
    norm_bias: bool = False
    final_norm: bool = True
    embedding_norm: bool = False
    gated: bool = True
    activation: int = 0
    mlp_bias: Flag = NEVER
    positions: tuple[str, ...] = ()
    more_positions: int = 0
    head_bias: Flag = NEVER
    router_bias: bool = False
    expert_bias: bool = False
    expert_norm: bool = False
    feed_forward: bool = True
    only_if: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    shared_gate: bool = False
    shared_experts: int = 0
