"""Multi-head latent attention against Hugging Face's DeepSeek-V3, and its three ways of computing one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache
from transformers.models.deepseek_v3.configuration_deepseek_v3 import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Attention, DeepseekV3RotaryEmbedding

from kvcalc.mechanisms import MLA, MLAExpanded
from kvcalc.model.span import Window
from kvcalc.reference import Rows, build
from kvcalc.reference.mla import MultiHeadLatentAttention
from kvcalc.reference.mla_expanded import ExpandedLatentAttention

HIDDEN, TOKENS = 20, 11

DIMS: dict[str, dict[str, Any]] = {
    "queries compressed": {
        "num_heads": 3,
        "kv_lora_rank": 10,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 6,
        "v_head_dim": 5,
        "q_lora_rank": 7,
    },
    "queries whole": {
        "num_heads": 4,
        "kv_lora_rank": 6,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 3,
        "v_head_dim": 9,
        "q_lora_rank": None,
    },
    "one head, one pair": {
        "num_heads": 1,
        "kv_lora_rank": 5,
        "qk_rope_head_dim": 2,
        "qk_nope_head_dim": 1,
        "v_head_dim": 1,
        "q_lora_rank": None,
    },
}

every_dims = pytest.mark.parametrize("dims", DIMS.values(), ids=list(DIMS))
windows = pytest.mark.parametrize("window", [None, 1, 3, TOKENS, 50])


@pytest.fixture(autouse=True, scope="module")
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def span(window: int | None) -> Window | None:
    return None if window is None else Window(window)


def latent(dims: dict[str, Any], window: int | None, dtype: torch.dtype = torch.float64) -> MultiHeadLatentAttention:
    module = build(MLA(**dims), HIDDEN, span(window), device="cpu", dtype=dtype)
    assert isinstance(module, MultiHeadLatentAttention)
    return module


def expanded(dims: dict[str, Any], window: int | None) -> ExpandedLatentAttention:
    module = build(MLAExpanded(**dims), HIDDEN, span(window), device="cpu", dtype=torch.float64)
    assert isinstance(module, ExpandedLatentAttention)
    return module


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


# --- Hugging Face's layer ---


class Norm(nn.Module):
    """DeepseekV3RMSNorm, which computes in float32, in float64."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * self.weight


