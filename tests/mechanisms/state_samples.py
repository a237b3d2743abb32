"""Mechanisms with constant states, as published models have them."""

from __future__ import annotations

from typing import Any

from fuzzing import examples

import kvcalc
from kvcalc.mechanisms import (
    KDA,
    MLA,
    GatedDeltaNet,
    Lightning,
    Mamba1,
    Mamba2,
    Mechanism,
    ShortConv,
)
from kvcalc.model.layers import LayerGroup

laws = examples(60)

QWEN3_NEXT = GatedDeltaNet(num_k_heads=16, num_v_heads=32, k_head_dim=128, v_head_dim=128, conv_kernel=4)
KIMI_LINEAR = KDA(num_heads=32, head_dim=128, conv_kernel=4)
NEMOTRON_H = Mamba2(num_heads=128, head_dim=64, state_size=128, num_groups=8, conv_kernel=4)
FALCON_MAMBA = Mamba1(intermediate_size=8192, state_size=16, conv_kernel=4)
LFM2 = ShortConv(hidden_size=2048, conv_kernel=3)
MINIMAX_01 = Lightning(num_heads=64, head_dim=128)
DEEPSEEK_V32 = MLA(
    num_heads=128,
    kv_lora_rank=512,
    qk_rope_head_dim=64,
    qk_nope_head_dim=128,
    v_head_dim=128,
    index_head_dim=128,
    index_n_heads=64,
    index_topk=2048,
)


def model(*attentions: Mechanism, count: int = 1, **group: Any) -> kvcalc.Model:
    layers = tuple(LayerGroup(count=count, attention=attention, **group) for attention in attentions)
    return kvcalc.Model(name="m", dtype="bf16", layers=layers)


def cache(asked: kvcalc.Model, **options: Any) -> Any:
    return kvcalc.estimate(asked, **options).cache
