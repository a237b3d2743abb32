"""Reference modules against torch's own attention and Hugging Face's Llama, and their shapes against literals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers.cache_utils import DynamicCache
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding

from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Mechanism, MLAExpanded, NoAttention, Shared
from kvcalc.model.span import Window
from kvcalc.reference import ReferenceAttention, Rows, build
from kvcalc.reference.functional import rotate, softmax, textbook_mask, visible
from kvcalc.reference.mha_mqa_gqa import HeadAttention

HIDDEN, TOKENS = 24, 9


@pytest.fixture(autouse=True, scope="module")
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


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


# --- torch's attention ---

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


# --- Hugging Face's Llama ---

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


# --- masks and the rotary embedding ---


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


EVERY: dict[str, Mechanism] = {name: case[0] for name, case in HEADS.items()} | {
    "mla": MLA(num_heads=3, kv_lora_rank=6, qk_rope_head_dim=4, qk_nope_head_dim=5, v_head_dim=3, q_lora_rank=4),
    "mla expanded": MLAExpanded(num_heads=3, kv_lora_rank=6, qk_rope_head_dim=3, qk_nope_head_dim=5, v_head_dim=3),
}

every_mechanism = pytest.mark.parametrize("mechanism", EVERY.values(), ids=list(EVERY))


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


# --- what is kept ---

KEPT: dict[str, tuple[Mechanism, int, dict[str, tuple[int, ...]], int]] = {
    # mechanism, hidden_size, a token's rows, weights of a layer
    "Llama-2-7B": (MHA(num_heads=32, head_dim=128), 4096, {"k": (32, 128), "v": (32, 128)}, 67_108_864),
    "Falcon-7B": (MQA(num_heads=71, head_dim=64), 4544, {"k": (64,), "v": (64,)}, 41_877_504),
    "Llama-3-70B": (
        GQA(num_heads=64, num_kv_heads=8, head_dim=128),
        8192,
        {"k": (8, 128), "v": (8, 128)},
        150_994_944,
    ),
    "MiMo-V2-Flash": (  # keys and values of different widths
        GQA(num_heads=64, num_kv_heads=4, head_dim=192, v_head_dim=128),
        4096,
        {"k": (4, 192), "v": (4, 128)},
        89_128_960,
    ),
    "DeepSeek-V3": (
        MLA(
            num_heads=128,
            kv_lora_rank=512,
            qk_rope_head_dim=64,
            qk_nope_head_dim=128,
            v_head_dim=128,
            q_lora_rank=1536,
        ),
        7168,
        {"c_kv": (512,), "k_rope": (64,)},
        187_107_328,
    ),
    "DeepSeek-V2-Lite": (
        MLA(num_heads=16, kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128),
        2048,
        {"c_kv": (512,), "k_rope": (64,)},
        13_763_072,
    ),
    "DeepSeek-V3, expanded": (
        MLAExpanded(
            num_heads=128,
            kv_lora_rank=512,
            qk_rope_head_dim=64,
            qk_nope_head_dim=128,
            v_head_dim=128,
            q_lora_rank=1536,
        ),
        7168,
        {"k": (128, 192), "v": (128, 128)},
        187_107_328,
    ),
    "shared": (Shared(), 4096, {}, 0),
    "no attention": (NoAttention(), 4096, {}, 0),
}


@pytest.mark.parametrize(("mechanism", "hidden_size", "expected", "weights"), KEPT.values(), ids=list(KEPT))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_names_and_shapes_of_what_is_kept(
    mechanism: Mechanism, hidden_size: int, expected: dict[str, tuple[int, ...]], weights: int, dtype: torch.dtype
) -> None:
    module = build(mechanism, hidden_size, None, dtype=dtype)
    assert isinstance(module, ReferenceAttention)
    x_BTD = torch.empty(2, 5, hidden_size, dtype=dtype, device="meta")
    kept = module.keep(x_BTD, 4096)

    assert sum(weight.numel() for weight in module.parameters()) == weights
    assert {name: tuple(tensor.shape) for name, tensor in kept.items()} == {
        name: (2, 5, *row) for name, row in expected.items()
    }
    assert list(kept) == list(expected)
    for tensor in (
        *kept.values(),
        module(x_BTD),
        module.attend(x_BTD, 4096, Rows(kept, torch.arange(5, device="meta"))),
    ):
        assert tensor.dtype == dtype
        assert tensor.is_meta
    assert module(x_BTD, last=2).shape == (2, 2, hidden_size)


@every_mechanism
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_dtypes_follow_the_module(mechanism: Mechanism, dtype: torch.dtype) -> None:
    """On a real device too, where the outputs are those of float64 but for rounding."""
    module, exact = build(mechanism, HIDDEN, Window(4), device="cpu", dtype=dtype), layer(mechanism, 4)
    assert isinstance(module, ReferenceAttention)
    exact.load_state_dict({name: weight.double() for name, weight in module.state_dict().items()})
    x_BTD = random(2, TOKENS, HIDDEN).to(dtype)
    kept = module.keep(x_BTD, 0)
    attended = module.attend(x_BTD, 0, Rows(kept, torch.arange(TOKENS)))

    for tensor in (*kept.values(), attended, module(x_BTD)):
        assert tensor.dtype == dtype
    tolerance = {torch.bfloat16: 0.1, torch.float16: 0.01, torch.float32: 1e-5}[dtype]
    assert relative(module(x_BTD).double(), exact(x_BTD.double())) < tolerance
    assert relative(attended.double(), exact(x_BTD.double())) < tolerance


@pytest.mark.parametrize("mechanism", [Shared(), NoAttention()])
def test_layers_that_keep_nothing(mechanism: Mechanism) -> None:
    module, x_BTD = layer(mechanism), random(2, TOKENS, HIDDEN)

    assert module.keep(x_BTD, 0) == {}
    assert module(x_BTD).shape == x_BTD.shape
    assert module(x_BTD, last=2).shape == (2, 2, HIDDEN)
    assert module.attend(x_BTD, 0, Rows({}, torch.arange(0))).shape == x_BTD.shape


# --- weights ---


@every_mechanism
def test_a_seed_gives_the_same_weights_and_leaves_torchs_alone(mechanism: Mechanism) -> None:
    state = torch.random.get_rng_state()
    one, again, other = layer(mechanism, seed=5), layer(mechanism, seed=5), layer(mechanism, seed=50)

    assert torch.random.get_rng_state().equal(state)
    for name, weight in one.state_dict().items():
        assert weight.equal(again.state_dict()[name])
        assert not weight.equal(other.state_dict()[name])
    for module in (one, build(mechanism, HIDDEN, None)):
        assert not any(weight.requires_grad for weight in module.parameters())
    weights = [weight.flatten()[:8] for weight in one.parameters() if weight.dim() == 2]
    for index, weight in enumerate(weights):
        assert not any(weight.equal(earlier) for earlier in weights[:index])


def test_weights_keep_the_size_of_what_they_multiply() -> None:
    mechanism = MLA(
        num_heads=8, kv_lora_rank=64, qk_rope_head_dim=32, qk_nope_head_dim=32, v_head_dim=32, q_lora_rank=128
    )
    module = build(mechanism, 256, None, device="cpu", dtype=torch.float32)
    for weight in module.parameters():
        if weight.dim() == 1:
            assert (float(weight.mean()), float(weight.std())) == pytest.approx((1, 0.1), abs=0.05)
        else:
            assert float(weight.std()) * weight.shape[1] ** 0.5 == pytest.approx(1, rel=0.05)
            assert float(weight.mean()) * weight.shape[1] ** 0.5 == pytest.approx(0, abs=0.05)


# --- tensor parallelism ---

LATENT: dict[str, Any] = {
    "num_heads": 6,
    "kv_lora_rank": 5,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 3,
    "v_head_dim": 2,
}

SHARDS: dict[str, tuple[Mechanism, dict[int, dict[str, tuple[int, ...]]]]] = {  # tp -> a token's rows on each rank
    "mha": (
        MHA(num_heads=6, head_dim=4, v_head_dim=3),
        {
            1: {"k": (6, 4), "v": (6, 3)},
            2: {"k": (3, 4), "v": (3, 3)},
            3: {"k": (2, 4), "v": (2, 3)},
            6: {"k": (1, 4), "v": (1, 3)},
        },
    ),
    "mqa": (MQA(num_heads=4, head_dim=6, v_head_dim=5), {tp: {"k": (6,), "v": (5,)} for tp in (1, 2, 4)}),
    "gqa 8/2": (
        GQA(num_heads=8, num_kv_heads=2, head_dim=4),
        {
            1: {"k": (2, 4), "v": (2, 4)},
            2: {"k": (1, 4), "v": (1, 4)},
            4: {"k": (1, 4), "v": (1, 4)},
            8: {"k": (1, 4), "v": (1, 4)},
        },
    ),
    "gqa 12/6": (
        GQA(num_heads=12, num_kv_heads=6, head_dim=3, v_head_dim=2),
        {
            1: {"k": (6, 3), "v": (6, 2)},
            2: {"k": (3, 3), "v": (3, 2)},
            3: {"k": (2, 3), "v": (2, 2)},
            6: {"k": (1, 3), "v": (1, 2)},
            12: {"k": (1, 3), "v": (1, 2)},
        },
    ),
    "mla": (MLA(**LATENT), {tp: {"c_kv": (5,), "k_rope": (4,)} for tp in (1, 2, 3, 6)}),
    "mla, queries compressed": (
        MLA(**LATENT, q_lora_rank=7),
        {tp: {"c_kv": (5,), "k_rope": (4,)} for tp in (1, 2, 3, 6)},
    ),
    "mla expanded": (
        MLAExpanded(**LATENT),
        {
            1: {"k": (6, 7), "v": (6, 2)},
            2: {"k": (3, 7), "v": (3, 2)},
            3: {"k": (2, 7), "v": (2, 2)},
            6: {"k": (1, 7), "v": (1, 2)},
        },
    ),
}


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize(
    ("mechanism", "tp", "expected"),
    [(mechanism, tp, rows) for mechanism, by_tp in SHARDS.values() for tp, rows in by_tp.items()],
    ids=[f"{name}, tp {tp}" for name, (_, by_tp) in SHARDS.items() for tp in by_tp],
)
def test_ranks_add_up_to_the_layer(
    mechanism: Mechanism, tp: int, expected: dict[str, tuple[int, ...]], window: int | None
) -> None:
    module, x_BTD = layer(mechanism, window), random(2, TOKENS, HIDDEN)
    ranks = [module.shard(rank, tp) for rank in range(tp)]
    kept = [rank.keep(x_BTD, 0) for rank in ranks]
    attended = [rank.attend(x_BTD, 0, Rows(rows, torch.arange(TOKENS))) for rank, rows in zip(ranks, kept, strict=True)]

    for rows in kept:
        assert {name: tuple(tensor.shape[2:]) for name, tensor in rows.items()} == expected
    assert relative(torch.stack([rank(x_BTD) for rank in ranks]).sum(dim=0), module(x_BTD)) < 1e-12
    assert relative(torch.stack(attended).sum(dim=0), module(x_BTD)) < 1e-12


KV_HEADS_OF_RANKS = [  # mechanism, the KV heads that each rank keeps
    (MHA(num_heads=6, head_dim=4), [[0, 1], [2, 3], [4, 5]]),
    (MHA(num_heads=4, head_dim=4), [[0], [1], [2], [3]]),
    (GQA(num_heads=8, num_kv_heads=4, head_dim=4), [[0, 1], [2, 3]]),
    (GQA(num_heads=8, num_kv_heads=2, head_dim=4), [[0], [1]]),
    (GQA(num_heads=8, num_kv_heads=2, head_dim=4), [[0], [0], [1], [1]]),
    (GQA(num_heads=8, num_kv_heads=2, head_dim=4), [[0], [0], [0], [0], [1], [1], [1], [1]]),
    (GQA(num_heads=6, num_kv_heads=3, head_dim=4, v_head_dim=2), [[0], [0], [1], [1], [2], [2]]),
    (MLAExpanded(**LATENT), [[0, 1, 2], [3, 4, 5]]),
]


@pytest.mark.parametrize(("mechanism", "expected"), KV_HEADS_OF_RANKS)
def test_a_rank_keeps_the_heads_that_its_queries_read(mechanism: Mechanism, expected: list[list[int]]) -> None:
    module, x_BTD = layer(mechanism), random(2, TOKENS, HIDDEN)
    whole = module.keep(x_BTD, 3)
    for rank, heads in enumerate(expected):
        for name, tensor in module.shard(rank, len(expected)).keep(x_BTD, 3).items():
            assert relative(tensor, whole[name][:, :, heads]) < 1e-13


@pytest.mark.parametrize("mechanism", [MQA(num_heads=4, head_dim=6), MLA(**LATENT, q_lora_rank=7)])
def test_what_has_no_heads_is_whole_on_every_rank(mechanism: Mechanism) -> None:
    module, x_BTD = layer(mechanism), random(2, TOKENS, HIDDEN)
    whole = module.keep(x_BTD, 3)
    for rank in range(2):
        for name, tensor in module.shard(rank, 2).keep(x_BTD, 3).items():
            assert tensor.equal(whole[name])


def test_a_rank_has_the_weights_of_its_queries_groups() -> None:
    """8 query heads of 4 on 2 KV heads over 4 ranks: rank 2 has query heads 4 and 5, and KV head 1."""
    module = layer(GQA(num_heads=8, num_kv_heads=2, head_dim=4, v_head_dim=3))
    rank = module.shard(2, 4)
    whole, part = module.state_dict(), rank.state_dict()

    assert part["q_proj.weight"].equal(whole["q_proj.weight"][16:24])
    assert part["k_proj.weight"].equal(whole["k_proj.weight"][4:8])
    assert part["v_proj.weight"].equal(whole["v_proj.weight"][3:6])
    assert part["o_proj.weight"].equal(whole["o_proj.weight"][:, 12:18])
    assert rank.mechanism == GQA(num_heads=2, num_kv_heads=1, head_dim=4, v_head_dim=3)


@pytest.mark.parametrize("mechanism", [case[0] for case in SHARDS.values()], ids=list(SHARDS))
def test_a_rank_is_like_its_layer(mechanism: Mechanism) -> None:
    """Its window, dtype and device, and no gradients; its weights are its own."""
    for device, dtype in (("meta", torch.bfloat16), ("cpu", torch.float32)):
        module = build(mechanism, HIDDEN, Window(3), device=device, dtype=dtype)
        rank = module.shard(1, 2)
        assert type(rank) is type(module)
        assert (rank.span, rank.hidden_size) == (Window(3), HIDDEN)
        assert {(weight.device.type, weight.dtype) for weight in rank.parameters()} == {(device, dtype)}
        assert not any(weight.requires_grad for weight in rank.parameters())
    before = module.state_dict()["o_proj.weight"].clone()
    rank.state_dict()["o_proj.weight"].zero_()
    assert module.state_dict()["o_proj.weight"].equal(before)
