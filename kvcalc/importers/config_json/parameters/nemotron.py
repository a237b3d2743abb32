"""Feed-forward blocks of Nemotron-H, a layer each, and of Nemotron-NAS, each of its own width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.dense_width import MAX_FACTOR
from kvcalc.importers.config_json.experts import PER_TOKEN, expert_width, number_of_experts
from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.config_json.layer_lists import nemotron_types
from kvcalc.importers.config_json.parameters.attention import holds
from kvcalc.importers.config_json.parameters.feed_forward import FeedForward, block_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.importers.config import Config
    from kvcalc.importers.config_json.parameters.anatomy import Anatomy
    from kvcalc.importers.imported_layer import ImportedLayer


def nemotron_h_feed_forward(config: Config, anatomy: Anatomy, _: object) -> FeedForward | None:
    """Dense blocks, and experts, which may work in a narrower space.

    Source: transformers 5.24.0, models/nemotron_h/modeling_nemotron_h.py, NemotronHMLP and NemotronHMoE.
    """
    types, width = nemotron_types(config), config.optional_count("intermediate_size")
    dense, sparse = types.count("mlp"), types.count("moe")
    if dense and width is None:
        return None
    total = dense * block_parameters(config, anatomy, width.value) if width is not None else 0
    if not sparse:
        return FeedForward(total, 0)
    experts, inner = number_of_experts(config), expert_width(config)
    shared = config.optional_count("moe_shared_expert_intermediate_size")
    per_token = config.optional_uniform(*PER_TOKEN)
    if not experts or inner is None or shared is None or per_token is None:
        return None
    hidden, latent = int(config.count(*HIDDEN).value), config.optional_count("moe_latent_size")
    each = 2 * (hidden if latent is None else latent.value) * inner.value
    one = experts * each + experts * hidden + block_parameters(config, anatomy, shared.value)
    if latent is not None:
        one += 2 * hidden * latent.value + (hidden + latent.value if holds(config, anatomy.mlp_bias) else 0)
    return FeedForward(total + sparse * one, sparse * (experts - per_token.value) * each)


def nemotron_nas_feed_forward(config: Config, anatomy: Anatomy, layers: Sequence[ImportedLayer]) -> FeedForward | None:
    """Two thirds of ffn_mult times hidden_size, up to a multiple of 256; and a norm before each block that is there.

    Source: vLLM 0.33.0, vllm/model_executor/models/nemotron_nas.py, DeciLMDecoderLayer.

    Raises:
        KvcalcError: an ffn_mult that is none.
    """
    hidden, total = int(config.count(*HIDDEN).value), 0
    blocks = config.parts("block_configs", len(layers))
    for block in blocks:
        block.ignore("attention")  # which the layers are made of
    for layer, block in zip(layers, blocks, strict=True):
        inner = block.part("ffn", optional=True)
        if any((block.values.get(name) or {}).get("replace_with_linear") for name in ("attention", "ffn")):
            return None
        total += 0 if layer.blocks[0].kind == "none" else hidden
        if inner.flag("no_op"):
            continue
        factor = inner.get("ffn_mult")
        if factor is None:
            return None
        if not (isinstance(factor.value, (int, float)) and 0 < factor.value <= MAX_FACTOR):
            raise config.refusal(f"ffn_mult is no number up to {MAX_FACTOR}")
        width = -(-int(2 * factor.value * hidden / 3) // 256) * 256
        total += hidden + block_parameters(config, anatomy, width)
    return FeedForward(total, 0)
