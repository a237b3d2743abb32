"""Rows of weights that a format's blocks or a number of ranks do not divide: told in notes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conftest import texts
from weight_sums import listed

import kvcalc
from kvcalc.mechanisms import MHA
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart


def row_notes(model: kvcalc.Model | str, **options: Any) -> list[str]:
    return [note for note in texts(kvcalc.estimate(model, context=1, **options).notes) if "ranks leave rows" in note]


def row_note(ranks: int, row: str, width: str, part: str, block: int) -> str:
    return (
        f"{ranks} ranks leave rows of {row} elements ({width} / {ranks}) in '{part}', not whole blocks of {block} that "
        "share a scale: engines pad them or refuse, and padding is not counted"
    )


EXPERTS_2880, EXPERTS_2048 = "moe_intermediate_size 2,880", "moe_intermediate_size 2,048"


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("gpt-oss-120b", {"tp": 2}, []),  # 1,440 elements are 45 blocks
        ("gpt-oss-120b", {"tp": 4}, [row_note(4, "720", EXPERTS_2880, "experts", 32)]),
        ("gpt-oss-120b", {"tp": 8}, [row_note(8, "360", EXPERTS_2880, "experts", 32)]),
        ("gpt-oss-120b", {"tp": 8, "ep": 8}, []),  # whole experts
        ("gpt-oss-120b", {"tp": 8, "ep": 2}, [row_note(4, "720", EXPERTS_2880, "experts", 32)]),
        (
            "gpt-oss-120b",
            {"tp": 4, "dp": 2, "dp_attention": True},
            [row_note(8, "360", EXPERTS_2880, "experts", 32)],
        ),
        ("gpt-oss-120b", {"tp": 64}, [row_note(64, "45", EXPERTS_2880, "experts", 32)]),
        ("gpt-oss-120b", {"tp": 8, "weight_dtype": "bf16"}, []),
        ("gpt-oss-120b", {"tp": 8, "weights": "60GB"}, []),
        # It has no dense layers: attention's rows are 64 heads x 64.
        (
            "gpt-oss-120b",
            {"tp": 8, "weight_dtype": "q8_0"},
            [row_note(8, "360", EXPERTS_2880, "experts", 32)],
        ),
        ("minimax-m2.5", {"tp": 4}, []),
        ("minimax-m2.5", {"tp": 8}, [row_note(8, "192", "moe_intermediate_size 1,536", "experts", 128)]),
        ("deepseek-v3", {"tp": 16}, []),
        (
            "deepseek-v3",
            {"tp": 32},
            [
                row_note(32, "64", EXPERTS_2048, "routed experts", 128),
                row_note(32, "576", "intermediate_size 18,432", "attention, dense and shared expert layers", 128),
            ],
        ),
        (
            "deepseek-v3",
            {"tp": 32, "ep": 32},
            [
                row_note(32, "576", "intermediate_size 18,432", "attention, dense and shared expert layers", 128),
            ],
        ),
        # A format for all weights has blocks of its own; 28,672 = 64 x 448.
        ("llama-3-70b", {"tp": 32, "weight_dtype": "fp8_block128"}, []),
        (
            "llama-3-70b",
            {"tp": 64, "weight_dtype": "fp8_block128"},
            [row_note(64, "448", "intermediate_size 28,672", "layers", 128)],
        ),
        ("llama-3-70b", {"tp": 64, "weight_dtype": "q4_0"}, []),
    ],
)
def test_rows_that_are_not_whole_blocks(model: str, options: dict[str, Any], expected: list[str]) -> None:
    assert row_notes(model, **options) == expected


def test_rows_that_ranks_do_not_divide() -> None:
    model = kvcalc.Model(
        name="m",
        parameters=100,
        weight_dtype="q8_0",
        intermediate_size=100,
        layers=(LayerGroup(count=1, attention=MHA(num_heads=8, head_dim=1)),),
    )

    assert row_notes(model, tp=8) == [row_note(8, "12.5", "intermediate_size 100", "parameters", 32)]
    assert row_notes(model) == []
    assert row_notes(replace(model, intermediate_size=None), tp=8) == []
    assert row_notes(replace(model, intermediate_size=512), tp=8) == []


@pytest.mark.parametrize(
    ("dims", "width"),
    [
        ({"num_experts": 4}, None),
        ({"num_experts": 4, "first_k_dense": 0, "num_shared_experts": 0}, None),
        ({"num_experts": 4, "num_shared_experts": 1}, "moe_intermediate_size 160"),
        ({"num_experts": 4, "first_k_dense": 1}, "intermediate_size 224"),
        ({"num_experts": 4, "first_k_dense": 1, "num_shared_experts": 1}, "intermediate_size 224"),
        ({}, "intermediate_size 224"),
        ({"num_experts": 1}, "intermediate_size 224"),
    ],
)
def test_the_rows_beside_the_routed_experts(dims: dict[str, Any], width: str | None) -> None:
    """Those of dense layers where there are any, else of shared experts, which are as wide as routed ones."""
    part = WeightPart(part="rest", parameters=100, format="mxfp4")
    model = listed(part, intermediate_size=224, moe_intermediate_size=160, **dims)
    row = {"intermediate_size 224": "112", "moe_intermediate_size 160": "80"}

    assert row_notes(model, tp=2) == ([] if width is None else [row_note(2, row[width], width, "rest", 32)])
    assert row_notes(replace(model, weights=(replace(part, weight_block_size=16),)), tp=2) == []
    assert row_notes(replace(model, weights=(replace(part, place="head"),)), tp=2) == []
