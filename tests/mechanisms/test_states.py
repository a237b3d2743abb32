"""Constant states, chunks, encoders and indexers: what engines allocate, and what must hold of any of them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from conftest import Kvcalc, texts
from hypothesis import given, settings
from hypothesis import strategies as st

import kvcalc
from kvcalc.mechanisms import (
    GQA,
    KDA,
    MHA,
    MLA,
    MQA,
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
from kvcalc.model.layers import LayerGroup

laws = settings(max_examples=60, deadline=None)

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


# What serving engines allocate for a sequence: vLLM 0.33.0 (V), SGLang 0.5.23 (S), llama.cpp with ggml 0.25.3 (L), as
# run on a CPU, with the formats that each of them has.
ENGINES: list[tuple[str, Attention, int, int, dict[str, str], int]] = [
    ("V Qwen3-Next, state in bf16", QWEN3_NEXT, 36, 1, {"state_dtype": "bf16"}, 39_518_208),
    ("V Qwen3-Next, state in fp32", QWEN3_NEXT, 36, 1, {}, 77_266_944),
    ("V Qwen3-Next on one of 4 ranks, state in bf16", QWEN3_NEXT, 36, 4, {"state_dtype": "bf16"}, 9_879_552),
    ("V Nemotron-H-8B", NEMOTRON_H, 24, 1, {}, 102_137_856),
    ("V Falcon-Mamba-7B, state in bf16", FALCON_MAMBA, 64, 1, {"state_dtype": "bf16"}, 19_922_944),
    ("V LFM2-1.2B", LFM2, 10, 1, {}, 81_920),
    ("V MiniMax-Text-01 on one of 8 ranks", MINIMAX_01, 70, 8, {}, 36_700_160),
    ("S Qwen3-Next", QWEN3_NEXT, 36, 1, {}, 77_266_944),
    ("S Qwen3-Next on one of 4 ranks", QWEN3_NEXT, 36, 4, {}, 19_316_736),
    ("S Nemotron-H-8B", NEMOTRON_H, 24, 1, {}, 102_137_856),
    ("S Kimi-Linear-48B-A3B", KIMI_LINEAR, 20, 1, {}, 43_417_600),
    ("V Nemotron-H-8B on one of 16 ranks, a layer", NEMOTRON_H, 1, 16, {}, 266_752),
    # 4 sequences of 2 layers in fp32: inputs of 10,240 channels 0.94 MiB, states 32.00 MiB
    ("L Nemotron-H-8B's dims", NEMOTRON_H, 2, 1, {"conv_dtype": "fp32"}, 2 * (3 * 10_240 + 1_048_576) * 4),
]


@pytest.mark.parametrize(
    ("attention", "layers", "tp", "formats", "expected"),
    [case[1:] for case in ENGINES],
    ids=[case[0] for case in ENGINES],
)
def test_a_state_is_what_engines_allocate(
    attention: Attention, layers: int, tp: int, formats: dict[str, str], expected: int
) -> None:
    for context in (1, 100_000):
        found = cache(model(attention, count=layers), context=context, tp=tp, **formats)
        assert found.bytes_per_sequence == found.state_bytes_per_sequence == expected
        assert found.bytes_per_token == found.bytes_per_token_at_context == 0
        assert found.bytes_per_rank == expected
        assert found.lower_bound


def test_llama_cpp_prints_its_states_in_mebibytes() -> None:
    """R 0.94 MiB and S 32.00 MiB of 4 sequences."""
    terms = cache(model(NEMOTRON_H, count=2), batch=4, context=1, conv_dtype="fp32").terms
    conv = sum(term.bytes for term in terms if "conv" in term.path.rpartition(":")[2])
    state = sum(term.bytes for term in terms if term.path.endswith("state"))
    assert (round(conv / 2**20, 2), round(state / 2**20, 2)) == (0.94, 32.00)


def test_transformers_keeps_an_input_more_than_the_next_token_reads() -> None:
    """Of transformers 5.23.0, run: 2 layers in bf16, states in fp32, take 565,248 bytes, with 4 inputs of kernel 4."""
    small = Mamba2(num_heads=8, head_dim=64, state_size=128, num_groups=8, conv_kernel=4)
    one_input = (8 * 64 + 2 * 8 * 128) * 2
    assert cache(model(small, count=2), context=100).bytes == 565_248 - 2 * one_input


@pytest.mark.parametrize(
    ("cache_dtype", "per_token"),
    [
        (None, 1152 + 132),  # DeepSeek-V3.2-Exp's own inference code
        ("fp8_ds_mla", 656 + 132),  # 61 x 788 bytes a token in SGLang's log of 975,424 tokens
        ("fp8", 576 + 132),
        ("index_k=bf16", 1152 + 256),  # transformers
        ("c_kv=fp8_block128,k_rope=bf16,index_k=bf16", 656 + 256),
        ("fp8_per_token_head", 576 + 8 + 132),
        ("q8_0", 18 * 34 + 132),
    ],
)
def test_an_indexers_keys_have_a_format_of_their_own(cache_dtype: str | None, per_token: int) -> None:
    found = cache(model(DEEPSEEK_V32, count=61), context=8192, cache_dtype=cache_dtype)
    assert found.bytes_per_token == found.bytes_per_token_at_context == 61 * per_token
    assert found.bytes == 8192 * 61 * per_token
    assert not found.lower_bound


def test_an_indexer_is_whole_on_every_rank_whatever_splits_tokens() -> None:
    found = cache(model(DEEPSEEK_V32, count=61), context=8192, tp=8, dcp=8)
    assert found.bytes_per_rank == 61 * (1024 * 1152 + 8192 * 132)
    assert cache(model(DEEPSEEK_V32, count=61), context=8192, tp=8).bytes_per_rank == 61 * 8192 * 1284


def test_a_layer_that_uses_an_earlier_choice_keeps_no_index() -> None:
    without = replace(DEEPSEEK_V32, index_head_dim=None, index_n_heads=None)
    assert cache(model(DEEPSEEK_V32, without), context=100).bytes == 100 * (2 * 1152 + 132)


def test_qwen3_next_at_8192_tokens() -> None:
    full = GQA(num_heads=16, num_kv_heads=2, head_dim=256)
    hybrid = kvcalc.Model(
        name="m",
        dtype="bf16",
        layers=(LayerGroup(count=36, attention=QWEN3_NEXT), LayerGroup(count=12, attention=full)),
    )
    found = cache(hybrid, context=8192)
    assert found.bytes == 278_593_536 == 8192 * found.bytes_per_token + found.state_bytes_per_sequence
    assert found.bytes_per_token == 12 * 2 * 2 * 256 * 2
    assert cache(hybrid, context=8192, cache_dtype="fp8").state_bytes_per_sequence == 77_266_944


# --- formats of states ---


def test_formats_of_states_by_file_option_and_default() -> None:
    own = replace(NEMOTRON_H, conv_dtype="fp32", state_dtype="bf16")
    inputs, state = 3 * 10_240, 1_048_576

    def size(attention: Attention, **options: Any) -> int:
        return int(cache(model(attention), context=5, **options).bytes)

    assert size(NEMOTRON_H) == inputs * 2 + state * 4
    assert size(NEMOTRON_H, dtype="fp16") == inputs * 2 + state * 4
    assert size(NEMOTRON_H, dtype="fp32") == inputs * 4 + state * 4
    assert size(own) == inputs * 4 + state * 2
    assert size(own, state_dtype="fp32", conv_dtype="fp16") == inputs * 2 + state * 4
    assert size(own, cache_dtype="fp8") == size(own)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_dtype": "fp8"}, "--state-dtype: states are kept in fp32, bf16, fp16, not in fp8"),
        ({"conv_dtype": "q8_0"}, "--conv-dtype: states are kept in fp32, bf16, fp16, not in q8_0"),
        ({"state_dtype": "fp33"}, "--state-dtype: unknown format 'fp33'"),
        ({"cache_dtype": "state=bf16"}, "--cache-dtype: 'state' is a constant state, whose format --state-dtype says"),
        ({"cache_dtype": "conv_x=bf16"}, "--cache-dtype: 'conv_x' is a constant state, whose format --conv-dtype says"),
    ],
)
def test_formats_that_states_cannot_have(options: dict[str, Any], message: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=re.escape(message)):
        kvcalc.estimate(model(NEMOTRON_H), **options)


def test_a_format_that_nothing_is_kept_in_is_told() -> None:
    notes = texts(kvcalc.estimate("llama-3-8b", state_dtype="bf16", conv_dtype="fp32").notes)
    assert "--state-dtype: no layer of this model keeps such a state" in notes
    assert "--conv-dtype: no layer of this model keeps such a state" in notes
    used = texts(kvcalc.estimate(model(LFM2), conv_dtype="fp32").notes)
    assert not any("no layer of this model" in each for each in used)


# --- cross attention and chunks ---


def test_an_encoders_tokens_are_kept_once_for_each_sequence() -> None:
    cross = Cross(num_heads=32, num_kv_heads=8, head_dim=128, encoder_context=6404)
    text = GQA(num_heads=32, num_kv_heads=8, head_dim=128)
    vision = model(cross, text)
    for context in (1, 8192):
        found = cache(vision, batch=3, context=context)
        assert found.state_bytes_per_sequence == 6404 * 8 * 256 * 2
        assert found.bytes == 3 * (6404 + context) * 4096
        assert found.bytes_per_token == 4096
    assert cache(vision, context=1, tp=16).bytes_per_rank == (6404 + 1) * 256 * 2  # a head on each of two ranks
    assert cache(vision, context=1, cache_dtype="fp8").bytes == (6404 + 1) * 2048


@pytest.mark.parametrize(
    ("context", "kept"), [(1, 1), (8191, 8191), (8192, 8192), (8193, 8192), (16_384, 8192), (100_000, 8192)]
)
def test_a_chunk_is_counted_at_its_fullest(context: int, kept: int) -> None:
    """One more token is never less, though a new chunk begins empty."""
    chunked = model(GQA(num_heads=40, num_kv_heads=8, head_dim=128), count=36, chunk=8192)
    assert cache(chunked, context=context).bytes == 36 * 2048 * 2 * kept


def test_a_chunk_shares_a_prefix_only_where_it_is_in_it() -> None:
    chunked = model(MQA(num_heads=2, head_dim=16), chunk=100)
    row = 2 * 16 * 2

    def kept(context: int, prefix: int) -> int:
        return int(cache(chunked, batch=10, context=context, shared_prefix=prefix).bytes) // row

    assert kept(90, 50) == 50 + 10 * 40
    assert kept(100, 100) == 100
    assert kept(150, 50) == 10 * 100  # the chunk of 100 to 199 has none of it
    assert kept(150, 120) == 20 + 10 * 80


# --- several caches in one layer ---


def test_caches_side_by_side_in_a_layer_add_up() -> None:
    text, state = GQA(num_heads=20, num_kv_heads=4, head_dim=128), replace(NEMOTRON_H, num_heads=32, num_groups=2)
    both = kvcalc.Model(name="m", dtype="bf16", layers=(LayerGroup(count=72, attention=(text, state)),))
    apart = model(text, state, count=72)
    for options in ({}, {"tp": 4}, {"batch": 7, "context": 3}, {"state_dtype": "bf16", "cache_dtype": "fp8"}):
        side_by_side, one_by_one = cache(both, **options), cache(apart, **options)
        assert side_by_side.bytes == one_by_one.bytes
        assert side_by_side.state_bytes_per_sequence == one_by_one.state_bytes_per_sequence
    assert (both.num_layers, apart.num_layers) == (72, 144)
    assert len(both.sequence()) == 72


def test_stages_of_layers_with_several_caches() -> None:
    """28 layers on 3 stages: 10, 9 and 9, each with both of its caches."""
    latent = replace(DEEPSEEK_V32, index_head_dim=None, index_n_heads=None, index_topk=None)
    longcat = kvcalc.Model(name="m", dtype="bf16", layers=(LayerGroup(count=28, attention=(latent, latent)),))
    assert cache(longcat, context=10).bytes == 28 * 2 * 576 * 2 * 10
    assert cache(longcat, context=10, pp=3).bytes_per_rank == 10 * 2 * 576 * 2 * 10
    assert cache(longcat, context=10, pp=28).bytes_per_rank == 2 * 576 * 2 * 10


def test_windows_and_formats_are_of_the_caches_that_grow() -> None:
    text, state = GQA(num_heads=20, num_kv_heads=4, head_dim=128), replace(NEMOTRON_H, num_heads=32, num_groups=2)
    both = kvcalc.Model(
        name="m", dtype="bf16", layers=(LayerGroup(count=2, attention=(text, state), window=7, cache_dtype="fp8"),)
    )
    assert [layer.label for layer in both.distinct()] == ["gqa 20/4 x 128, window 7, fp8", state.label]
    found = cache(both, context=100)
    assert found.state_bytes_per_sequence == cache(model(state, count=2)).bytes
    assert found.bytes - found.state_bytes_per_sequence == 2 * 7 * 2 * 4 * 128
    without = cache(both, context=100).without_windows_bytes
    assert without - found.state_bytes_per_sequence == 2 * 100 * 2 * 4 * 128


def test_weights_of_stages_count_layers_not_caches() -> None:
    """Two caches a layer, and half of the layers on each of two stages."""
    latent = replace(DEEPSEEK_V32, index_head_dim=None, index_n_heads=None, index_topk=None)
    twice = kvcalc.Model(
        name="m",
        dtype="bf16",
        hidden_size=64,
        vocab_size=1000,
        tie_word_embeddings=False,
        parameters=2 * 64_000 + 6_000,
        layers=(LayerGroup(count=6, attention=(latent, latent)),),
    )
    rank = kvcalc.estimate(twice, pp=2).memory.per_rank
    assert rank.weights_bytes == 2 * (64_000 + 3_000)


def test_dcp_is_not_limited_by_an_encoders_heads() -> None:
    """Those of an encoder's tokens are not shared, so only the text's one head, on all 8 ranks, counts."""
    vision = model(MQA(num_heads=8, head_dim=16), Cross(num_heads=8, num_kv_heads=8, head_dim=16, encoder_context=10))
    found = cache(vision, context=80, tp=8, dcp=8)
    assert found.bytes_per_rank == (10 + 10) * 2 * 16 * 2


def test_what_an_encoder_adds_to_a_step() -> None:
    vision = kvcalc.estimate("llama-3.2-11b-vision", context=1000).decode
    assert vision is not None
    (cross,) = (term for term in vision.terms.parts[2].parts if "cross" in term.path)  # type: ignore[union-attr]
    assert cross.bytes == 2 * 8 * 6404 * 32 * 2 * 128


def test_no_rotary_key_is_no_tensor() -> None:
    kept = replace(DEEPSEEK_V32, qk_rope_head_dim=0).cached()
    assert [tensor.name for tensor in kept] == ["c_kv", "index_k"]


def test_lists_tell_growth_from_states(kvcalc_lists: dict[str, Any]) -> None:
    assert (kvcalc_lists["bytes_per_token"], kvcalc_lists["state_bytes_per_sequence"]) == (24_576, 77_266_944)
    row = next(row for row in kvcalc.compare("qwen3-next-80b-a3b", context=8192).rows if row.own)
    assert (row.bytes_per_token, row.state_bytes_per_sequence) == (24_576, 77_266_944)
    assert row.cache_bytes == 278_593_536


@pytest.fixture
def kvcalc_lists(kvcalc: Kvcalc) -> dict[str, Any]:
    models = json.loads(kvcalc("models", "list", "--json").stdout)["models"]
    return next(each for each in models if each["name"] == "qwen3-next-80b-a3b")


# --- laws ---

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


# --- what tensor parallelism must divide ---


@pytest.mark.parametrize(
    ("attention", "legal"),
    [
        (QWEN3_NEXT, [1, 2, 4, 8, 16]),
        (KDA(num_heads=96, head_dim=128, conv_kernel=4), [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 96]),
        (Mamba2(num_heads=24, head_dim=64, state_size=128, num_groups=8, conv_kernel=4), [1, 2, 4, 8, 24]),
        (Mamba2(num_heads=8, head_dim=64, state_size=128, num_groups=1, conv_kernel=4), [1, 2, 4, 8]),
        (Mamba1(intermediate_size=12, state_size=16, conv_kernel=4), [1, 2, 3, 4, 6, 12]),
        (ShortConv(hidden_size=6, conv_kernel=3), [1, 2, 3, 6]),
        (Lightning(num_heads=6, head_dim=4), [1, 2, 3, 6]),
        (Cross(num_heads=12, num_kv_heads=4, head_dim=8, encoder_context=9), [1, 2, 4, 12]),
    ],
    ids=lambda value: value.label if isinstance(value, Mechanism) else "",
)
def test_legal_sizes(attention: Attention, legal: list[int]) -> None:
    of = model(attention)
    for tp in range(1, 100):
        if tp in legal:
            kvcalc.estimate(of, tp=tp)
        else:
            with pytest.raises(kvcalc.KvcalcError, match=f"^tp: {tp} is illegal for this model; legal are"):
                kvcalc.estimate(of, tp=tp)


# --- refused ---

REFUSED: list[tuple[str, str]] = [
    (
        "attention: {kind: mha, num_heads: 2, head_dim: 8}, window: 4, chunk: 4",
        "a window or chunks, not both",
    ),
    (
        "attention: {kind: kda, num_heads: 2, head_dim: 8, conv_kernel: 4}, window: 4",
        "window does not apply to attention of kind 'kda'",
    ),
    (
        "attention: {kind: kda, num_heads: 2, head_dim: 8, conv_kernel: 4}, cache_dtype: fp8",
        "cache_dtype: attention of kind 'kda' has no cache that it would apply to",
    ),
    (
        "attention: {kind: kda, num_heads: 2, head_dim: 8, conv_kernel: 4, state_dtype: q8_0}",
        "state_dtype: states are kept in fp32, bf16, fp16, not in q8_0",
    ),
    (
        "attention: {kind: mamba2, num_heads: 4, head_dim: 8, state_size: 4, num_groups: 3, conv_kernel: 4}",
        "num_groups must divide num_heads, and 3 does not divide 4",
    ),
    (
        (
            "attention: {kind: gated_deltanet, num_k_heads: 3, num_v_heads: 4, k_head_dim: 4, v_head_dim: 4, "
            "conv_kernel: 4}"
        ),
        "num_k_heads must divide num_v_heads, and 3 does not divide 4",
    ),
    (
        "attention: {kind: mha, num_heads: 2, head_dim: 8, v_head_dim: 4, k_equals_v: true}",
        "v_head_dim: is head_dim where k_equals_v is true, and 4 is not 8",
    ),
    (
        (
            "attention: {kind: mla, num_heads: 2, kv_lora_rank: 8, qk_rope_head_dim: 4, qk_nope_head_dim: 8, "
            "v_head_dim: 8, index_n_heads: 4}"
        ),
        "index_n_heads: goes with index_head_dim",
    ),
    ("attention: []", "attention: must not be empty"),
    (
        "attention: [{kind: mha, num_heads: 2, head_dim: 8}, {kind: mamba3, state_size: 4}]",
        "unknown kind 'mamba3'; did you mean 'mamba",
    ),
    (
        "attention: [{kind: mha, num_heads: 2, head_dim: 8}, {kind: kda, num_heads: 2, head_dims: 8}]",
        "unknown key 'head_dims'; did you mean 'head_dim'",
    ),
    (
        "attention: {kind: lightning, num_heads: 2, head_dim: 8, conv_kernel: 4}",
        "unknown key 'conv_kernel'; it belongs to",
    ),
]


@pytest.mark.parametrize(("group", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_mistake_in_a_file_is_told_with_its_place(group: str, message: str, tmp_path: Any) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(f"name: m\nlayers:\n  - {{count: 1, {group}}}\n", encoding="utf-8")
    with pytest.raises(kvcalc.KvcalcError, match=rf"m\.yaml:3:\d+: .*{re.escape(message)}"):
        kvcalc.load_model(file)


def test_an_indexer_of_another_width_is_refused_where_scales_do_not_fit() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="fp8_block128 stores blocks of 128 elements, and a row here has 64"):
        kvcalc.estimate(model(replace(DEEPSEEK_V32, index_head_dim=64)))
    assert cache(model(replace(DEEPSEEK_V32, index_head_dim=64)), context=1, cache_dtype="index_k=bf16").bytes == 1280
