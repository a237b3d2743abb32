"""What tensor parallelism must divide, and mechanisms that a file gets wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from state_samples import DEEPSEEK_V32, QWEN3_NEXT, cache, model

import kvcalc
from kvcalc.mechanisms import (
    KDA,
    Attention,
    Cross,
    Lightning,
    Mamba1,
    Mamba2,
    Mechanism,
    ShortConv,
)

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


def test_all_known_keys_are_listed_once_however_many_are_unknown(tmp_path: Any) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("name: m\nnum_hidden_layers: 2\nnum_attention_heads: 8\nlayers: []\n", encoding="utf-8")
    with pytest.raises(kvcalc.KvcalcError) as refused:
        kvcalc.load_model(file)
    told = str(refused.value)
    assert told.count("unknown key") == 2
    assert told.count("; there are name, hub_ids,") == 1


def test_an_indexer_of_another_width_is_refused_where_scales_do_not_fit() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="fp8_block128 stores blocks of 128 elements, and a row here has 64"):
        kvcalc.estimate(model(replace(DEEPSEEK_V32, index_head_dim=64)))
    assert cache(model(replace(DEEPSEEK_V32, index_head_dim=64)), context=1, cache_dtype="index_k=bf16").bytes == 1280
