"""Reference modules against torch's own attention and Hugging Face's Llama."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from attention_layers import (
    HIDDEN,
    TOKENS,
    every_head_mechanism,
    every_mechanism,
    layer,
    random,
    relative,
    span,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers.cache_utils import DynamicCache
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding

from kvcalc.mechanisms import GQA, MHA, MQA, Mechanism
from kvcalc.reference import ReferenceAttention, Rows
from kvcalc.reference.functional import rotate, softmax, textbook_mask, visible
from kvcalc.reference.mha_mqa_gqa import HeadAttention


@pytest.fixture(autouse=True, scope="module")
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def turned(x_BTHK: Tensor, tokens: list[int]) -> Tensor:
    """Pairs of elements as complex numbers, times e^(i x token x 10000^(-pair/pairs)); an odd last one left alone."""
    pairs = x_BTHK.shape[-1] // 2
    angles = [[[token * 10_000 ** (-pair / pairs) for pair in range(pairs)]] for token in tokens]
    angles_T1p = torch.tensor(angles, dtype=torch.float64).reshape(len(tokens), 1, pairs)
    numbers = torch.view_as_complex(x_BTHK[..., : 2 * pairs].reshape(*x_BTHK.shape[:-1], pairs, 2).contiguous())
    turned = torch.view_as_real(numbers * torch.polar(torch.ones_like(angles_T1p), angles_T1p)).flatten(-2)
    return torch.cat((turned, x_BTHK[..., 2 * pairs :]), dim=-1)


def torch_attention(module: ReferenceAttention, x_BTD: Tensor, heads: int, kv_heads: int, window: int | None) -> Tensor:
    """The whole layer from the module's weights and torch's own attention."""
    assert isinstance(module, HeadAttention)
    tokens = x_BTD.shape[1]

    def projected(weight: Tensor, count: int) -> Tensor:
        return linear(x_BTD, weight).reshape(len(x_BTD), tokens, count, -1)

    here = list(range(tokens))
    q_BTHK = turned(projected(module.q_proj.weight, heads), here)
    k_BTGK = turned(projected(module.k_proj.weight, kv_heads), here)
    v_BTGV = projected(module.v_proj.weight, kv_heads)
    band = [[0 <= query - token < (window or tokens) for token in here] for query in here]
    o_BHTV = scaled_dot_product_attention(
        q_BTHK.transpose(1, 2),
        k_BTGK.transpose(1, 2),
        v_BTGV.transpose(1, 2),
        attn_mask=None if window is None else torch.tensor(band),
        is_causal=window is None,
        enable_gqa=kv_heads < heads,
    )
    return linear(o_BHTV.transpose(1, 2).flatten(2), module.o_proj.weight)


@every_head_mechanism
@pytest.mark.parametrize("window", [None, 1, 3, TOKENS, 50])
def test_the_textbook_is_torchs_attention(mechanism: Mechanism, heads: int, kv_heads: int, window: int | None) -> None:
    module, x_BTD = layer(mechanism, window), random(2, TOKENS, HIDDEN)
    expected = torch_attention(module, x_BTD, heads, kv_heads, window)

    assert relative(module(x_BTD), expected) < 1e-12
    for last in (1, 4, TOKENS):
        assert relative(module(x_BTD, last=last), expected[:, -last:]) < 1e-12


@every_head_mechanism
@pytest.mark.parametrize("window", [None, 1, 3, 50])
def test_attending_to_rows_is_torchs_attention(
    mechanism: Mechanism, heads: int, kv_heads: int, window: int | None
) -> None:
    module, x_BTD = layer(mechanism, window), random(2, TOKENS, HIDDEN)
    rows = Rows(module.keep(x_BTD, 0), torch.arange(TOKENS))
    expected = torch_attention(module, x_BTD, heads, kv_heads, window)
    for start in (0, 5, TOKENS - 1):
        assert relative(module.attend(x_BTD[:, start:], start, rows), expected[:, start:]) < 1e-12


@every_head_mechanism
def test_what_is_kept_is_rotated_keys_and_plain_values(mechanism: Mechanism, heads: int, kv_heads: int) -> None:
    module, x_BTD = layer(mechanism), random(2, TOKENS, HIDDEN)
    assert isinstance(module, HeadAttention)
    kept = module.keep(x_BTD, 100)
    k_BTGK = turned(linear(x_BTD, module.k_proj.weight).reshape(2, TOKENS, kv_heads, -1), list(range(100, 109)))
    v_BTGV = linear(x_BTD, module.v_proj.weight).reshape(2, TOKENS, kv_heads, -1)
    assert kv_heads <= heads

    assert kept.keys() == {"k", "v"}
    assert relative(kept["k"].reshape(k_BTGK.shape), k_BTGK) < 1e-12
    assert kept["v"].reshape(v_BTGV.shape).equal(v_BTGV)


LLAMAS: dict[str, tuple[Mechanism, int, int, int]] = {  # mechanism, query heads, KV heads, head_dim
    "mha": (MHA(num_heads=4, head_dim=6), 4, 4, 6),
    "mqa": (MQA(num_heads=3, head_dim=2), 3, 1, 2),
    "gqa": (GQA(num_heads=6, num_kv_heads=2, head_dim=8), 6, 2, 8),
}


def halves(x: Tensor) -> Tensor:
    """Elements 0, 2, 4, ... of the last axis, then 1, 3, 5, ...: how Llama's files lay the pairs of a head out."""
    return torch.cat((x[..., 0::2], x[..., 1::2]), dim=-1)


