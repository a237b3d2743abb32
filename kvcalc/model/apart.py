"""A model's parameters told apart by its dims: tables, towers, experts, routers, matrices of layers, norms and biases.

The model's file tells its tables of n-grams. The embedding and the output head are vocab_size x hidden_size each (one
table where they are tied), the routed experts 3 x hidden_size x moe_intermediate_size each (gate, up and down
projection of a gated feed-forward block), and the rest of the parameters belongs to the layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.mechanisms import GQA, MHA, MLA, MQA, GatedDeltaNet, Mamba2, NoAttention, Shared
from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model

MOST_BESIDE = 200
"""Norms and biases are less than one in so many of the layers' parameters; with more, the matrices are not known."""


class Apart(NamedTuple):
    """Parameters of a model.

    Attributes:
        beside: norms, biases and the like; 0 where they are not told apart from the matrices.
        streams: what mixes residual streams.
        latents: down-projections to latents and an indexer's projections, which have no heads that ranks divide.
        matrices: of the layers without experts and routers, with what is not told apart from them.
    """

    table: int
    ngrams: int
    towers: int
    head: int
    experts: int
    routers: int
    beside: int
    streams: int
    latents: int
    matrices: int

    @property
    def of_layers(self) -> int:
        """All that is neither a table, a tower nor an expert."""
        return self.routers + self.beside + self.streams + self.latents + self.matrices


def told_apart(model: Model) -> Apart | None:
    """What the dims tell of the parameters; None where they do not tell all."""
    experts = expert_parameters(model)
    vocab, hidden, tied = model.vocab_size, model.hidden_size, model.tie_word_embeddings
    towers, ngrams = model.tower_parameters if model.has_towers else 0, model.ngram_parameters or 0
    if model.parameters is None or None in (experts, vocab, hidden, tied, towers):
        return None
    table = (vocab or 0) * (hidden or 0)
    head = 0 if tied else table
    routers = router_parameters(model, hidden or 0) if experts else 0
    rest = model.parameters - table - ngrams - (towers or 0) - head - (experts or 0) - routers
    if rest <= 0:
        return None
    beside, latents = _beside(model, hidden or 0, rest), _latents(model, hidden or 0)
    streams = 0 if beside else model.stream_parameters or 0
    matrices = rest - beside - streams - latents
    if matrices <= 0:
        return None
    return Apart(table, ngrams, towers or 0, head, experts or 0, routers, beside, streams, latents, matrices)


def expert_parameters(model: Model) -> int | None:
    """Parameters of all routed experts, from the model's dims; None where the dims are not known or do not agree.

    `active_parameters` counts num_experts_per_tok of the num_experts and no tables of n-grams: it must tell the same.
    """
    if not model.is_mixture_of_experts:
        return 0
    experts, width, hidden = model.num_experts, model.moe_intermediate_size, model.hidden_size
    if experts is None or width is None or hidden is None:
        return None
    counted = 3 * hidden * width * experts * (model.num_layers - model.first_with_experts)
    if model.parameters and model.active_parameters and model.num_experts_per_tok:
        idle = counted // experts * (experts - model.num_experts_per_tok)
        if model.parameters - model.active_parameters != idle + (model.ngram_parameters or 0):
            return None
    return counted


def router_parameters(model: Model, hidden_size: int) -> int:
    """Parameters of the matrices that choose experts: one in each layer that has them."""
    return (model.num_experts or 0) * hidden_size * (model.num_layers - model.first_with_experts)


def _beside(model: Model, hidden: int, rest: int) -> int:
    """Norms and biases: what the matrices of attention and feed-forward blocks leave of the layers' parameters."""
    attention = gates = 0
    for layer, count in model.distinct().items():
        matrices = projections(layer.attention, hidden, keys_only=model.attention_k_eq_v and layer.span is None)
        if matrices is None:
            return 0
        attention += count * matrices
        if isinstance(layer.attention, MHA | MQA | GQA):
            gates += count * hidden * layer.attention.num_heads * layer.attention.head_dim
    left = (rest - attention - gate - each for gate in (0, gates) for each in _feed_forward(model, hidden))
    return next((each for each in left if 0 <= each * MOST_BESIDE < rest), 0)


def _latents(model: Model, hidden: int) -> int:
    return sum(
        count * projection.rows * projection.columns
        for layer, count in model.distinct().items()
        for projection in layer.attention.projections(hidden)
        if projection.heads is None
    )


def projections(mechanism: Mechanism, hidden: int, *, keys_only: bool) -> int | None:
    """Parameters of the projections of one layer; None of a mechanism whose projections its fields do not tell."""
    match mechanism:
        case GatedDeltaNet():
            keys, values = mechanism.num_k_heads * mechanism.k_head_dim, mechanism.num_v_heads * mechanism.v_head_dim
            return hidden * (2 * keys + 3 * values)
        case Mamba2():
            inner = mechanism.num_heads * mechanism.head_dim
            return hidden * (3 * inner + 2 * mechanism.num_groups * mechanism.state_size + mechanism.num_heads)
        case NoAttention() | Shared():
            return 0
        case MHA() | MQA() | GQA():
            keys = mechanism.cached()[0].num_heads
            values = 0 if keys_only or mechanism.k_equals_v else keys
            wide = mechanism.head_dim if mechanism.v_head_dim is None else mechanism.v_head_dim
            return hidden * ((mechanism.num_heads + keys) * mechanism.head_dim + (values + mechanism.num_heads) * wide)
        case MLA():
            key = mechanism.qk_nope_head_dim + mechanism.qk_rope_head_dim
            queries = mechanism.num_heads * key
            rank = mechanism.q_lora_rank
            asked = hidden * queries if rank is None else rank * (hidden + queries)
            latent = hidden * (mechanism.kv_lora_rank + mechanism.qk_rope_head_dim)
            up = mechanism.kv_lora_rank * mechanism.num_heads * (mechanism.qk_nope_head_dim + mechanism.v_head_dim)
            return asked + latent + up + mechanism.num_heads * mechanism.v_head_dim * hidden
        case _:
            return None


def _feed_forward(model: Model, hidden: int) -> Iterator[int]:
    """Parameters of the feed-forward blocks that are not of routed experts: with a gate, and without."""
    shared = (model.num_shared_experts or 0) * (model.moe_intermediate_size or 0)
    if model.is_mixture_of_experts:
        dense = model.first_with_experts
        widths = dense * (model.intermediate_size or 0) + (model.num_layers - dense) * shared
    else:
        widths = model.num_layers * (model.intermediate_size or 4 * hidden)
    yield 3 * hidden * widths
    yield 2 * hidden * widths
