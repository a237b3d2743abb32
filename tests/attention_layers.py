"""Small layers of attention for tests of the reference modules, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Mechanism, MLAExpanded
from kvcalc.model.span import Window
from kvcalc.reference import ReferenceAttention, build

HIDDEN, TOKENS = 24, 9


def layer(mechanism: Mechanism, window: int | None = None, seed: int = 0) -> ReferenceAttention:
    module = build(mechanism, HIDDEN, span(window), device="cpu", dtype=torch.float64, seed=seed)
    assert isinstance(module, ReferenceAttention)
    return module


def span(window: int | None) -> Window | None:
    return None if window is None else Window(window)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


HEADS: dict[str, tuple[Mechanism, int, int]] = {  # mechanism, query heads, KV heads
    "mha": (MHA(num_heads=4, head_dim=6), 4, 4),
    "mha, wide values": (MHA(num_heads=3, head_dim=4, v_head_dim=7), 3, 3),
    "mha, odd": (MHA(num_heads=2, head_dim=5, v_head_dim=3), 2, 2),
    "mha, nothing to rotate": (MHA(num_heads=2, head_dim=1), 2, 2),
    "mha, one head": (MHA(num_heads=1, head_dim=8, v_head_dim=1), 1, 1),
    "mqa": (MQA(num_heads=5, head_dim=6), 5, 1),
    "mqa, odd": (MQA(num_heads=4, head_dim=7, v_head_dim=2), 4, 1),
    "gqa": (GQA(num_heads=6, num_kv_heads=2, head_dim=4), 6, 2),
    "gqa, odd": (GQA(num_heads=6, num_kv_heads=3, head_dim=3, v_head_dim=5), 6, 3),
    "gqa that is mha": (GQA(num_heads=4, num_kv_heads=4, head_dim=6, v_head_dim=2), 4, 4),
    "gqa that is mqa": (GQA(num_heads=4, num_kv_heads=1, head_dim=2), 4, 1),
}

every_head_mechanism = pytest.mark.parametrize(("mechanism", "heads", "kv_heads"), HEADS.values(), ids=list(HEADS))

EVERY: dict[str, Mechanism] = {name: case[0] for name, case in HEADS.items()} | {
    "mla": MLA(num_heads=3, kv_lora_rank=6, qk_rope_head_dim=4, qk_nope_head_dim=5, v_head_dim=3, q_lora_rank=4),
    "mla expanded": MLAExpanded(num_heads=3, kv_lora_rank=6, qk_rope_head_dim=3, qk_nope_head_dim=5, v_head_dim=3),
}

every_mechanism = pytest.mark.parametrize("mechanism", EVERY.values(), ids=list(EVERY))