@pytest.mark.parametrize("window", [None, 1, 3, 50])
@pytest.mark.parametrize(("mechanism", "heads", "kv_heads", "head_dim"), LLAMAS.values(), ids=list(LLAMAS))
def test_it_is_hugging_faces_llama(
    mechanism: Mechanism, heads: int, kv_heads: int, head_dim: int, window: int | None
) -> None:
    """And keeps what that caches. Its rotary embedding is in float32."""
    module, x_BTD, cache = layer(mechanism, window), random(2, TOKENS, HIDDEN), DynamicCache()
    config = LlamaConfig(hidden_size=HIDDEN, num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=head_dim)
    config._attn_implementation = "sdpa"  # noqa: SLF001  # a keyword that the config's signature does not have
    llama = LlamaAttention(config, layer_idx=0).double()
    llama.load_state_dict(
        {
            name: halves(weight.reshape(-1, head_dim, HIDDEN).mT).mT.reshape(weight.shape)
            if name in {"q_proj.weight", "k_proj.weight"}
            else weight
            for name, weight in module.state_dict().items()
        }
    )
    band = [[0 <= query - token < (window or TOKENS) for token in range(TOKENS)] for query in range(TOKENS)]
    embeddings = LlamaRotaryEmbedding(config)(x_BTD, torch.arange(TOKENS).unsqueeze(0))

    expected, _ = llama(x_BTD, embeddings, torch.tensor(band).view(1, 1, TOKENS, TOKENS), cache)

    assert relative(module(x_BTD), expected) < 1e-6
    cached: Any = cache.layers[0]
    kept = module.keep(x_BTD, 0)
    assert relative(halves(kept["k"]).reshape(2, TOKENS, kv_heads, head_dim), cached.keys.transpose(1, 2)) < 1e-6
    assert kept["v"].reshape(2, TOKENS, kv_heads, head_dim).equal(cached.values.transpose(1, 2))


@given(
    st.lists(st.integers(0, 20), max_size=8), st.lists(st.integers(-1, 20), max_size=8), st.none() | st.integers(1, 25)
)
def test_what_is_visible_written_out(queries: list[int], rows: list[int], window: int | None) -> None:
    found = visible(torch.tensor(queries, dtype=torch.long), torch.tensor(rows, dtype=torch.long), span(window))
    expected = [
        [row >= 0 and row <= query and (window is None or row > query - window) for row in rows] for query in queries
    ]

    assert found.shape == (len(queries), len(rows))
    assert found.tolist() == expected


@given(st.integers(1, 12), st.data(), st.none() | st.integers(1, 15))
def test_the_textbook_mask_is_what_is_visible(tokens: int, data: st.DataObject, window: int | None) -> None:
    last = data.draw(st.integers(1, tokens))
    mask = textbook_mask(tokens, last, span(window), torch.device("cpu"))
    queries = range(tokens - last, tokens)

    assert mask.equal(visible(torch.tensor(queries), torch.arange(tokens), span(window)))
    assert mask.tolist() == [
        [row in range(0 if window is None else query - window + 1, query + 1) for row in range(tokens)]
        for query in queries
    ]


