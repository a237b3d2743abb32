"""Small layers of every kind of attention, each with all that its kind can keep."""

from __future__ import annotations

import kvcalc
from kvcalc.mechanisms import (
    GQA,
    KDA,
    MHA,
    MLA,
    MQA,
    RWKV,
    Attention,
    Compressed,
    Cross,
    GatedDeltaNet,
    Lightning,
    Mamba1,
    Mamba2,
    MLAExpanded,
    NoAttention,
    Shared,
    ShortConv,
)
from kvcalc.model.layers import LayerGroup

SAMPLES: tuple[Attention, ...] = (
    MHA(num_heads=4, head_dim=8, v_head_dim=4),
    MQA(num_heads=4, head_dim=8, v_head_dim=4),
    GQA(
        num_heads=4,
        num_kv_heads=2,
        head_dim=8,
        v_head_dim=4,
        index_head_dim=8,
        index_n_heads=2,
        index_block_size=2,
        index_topk_blocks=4,
    ),
    MLA(
        num_heads=2,
        kv_lora_rank=16,
        qk_rope_head_dim=4,
        qk_nope_head_dim=8,
        v_head_dim=8,
        index_head_dim=128,
        index_n_heads=2,
        index_topk=8,
    ),
    MLA(
        num_heads=2,
        kv_lora_rank=16,
        qk_rope_head_dim=4,
        qk_nope_head_dim=8,
        v_head_dim=8,
        index_head_dim=128,
        index_n_heads=2,
        index_topk=8,
        index_kpool=4,
    ),
    GQA(num_heads=4, num_kv_heads=2, head_dim=16, index_head_dim=64, index_n_heads=2, index_kpool=4, index_topk=8),
    ShortConv(hidden_size=32, conv_kernel=4, dilation=3, whole=True),
    MLAExpanded(num_heads=2, kv_lora_rank=16, qk_rope_head_dim=4, qk_nope_head_dim=8, v_head_dim=8),
    Compressed(
        num_heads=2,
        head_dim=16,
        sliding_window=8,
        compress_ratio=4,
        overlap=True,
        index_head_dim=128,
        index_n_heads=2,
        index_topk=4,
        qk_rope_head_dim=4,
    ),
    Compressed(
        num_heads=2,
        head_dim=16,
        sliding_window=8,
        compress_ratio=2,
        index_head_dim=128,
        index_of_entries=True,
        index_n_heads=2,
        index_topk=4,
        qk_rope_head_dim=4,
    ),
    Compressed(
        num_heads=2,
        head_dim=16,
        sliding_window=8,
        compress_ratio=1,
        index_head_dim=128,
        index_of_entries=True,
        index_n_heads=2,
        index_topk=4,
        qk_rope_head_dim=4,
    ),
    Compressed(num_heads=2, head_dim=16, sliding_window=8, compress_ratio=2, shared_entries=True, index_topk=4),
    Shared(),
    NoAttention(),
    Cross(num_heads=4, num_kv_heads=2, head_dim=8, encoder_context=9),
    GatedDeltaNet(num_k_heads=2, num_v_heads=4, k_head_dim=8, v_head_dim=6, conv_kernel=4),
    KDA(num_heads=2, head_dim=8, conv_kernel=4),
    Mamba1(intermediate_size=16, state_size=4, conv_kernel=4),
    Mamba2(num_heads=4, head_dim=4, state_size=6, num_groups=2, conv_kernel=4),
    ShortConv(hidden_size=16, conv_kernel=3),
    Lightning(num_heads=2, head_dim=6),
    RWKV(hidden_size=12, num_heads=2, head_dim=6),
)

TENSORS = [(attention, tensor.name) for attention in SAMPLES for tensor in attention.cached()]
"""Every tensor that one of them keeps."""


def model_of(*attentions: Attention, count: int = 1, dtype: str = "bf16") -> kvcalc.Model:
    """A model of these layers."""
    layers = tuple(LayerGroup(count=count, attention=attention) for attention in attentions)
    return kvcalc.Model(name="small", hidden_size=24, dtype=dtype, layers=layers)


def named(value: object) -> str:
    """A parameter's name in a test's."""
    return value if isinstance(value, str) else str(getattr(value, "kind", value))
