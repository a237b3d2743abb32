"""The reference module of compressed attention against the code of transformers' DeepSeek-V4."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kvcalc.mechanisms import Compressed
from kvcalc.reference.base import initialise
from kvcalc.reference.compressed import CompressedAttention
from kvcalc.reference.compressor import Compressor
from kvcalc.reference.functional import positions

pytestmark = pytest.mark.torch

TOKENS = 26
DIMS: dict[str, Any] = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "head_dim": 16,
    "partial_rotary_factor": 0.25,
    "q_lora_rank": 8,
    "o_groups": 2,
    "o_lora_rank": 4,
    "index_head_dim": 8,
    "index_n_heads": 2,
    "index_topk": 64,
    "sliding_window": 8,
    "num_hidden_layers": 3,
    "layer_types": ["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"],
    "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "vocab_size": 64,
    "compress_rope_theta": 10_000.0,
}


@pytest.fixture(scope="module")
def config() -> Any:
    from transformers import DeepseekV4Config

    return DeepseekV4Config(**DIMS)


@pytest.mark.parametrize("kind", ["HCA", "CSA"])
def test_entries_are_those_of_its_compressor(config: Any, kind: str) -> None:
    from transformers.models.deepseek_v4 import modeling_deepseek_v4 as theirs

    torch.manual_seed(1)
    module = getattr(theirs, f"DeepseekV4{kind}Compressor")(config).float()
    overlap, ratio = kind == "CSA", 4 if kind == "CSA" else 8
    for weight in module.parameters():
        torch.nn.init.normal_(weight, 0.5, 0.5)
    own = Compressor(32, 16, ratio, 4, overlap=overlap)
    own.load_state_dict({name: weight for name, weight in module.state_dict().items() if name in own.state_dict()})
    x_BTD = torch.randn(2, TOKENS, 32)
    found, _ = module(x_BTD, torch.randn(2, TOKENS, 8), torch.arange(TOKENS).expand(2, -1), None, 0)[:2]
    at_T = positions(x_BTD, 0)
    expected = own.entries(own.states(x_BTD, at_T)[:, : TOKENS // ratio * ratio], 0)
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(own.textbook(x_BTD, at_T), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tokens", [3, 8, TOKENS])
def test_its_cache_holds_as_many_entries(config: Any, tokens: int) -> None:
    """Of its window it keeps one token fewer, which the next one completes; of what waits, no more than it needs."""
    from transformers import AutoModelForCausalLM, DynamicCache

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config).eval()
    cache: Any = DynamicCache(config=config)
    with torch.no_grad():
        for start in range(tokens):
            model(torch.tensor([[start]]), cache=cache)
    layers: Any = cache.layers
    window, sparse, heavy = layers
    assert window.keys.shape[2] == min(tokens, 7)
    entries = {name: one.shape[1] for name, one in sparse.compressed_kv.items()}
    assert entries == {"compressor": tokens // 4, "indexer": tokens // 4}
    assert heavy.compressed_kv["compressor"].shape[1:] == (tokens // 8, 16)
    assert heavy.buffer_kv["compressor"].shape[1] == tokens % 8


@pytest.mark.parametrize("ratio", [1, 2])
def test_entries_and_keys_of_v4_1_are_those_of_its_own_code(ratio: int) -> None:
    """DeepSeek-V4.1-Flash, inference/model.py, Compressor.forward and Indexer.forward, group by group.

    The first group stands at position 0, where a rotation changes nothing; of the others the still elements are equal.
    """
    dims: Any = {"num_heads": 2, "head_dim": 16, "sliding_window": 4, "qk_rope_head_dim": 4, "index_topk": 3}
    indexed: Any = {"index_head_dim": 8, "index_n_heads": 2, "index_of_entries": True}
    layer = CompressedAttention(Compressed(**dims, **indexed, compress_ratio=ratio), 32).double()
    initialise(layer, 1)
    assert layer.compressor is not None
    assert layer.index_keys is not None
    torch.nn.init.zeros_(layer.compressor.position_bias)
    x_BTD = torch.randn(2, 7, 32, dtype=torch.float64)
    with torch.no_grad():
        kept = layer.keep(x_BTD, 0)
        found = kept if ratio == 1 else layer.pool({"compressor_state": kept["compressor_state"][:, :6]}, 0)
        for number in range(7 // ratio):
            group = x_BTD[:, number * ratio : (number + 1) * ratio]
            gate = layer.compressor.gate_proj(group).softmax(dim=1)
            latent = layer.compressor.kv_norm((layer.compressor.kv_proj(group) * gate).sum(1))
            key = layer.index_keys.k_norm(layer.index_keys.k_proj(latent))
            for name, expected in (("compressed_kv", latent), ("index_k", key)):
                still = slice(None) if number == 0 else slice(expected.shape[-1] - 4)
                torch.testing.assert_close(found[name][:, number][..., still], expected[..., still])
    assert set(layer.rings) == {"kv", *(("compressor_state",) if ratio == 2 else ("compressed_kv", "index_k"))}