def hugging_face(module: MultiHeadLatentAttention, attention: str) -> DeepseekV3Attention:
    """The layer with the module's weights; loading is strict, so all names and shapes are the same."""
    dims = module.mechanism
    config = DeepseekV3Config(
        hidden_size=HIDDEN,
        num_attention_heads=dims.num_heads,
        num_key_value_heads=dims.num_heads,
        kv_lora_rank=dims.kv_lora_rank,
        qk_rope_head_dim=dims.qk_rope_head_dim,
        qk_nope_head_dim=dims.qk_nope_head_dim,
        v_head_dim=dims.v_head_dim,
        q_lora_rank=dims.q_lora_rank,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
    config._attn_implementation = attention  # noqa: SLF001  # a keyword that the config's signature does not have
    layer = DeepseekV3Attention(config, layer_idx=0).to(module.o_proj.weight.dtype).eval()
    layer.load_state_dict(module.state_dict())
    return layer


def in_float64(module: MultiHeadLatentAttention) -> DeepseekV3Attention:
    """The layer without what it computes in float32 alone: its norms, and the softmax of its "eager" attention."""
    layer = hugging_face(module, "sdpa")
    layer.set_submodule("kv_a_layernorm", Norm(module.kv_a_layernorm.weight))
    if module.mechanism.q_lora_rank is not None:
        layer.set_submodule("q_a_layernorm", Norm(module.q_a_layernorm.weight))
    return layer


def band(window: int | None, dtype: torch.dtype) -> Tensor:
    """What is added to scores: 0 where a token may be read, and so little elsewhere that nothing is left of it."""
    least = torch.finfo(dtype).min
    rows = [
        [0.0 if 0 <= query - token < (window or TOKENS) else least for token in range(TOKENS)]
        for query in range(TOKENS)
    ]
    return torch.tensor(rows, dtype=dtype).view(1, 1, TOKENS, TOKENS)


def angles(width: int) -> Tensor:
    """(1, T, width), the second half as the first: what Hugging Face takes the cosine and the sine of."""
    pairs = [[token * 10_000 ** (-2 * pair / width) for pair in range(width // 2)] for token in range(TOKENS)]
    return torch.tensor(pairs, dtype=torch.float64).repeat(1, 2).unsqueeze(0)


@every_dims
@windows
def test_it_is_hugging_faces_layer(dims: dict[str, Any], window: int | None) -> None:
    """As it comes: its own rotary embedding and norm, in float32."""
    module, x_BTD = latent(dims, window, torch.float32), random(2, TOKENS, HIDDEN, dtype=torch.float32)
    layer = hugging_face(module, "eager")
    layer.config.head_dim = dims["qk_rope_head_dim"]
    embeddings = DeepseekV3RotaryEmbedding(layer.config)(x_BTD, torch.arange(TOKENS).unsqueeze(0))

    expected, _ = layer(x_BTD, embeddings, band(window, torch.float32))

    assert relative(module(x_BTD), expected) < 2e-6


@every_dims
@windows
def test_it_is_hugging_faces_layer_in_float64(dims: dict[str, Any], window: int | None) -> None:
    """The angles and the norms, which that has in float32 only, come from here."""
    module, x_BTD = latent(dims, window), random(2, TOKENS, HIDDEN)
    turns = angles(dims["qk_rope_head_dim"])

    expected, _ = in_float64(module)(x_BTD, (turns.cos(), turns.sin()), band(window, torch.float64))

    assert relative(module(x_BTD), expected) < 1e-12


@every_dims
def test_it_keeps_what_hugging_face_caches(dims: dict[str, Any]) -> None:
    """The normalised latent and the rotated key, whose pairs that lays out as two halves."""
    module, x_BTD = latent(dims, None), random(2, TOKENS, HIDDEN)
    turns, cache = angles(dims["qk_rope_head_dim"]), DynamicCache()
    in_float64(module)(x_BTD, (turns.cos(), turns.sin()), band(None, torch.float64), cache)
    cached: Any = cache.layers[0]

    kept = module.keep(x_BTD, 0)

    assert kept.keys() == {"c_kv", "k_rope"}
    assert relative(kept["c_kv"], cached.keys.squeeze(1)) < 1e-12
    halves = torch.cat((kept["k_rope"][..., 0::2], kept["k_rope"][..., 1::2]), dim=-1)
    assert relative(halves, cached.values.squeeze(1)) < 1e-12


# --- three ways ---


@every_dims
@windows
def test_absorbed_expanded_and_textbook_are_one(dims: dict[str, Any], window: int | None) -> None:
    module, x_BTD = latent(dims, window), random(2, TOKENS, HIDDEN)
    rows = Rows(module.keep(x_BTD, 0), torch.arange(TOKENS))
    textbook = module(x_BTD)
    for start in (0, 4, TOKENS - 1):
        absorbed = module.attend(x_BTD[:, start:], start, rows)
        naive = module.attend_expanded(x_BTD[:, start:], start, rows)

        assert relative(absorbed, naive) < 1e-10
        assert relative(absorbed, textbook[:, start:]) < 1e-10
        assert relative(naive, textbook[:, start:]) < 1e-10


@examples(100)
@given(
    st.integers(1, 4),
    st.tuples(*[st.integers(1, 7)] * 4),
    st.none() | st.integers(1, 7),
    st.none() | st.integers(1, 12),
)
def test_the_three_ways_are_one_for_any_dims(
    heads: int, widths: tuple[int, ...], q_lora_rank: int | None, window: int | None
) -> None:
    names = ("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
    dims = {"num_heads": heads, "q_lora_rank": q_lora_rank, **dict(zip(names, widths, strict=True))}
    module, x_BTD = latent(dims, window), random(1, TOKENS, HIDDEN)
    rows = Rows(module.keep(x_BTD, 0), torch.arange(TOKENS))
    textbook = module(x_BTD)

    assert relative(module.attend(x_BTD, 0, rows), textbook) < 1e-10
    assert relative(module.attend_expanded(x_BTD, 0, rows), textbook) < 1e-10


@every_dims
@pytest.mark.parametrize("last", [1, 4, TOKENS])
def test_the_last_outputs_alone(dims: dict[str, Any], last: int) -> None:
    module, x_BTD = latent(dims, 3), random(2, TOKENS, HIDDEN)

    assert relative(module(x_BTD, last=last), module(x_BTD)[:, -last:]) < 1e-12


# --- the expanded cache ---


@every_dims
@windows
def test_the_expanded_layer_is_the_same_layer(dims: dict[str, Any], window: int | None) -> None:
    module, naive, x_BTD = latent(dims, window), expanded(dims, window), random(2, TOKENS, HIDDEN)
    naive.load_state_dict(module.state_dict())
    rows = Rows(naive.keep(x_BTD, 0), torch.arange(TOKENS))

    assert naive(x_BTD).equal(module(x_BTD))
    assert relative(naive.attend(x_BTD[:, 4:], 4, rows), module(x_BTD)[:, 4:]) < 1e-10


@every_dims
def test_the_expanded_cache_is_the_latent_times_its_weights(dims: dict[str, Any]) -> None:
    """Each head's key: its part of kv_b_proj times the latent, then the rotary key, the same for all heads."""
    module, naive, x_BTD = latent(dims, None), expanded(dims, None), random(2, TOKENS, HIDDEN)
    naive.load_state_dict(module.state_dict())
    few, many = module.keep(x_BTD, 0), naive.keep(x_BTD, 0)
    nope, width = dims["qk_nope_head_dim"], dims["qk_nope_head_dim"] + dims["v_head_dim"]
    assert many.keys() == {"k", "v"}
    for head in range(dims["num_heads"]):
        weight = module.kv_b_proj.weight[head * width : (head + 1) * width]
        k_BTK = torch.cat((few["c_kv"] @ weight[:nope].T, few["k_rope"]), dim=-1)

        assert relative(many["k"][:, :, head], k_BTK) < 1e-12
        assert relative(many["v"][:, :, head], few["c_kv"] @ weight[nope:].T) < 1e-12


@every_dims
@pytest.mark.parametrize("name", ["c_kv", "k_rope"])
def test_both_kept_tensors_are_needed(dims: dict[str, Any], name: str) -> None:
    module, x_BTD = latent(dims, None), random(2, TOKENS, HIDDEN)
    kept = module.keep(x_BTD, 0)
    rows = Rows({**kept, name: torch.zeros_like(kept[name])}, torch.arange(TOKENS))

    assert relative(module.attend(x_BTD, 0, rows), module(x_BTD)) > 1e-3
