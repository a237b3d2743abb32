"""What must hold of any state, chunk or shared key, on random ones."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from state_samples import (
    DEEPSEEK_V32,
    FALCON_MAMBA,
    KIMI_LINEAR,
    LFM2,
    MINIMAX_01,
    NEMOTRON_H,
    QWEN3_NEXT,
    cache,
    laws,
    model,
)

import kvcalc
from kvcalc.mechanisms import (
    GQA,
    KDA,
    MHA,
    MQA,
    RWKV,
    Attention,
    Cross,
    GatedDeltaNet,
    Lightning,
    Mamba1,
    Mamba2,
    Mechanism,
    NoAttention,
    Shared,
    ShortConv,
)

heads = st.sampled_from([1, 2, 4, 8])
widths = st.integers(1, 40)
kernels = st.integers(1, 6)


def a_multiple(few: int, times: int) -> tuple[int, int]:
    return few, few * times


multiples = st.builds(a_multiple, heads, heads)

STATES: st.SearchStrategy[Attention] = st.one_of(
    st.builds(
        lambda pair, width, tokens: Cross(
            num_heads=pair[1], num_kv_heads=pair[0], head_dim=width, encoder_context=tokens
        ),
        multiples,
        widths,
        widths,
    ),
    st.builds(
        lambda pair, key, value, kernel: GatedDeltaNet(
            num_k_heads=pair[0], num_v_heads=pair[1], k_head_dim=key, v_head_dim=value, conv_kernel=kernel
        ),
        multiples,
        widths,
        widths,
        kernels,
    ),
    st.builds(KDA, num_heads=heads, head_dim=widths, conv_kernel=kernels),
    st.builds(Mamba1, intermediate_size=widths.map(lambda width: 8 * width), state_size=widths, conv_kernel=kernels),
    st.builds(
        lambda pair, width, size, kernel: Mamba2(
            num_heads=pair[1], num_groups=pair[0], head_dim=width, state_size=size, conv_kernel=kernel
        ),
        multiples,
        widths,
        widths,
        kernels,
    ),
    st.builds(ShortConv, hidden_size=widths.map(lambda width: 8 * width), conv_kernel=kernels),
    st.builds(Lightning, num_heads=heads, head_dim=widths),
    st.builds(RWKV, hidden_size=widths, num_heads=heads, head_dim=widths, token_shifts=st.integers(1, 2)),
)


def elements(attention: Any) -> int:
    """What a layer keeps of a sequence, from the shapes that engines give their buffers: a tensor after the other."""
    a: Any = attention
    inputs = getattr(a, "conv_kernel", 1) - 1
    shapes = {
        "cross": lambda: 2 * a.encoder_context * a.num_kv_heads * a.head_dim,
        "gated_deltanet": lambda: (
            inputs * (2 * a.num_k_heads * a.k_head_dim + a.num_v_heads * a.v_head_dim)
            + a.num_v_heads * a.v_head_dim * a.k_head_dim
        ),
        "kda": lambda: 3 * a.num_heads * a.head_dim * inputs + a.num_heads * a.head_dim**2,
        "mamba1": lambda: a.intermediate_size * (inputs + a.state_size),
        "mamba2": lambda: (
            inputs * (a.num_heads * a.head_dim + 2 * a.num_groups * a.state_size)
            + a.num_heads * a.head_dim * a.state_size
        ),
        "short_conv": lambda: a.hidden_size * inputs,
        "lightning": lambda: a.num_heads * a.head_dim**2,
        "rwkv": lambda: a.token_shifts * a.hidden_size + a.num_heads * a.head_dim**2,
    }
    return int(shapes[a.kind]())


@laws
@given(STATES, st.integers(1, 50), st.integers(1, 10**6), st.integers(1, 5))
def test_a_state_is_the_same_for_any_context(attention: Attention, batch: int, context: int, count: int) -> None:
    of = model(attention, count=count)
    one = cache(of, context=1, state_dtype="bf16")
    found = cache(of, batch=batch, context=context, state_dtype="bf16")
    assert one.bytes == count * elements(attention) * 2  # everything in two bytes
    assert found.bytes == batch * one.bytes
    assert found.state_bytes_per_sequence == found.bytes_per_sequence == one.bytes
    assert found.bytes_per_token == found.bytes_per_token_at_context == 0
    assert found.without_windows_bytes == found.bytes
    assert cache(of, batch=batch, context=context, state_dtype="bf16", shared_prefix=context).bytes == found.bytes


@laws
@given(STATES, st.sampled_from([1, 2, 4, 8]))
def test_ranks_share_a_state_and_only_copy_groups(attention: Attention, tp: int) -> None:
    of = model(attention)
    try:
        found = cache(of, context=3, tp=tp, state_dtype="bf16")
    except kvcalc.KvcalcError as error:
        assert "illegal" in str(error)  # noqa: PT017  # what is legal is another test's
        return
    copied: int | None = getattr(attention, "num_groups", getattr(attention, "num_kv_heads", None))
    assert found.one_copy_bytes == elements(attention) * 2
    assert found.bytes == tp * found.bytes_per_rank
    more = 0
    if copied is not None and tp > copied:  # each group, or each head of the encoder, is on tp / copied ranks
        each = elements(attention)
        if isinstance(attention, Mamba2):
            each = 2 * attention.num_groups * attention.state_size * (attention.conv_kernel - 1)
        more = each * 2 * (tp // copied - 1)
    if isinstance(attention, RWKV):  # the last token's inputs are whole on every rank
        more = attention.token_shifts * attention.hidden_size * 2 * (tp - 1)
    assert found.bytes == found.one_copy_bytes + more


@laws
@given(st.sampled_from([1, 3, 8]), widths, st.integers(1, 300), st.integers(1, 1000))
def test_chunks_are_flat_once_one_is_full(kv_heads: int, head_dim: int, chunk: int, context: int) -> None:
    of = model(GQA(num_heads=2 * kv_heads, num_kv_heads=kv_heads, head_dim=head_dim), chunk=chunk)
    now, later = cache(of, context=context).bytes, cache(of, context=context + 1).bytes
    token = 4 * kv_heads * head_dim
    assert later - now == (token if context < chunk else 0)
    assert now == token * min(context, chunk)
    assert cache(of, context=context).lower_bound is (context > chunk)


@laws
@given(st.sampled_from([MHA, MQA, GQA]), heads, heads, widths)
def test_a_key_that_is_the_value_is_kept_once(kind: Any, few: int, times: int, head_dim: int) -> None:
    dims = {"num_heads": few * times, "head_dim": head_dim} | ({"num_kv_heads": few} if kind is GQA else {})
    one, two = kind(**dims, k_equals_v=True), kind(**dims)
    assert [tensor.name for tensor in one.cached()] == ["k"]
    assert 2 * one.elements_per_token == two.elements_per_token
    assert 2 * cache(model(one), context=7).bytes == cache(model(two), context=7).bytes
    assert one.label != two.label


EXAMPLES: list[Attention] = [
    QWEN3_NEXT,
    replace(QWEN3_NEXT, v_head_dim=64, k_head_dim=32),
    KIMI_LINEAR,
    NEMOTRON_H,
    FALCON_MAMBA,
    LFM2,
    MINIMAX_01,
    DEEPSEEK_V32,
    replace(DEEPSEEK_V32, index_head_dim=None, index_n_heads=None),
    replace(DEEPSEEK_V32, qk_rope_head_dim=0),
    Cross(num_heads=32, num_kv_heads=8, head_dim=128, encoder_context=6404),
    GQA(num_heads=8, num_kv_heads=2, head_dim=16, v_head_dim=24),
    GQA(num_heads=8, num_kv_heads=2, head_dim=16, k_equals_v=True),
    MHA(num_heads=8, head_dim=16, v_head_dim=3),
    MHA(num_heads=8, head_dim=16, k_equals_v=True),
    MQA(num_heads=8, head_dim=16, v_head_dim=16),
    MQA(num_heads=8, head_dim=16, k_equals_v=True),
    Shared(),
    NoAttention(),
]


@pytest.mark.parametrize("attention", EXAMPLES, ids=lambda attention: attention.label)
def test_a_formula_in_words_gives_what_is_counted(attention: Mechanism) -> None:
    words = re.sub(r"\bx\b", "*", attention.formula)
    names = [name.rstrip("?") for name in type(attention).keys()]  # noqa: SIM118  # not a mapping
    dims = {name: getattr(attention, name) for name in names}
    assert eval(words, {"__builtins__": {}}, dims) == attention.elements  # noqa: S307  # our own words