def test_softmax_of_what_is_visible() -> None:
    mask = torch.tensor([[True, True, False], [False, True, False]])
    weights = softmax(torch.tensor([[0.0, 0.0, 50.0], [3.0, -900.0, 9.0]], dtype=torch.float64), mask)

    assert weights.tolist() == [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_softmax_in_half_precision_is_right_to_its_last_bit(dtype: torch.dtype) -> None:
    """Of 5,000 equal scores: a sum in half precision would stop growing long before."""
    weights = softmax(torch.zeros(1, 5000, dtype=dtype), torch.ones(1, 5000, dtype=torch.bool))

    assert weights.dtype == dtype
    assert weights.equal(torch.full((1, 5000), 1 / 5000, dtype=dtype))


def test_a_rotation_written_out() -> None:
    """Width 4: the first pair turns by the position, the second by a hundredth of it; at 0 nothing turns."""
    x_BTHK = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64).expand(1, 3, 1, 4)
    found = rotate(x_BTHK, torch.tensor([0, 1, 30]))[0, :, 0]

    expected = [
        [1.0, 0.0, 0.0, 1.0],
        [0.5403023058681398, 0.8414709848078965, -0.009999833334166664, 0.9999500004166653],
        [0.15425144988758405, -0.9880316240928618, -0.29552020666133955, 0.955336489125606],
    ]
    assert relative(found, torch.tensor(expected, dtype=torch.float64)) < 1e-14


@given(st.integers(1, 9), st.lists(st.integers(0, 200_000), min_size=1, max_size=5))
def test_the_rotation_is_a_complex_product(width: int, tokens: list[int]) -> None:
    x_BTHK = random(2, len(tokens), 3, width)

    assert relative(rotate(x_BTHK, torch.tensor(tokens)), turned(x_BTHK, tokens)) < 1e-9


@pytest.mark.parametrize(("dtype", "roundings"), [(torch.float32, 4), (torch.float16, 1), (torch.bfloat16, 1)])
def test_far_tokens_turn_as_exactly_as_near_ones(dtype: torch.dtype, roundings: int) -> None:
    """An angle of a million radians in float32 would be wrong by 0.03. In half precision only the result is rounded."""
    tokens = [0, 1, 131_071, 999_999]
    x_BTHK = random(1, 4, 20, 8).to(dtype)
    found = rotate(x_BTHK, torch.tensor(tokens))

    assert found.dtype == dtype
    assert relative(found.double(), turned(x_BTHK.double(), tokens)) < roundings * torch.finfo(dtype).eps / 2


@given(st.integers(2, 9), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_scores_depend_on_the_distance_alone(width: int, query: int, key: int, shift: int) -> None:
    q, k = random(1, 1, 1, width, seed=1), random(1, 1, 1, width, seed=2)

    def score(query: int, key: int) -> float:
        return float((rotate(q, torch.tensor([query])) * rotate(k, torch.tensor([key]))).sum())

    assert score(query + shift, key + shift) == pytest.approx(score(query, key), abs=1e-10)
    assert score(query, query) == pytest.approx(float((q * k).sum()), abs=1e-10)
    assert abs(score(key + 1, key) - score(key, key)) > 1e-3


@every_mechanism
@pytest.mark.parametrize("window", [None, 3])
def test_a_sequence_may_begin_anywhere(mechanism: Mechanism, window: int | None) -> None:
    module, x_BTD = layer(mechanism, window), random(2, TOKENS, HIDDEN)
    for start in (1, 1000):
        rows = Rows(module.keep(x_BTD, start), torch.arange(start, start + TOKENS))
        assert relative(module.attend(x_BTD, start, rows), module(x_BTD)) < 1e-10


@every_mechanism
@pytest.mark.parametrize("window", [None, 1, 4])
def test_tokens_see_themselves_and_their_window(mechanism: Mechanism, window: int | None) -> None:
    """Which outputs change when one token does."""
    module, x_BTD = layer(mechanism, window), random(1, TOKENS, HIDDEN)
    before = module(x_BTD)
    for token in (0, 3, TOKENS - 1):
        changed = x_BTD.clone()
        changed[:, token] += 1
        difference = (module(changed) - before).abs().amax(dim=(0, 2)) > 1e-9
        assert difference.nonzero().flatten().tolist() == list(range(token, min(token + (window or TOKENS), TOKENS)))
