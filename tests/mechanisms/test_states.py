"""Constant states and indexers: what engines allocate, and their formats."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from conftest import texts
from state_samples import (
    DEEPSEEK_V32,
    FALCON_MAMBA,
    KIMI_LINEAR,
    LFM2,
    MINIMAX_01,
    NEMOTRON_H,
    QWEN3_NEXT,
    cache,
    model,
)

import kvcalc
from kvcalc.mechanisms import (
    GQA,
    Attention,
    Mamba2,
)
from kvcalc.model.layers import LayerGroup

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
