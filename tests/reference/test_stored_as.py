"""How modules declare that tensors are stored, beside what transformers' own classes keep of a model in bf16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaModel,
    Mamba2Config,
    Mamba2Model,
    MambaConfig,
    MambaModel,
    Qwen3NextConfig,
    Qwen3NextModel,
)

from kvcalc.reference.gated_deltanet import GatedDeltaNetLayer
from kvcalc.reference.mamba1 import MambaLayer
from kvcalc.reference.mamba2 import Mamba2Layer
from kvcalc.reference.mha_mqa_gqa import HeadAttention
from kvcalc.reference.mla import MultiHeadLatentAttention
from kvcalc.reference.stored_as import FP8_DS_MLA, StoredAs

SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 16}
HEADS: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 32}
LINEAR: dict[str, Any] = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
EXPERTS: dict[str, Any] = {
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 8,
}


def qwen() -> Any:
    two: dict[str, Any] = {"num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"]}
    return Qwen3NextModel(Qwen3NextConfig(**{**SMALL, **HEADS, **LINEAR, **EXPERTS, **two}, head_dim=8))


def mamba2() -> Any:
    return Mamba2Model(Mamba2Config(**SMALL, num_heads=8, head_dim=8, n_groups=2, state_size=8))


MODELS: dict[str, tuple[Callable[[], Any], dict[str, StoredAs], tuple[str, ...]]] = {
    "attention": (lambda: LlamaModel(LlamaConfig(**SMALL, **HEADS)), dict(HeadAttention.stored_as), ("k", "v")),
    "mamba1": (
        lambda: MambaModel(MambaConfig(**SMALL, state_size=4)),
        dict(MambaLayer.stored_as),
        ("conv", "state"),
    ),
    "mamba2": (mamba2, dict(Mamba2Layer.stored_as), ("conv_x", "state")),
    "gated_deltanet": (qwen, dict(GatedDeltaNetLayer.stored_as), ("conv_q", "state")),
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("build", "declared", "names"), MODELS.values(), ids=list(MODELS))
@pytest.mark.filterwarnings("ignore")
def test_transformers_keeps_what_is_declared(
    build: Callable[[], Any], declared: dict[str, StoredAs], names: tuple[str, str], dtype: torch.dtype
) -> None:
    model = build().to(dtype).eval()
    with torch.no_grad():
        out = model(torch.arange(5)[None], use_cache=True)
    cache = getattr(out, "past_key_values", None)
    layer = (out.cache_params if cache is None else cache).layers[0]
    kept = (layer.keys, layer.values) if hasattr(layer, "keys") else (layer.conv_states[0], layer.recurrent_states[0])
    for name, tensor in zip(names, kept, strict=True):
        assert declared[name].pack(dtype).pack(torch.ones(1, 1, 4)).dtype == tensor.dtype


def test_a_row_of_fp8_ds_mla_is_laid_out_as_flash_mla_says() -> None:
    """512 e4m3 values with a scale for each 128, 448 their largest, and 64 bf16 values: 656 bytes."""
    c_kv, k_rope = torch.ones(1, 1, 512), torch.ones(1, 1, 64)
    c_kv[..., 128:256] = 2
    latent = FP8_DS_MLA["c_kv"].pack(torch.bfloat16).pack(c_kv)
    rotary = FP8_DS_MLA["k_rope"].pack(torch.bfloat16).pack(k_rope)
    assert latent.numel() * latent.element_size() + rotary.numel() * rotary.element_size() == 656
    assert rotary.dtype == torch.bfloat16
    blocks = latent.reshape(4, 132)
    assert blocks[:, :4].contiguous().view(torch.float32).flatten().tolist() == pytest.approx(
        [1 / 448, 2 / 448, 1 / 448, 1 / 448]
    )
    assert set(blocks[:, 4:].contiguous().view(torch.float8_e4m3fn).float().flatten().tolist()) == {448.0}


def test_an_index_key_is_132_bytes() -> None:
    stored = MultiHeadLatentAttention.stored_as["index_k"].pack(torch.bfloat16).pack(torch.ones(1, 1, 128))
    assert stored.numel() * stored.element_size() == 132
