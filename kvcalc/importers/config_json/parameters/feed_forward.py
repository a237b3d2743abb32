"""Parameters of feed-forward blocks: dense, or experts with their router."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.importers.config_json.dense_width import as_built
from kvcalc.importers.config_json.experts import (
    PER_TOKEN,
    SHARED,
    expert_width,
    number_of_experts,
    of_experts,
    shared_width,
    sparse_layers,
)
from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.config_json.parameters.attention import holds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.importers.config import Config
    from kvcalc.importers.config_json.parameters.anatomy import Anatomy
    from kvcalc.importers.imported_layer import ImportedLayer

WIDTH = ("block_ff_dim", "intermediate_size", "n_inner", "ffn_hidden_size", "ffn_dim")

_OWN_WIDTH = {
    "granitemoehybrid": "shared_intermediate_size",  # a shared block that is there without experts too
    "llama4_text": "intermediate_size_mlp",  # intermediate_size is the experts'
}
_FOUR_TIMES = {"gpt2", "gpt_neo", "gptj", "codegen", "gpt_bigcode", "bloom", "falcon", "mpt", "phi-msft"}
"""Families whose blocks are four times hidden_size wide where no key has their width."""


class FeedForward(NamedTuple):
    """Parameters of all layers' blocks.

    Attributes:
        parameters: all.
        idle: of those, what a token does not pass through.
    """

    parameters: int
    idle: int


def feed_forward_parameters(config: Config, anatomy: Anatomy, layers: int) -> FeedForward | None:
    """Those of all layers; None where their shape is not known."""
    if not anatomy.feed_forward:
        return FeedForward(0, 0)
    sparse, experts = sparse_layers(config), number_of_experts(config)
    if experts is None or (sparse is None and experts):
        return None
    if sparse is None or not experts:
        return _all_dense(config, anatomy, layers)
    width, per_token = expert_width(config), of_experts(config).optional_uniform(*PER_TOKEN)
    dense = _all_dense(config, anatomy, layers - sum(sparse))
    if width is None or per_token is None or dense is None:
        return None
    hidden = int(config.count(*HIDDEN).value)
    each = (3 if anatomy.gated else 2) * hidden * width.value
    router = hidden * experts
    if anatomy.expert_bias:
        each += 2 * width.value + hidden
        router += experts
    if anatomy.router_bias:
        router += experts
    one = experts * each + router + _shared(config, anatomy, width.value) + (hidden if anatomy.expert_norm else 0)
    idle = (experts - per_token.value) * each
    return FeedForward(dense.parameters + sum(sparse) * one, sum(sparse) * idle)


def longcat_feed_forward(config: Config, anatomy: Anatomy, layers: Sequence[ImportedLayer]) -> FeedForward | None:
    """LongCat-Flash: two dense blocks beside the experts; the router chooses among some more, which have no weights.

    How many of a token's experts have weights differs, so none counts as idle.
    """
    dense, experts = _all_dense(config, anatomy, 2 * len(layers)), number_of_experts(config)
    width, empty = expert_width(config), config.optional_count("zero_expert_num", least=0)
    if dense is None or not experts or width is None or empty is None:
        return None
    hidden = int(config.count(*HIDDEN).value)
    each_layer = experts * 3 * hidden * width.value + hidden * (experts + empty.value)
    return FeedForward(dense.parameters + len(layers) * each_layer, 0)


def _all_dense(config: Config, anatomy: Anatomy, layers: int) -> FeedForward | None:
    if not layers:
        return FeedForward(0, 0)
    width = _dense_width(config)
    return None if width is None else FeedForward(layers * block_parameters(config, anatomy, width), 0)


def _shared(config: Config, anatomy: Anatomy, width: int) -> int:
    number, own = config.optional_uniform(*SHARED, least=0), shared_width(config)
    inner = own.value if own is not None else width * (anatomy.shared_experts if number is None else number.value)
    if not inner:
        return 0
    return block_parameters(config, anatomy, inner) + (int(config.count(*HIDDEN).value) if anatomy.shared_gate else 0)


def _dense_width(config: Config) -> int | None:
    if config.model_type in _OWN_WIDTH:
        own = config.optional_count(_OWN_WIDTH[config.model_type])
        return None if own is None else int(own.value)
    found = config.optional_uniform(*WIDTH)
    if found is None:
        return 4 * int(config.count(*HIDDEN).value) if config.model_type in _FOUR_TIMES else None
    return int(as_built(config, found).value)


def block_parameters(config: Config, anatomy: Anatomy, width: int) -> int:
    """Those of one dense block of this width."""
    hidden = config.count(*HIDDEN).value
    matrices = 3 if anatomy.gated else 2
    bias = ((matrices - 1) * width + hidden) if holds(config, anatomy.mlp_bias) else 0
    return int(matrices * hidden * width + bias + anatomy.activation)
