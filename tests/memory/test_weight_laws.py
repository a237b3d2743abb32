"""Ranks and replicas together hold the checkpoint: random models, deployments and formats."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from weight_sums import weights, weights_of_stages

import kvcalc
from kvcalc.mechanisms import GQA
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart


@st.composite
def deployed(draw: st.DrawFn) -> tuple[kvcalc.Model, int, int]:
    tp, pp = draw(st.sampled_from([1, 2, 3, 6, 12])), draw(st.integers(1, 9))
    hidden, vocab, tied = draw(st.integers(1, 500)), draw(st.integers(1, 500)), draw(st.sampled_from([False, None]))
    splits = st.sampled_from(["tp", "ep"])
    part = st.builds(
        WeightPart,
        part=st.text("abc", min_size=1),
        parameters=st.integers(1, 10**12),
        format=st.sampled_from(["bf16", "fp8", "mxfp4", "fp32"]),
        split=splits,
        scales=st.booleans(),
    )
    parts = draw(st.lists(part, max_size=4))
    model = kvcalc.Model(
        name="m",
        parameters=2 * hidden * vocab + draw(st.integers(1, 10**12)),
        hidden_size=hidden,
        vocab_size=vocab,
        tie_word_embeddings=tied,
        first_k_dense=draw(st.none() | st.integers(0, 12)),
        weight_dtype=draw(st.sampled_from([None, "fp8", "q8_0"])),
        weights=tuple(parts),
        layers=(LayerGroup(count=9, attention=GQA(num_heads=12, num_kv_heads=12, head_dim=1)),),
    )
    return model, tp, pp


@examples(100)
@given(deployed())
def test_ranks_together_hold_the_checkpoint_and_less_than_a_few_bytes_a_rank_more(
    case: tuple[kvcalc.Model, int, int],
) -> None:
    model, tp, pp = case
    whole, _ = weights(model)
    assert whole is not None
    ranks = tp * sum(weights_of_stages(model, tp=tp, pp=pp))
    # Each rank rounds up each of its terms (at most 4), and tables of block formats round up theirs.
    assert whole <= ranks < whole + tp * pp * 4 + 3 * 34


@pytest.mark.parametrize("pp", [2, 3, 18])
def test_a_replica_counts_the_copied_table_of_tied_embeddings(pp: int) -> None:
    """What a replica is said to hold is what its ranks hold: the last stage has a table of its own."""
    replica, _ = weights("gemma-2b", pp=pp)
    assert replica is not None

    assert replica <= sum(weights_of_stages("gemma-2b", pp=pp)) < replica + pp * 4


class Joined(NamedTuple):
    """A listed checkpoint on replicas that may share its experts."""

    model: kvcalc.Model
    options: dict[str, Any]
    replicas: int
    """Replicas that hold the experts once, together."""
    fullest: Fraction
    """What the fullest group of ranks holds of the experts, times the groups: 1 where they divide."""


BLOCKS = {"bf16": (1, 2), "fp8": (1, 1), "mxfp4": (32, 17), "fp32": (1, 4)}


@st.composite
def joined(draw: st.DrawFn) -> Joined:
    tp, pp, dp = draw(st.sampled_from([1, 2, 3, 6])), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    dp_attention = dp > 1 and draw(st.booleans())
    replicas = dp if dp_attention else 1
    experts = draw(st.integers(2, 30))
    ranks = tp * replicas
    ep = draw(st.sampled_from([n for n in range(1, min(ranks, experts) + 1) if ranks % n == 0]))
    kinds: list[tuple[Any, Any]] = [("tp", "embedding"), ("tp", "head"), ("tp", "layers"), ("ep", "layers")]
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=6))
    parts = tuple(
        WeightPart(
            part="x",
            parameters=draw(st.integers(1, 10**10)),
            format=draw(st.sampled_from(sorted(BLOCKS))),
            split=split,
            place=place,
        )
        for split, place in chosen
    )
    model = kvcalc.Model(
        name="m",
        weights=parts,
        num_experts=experts,
        tie_word_embeddings=draw(st.booleans()),
        first_k_dense=draw(st.none() | st.integers(0, 7)),
        layers=(LayerGroup(count=5, attention=GQA(num_heads=6, num_kv_heads=6, head_dim=1)),),
    )
    options = {"tp": tp, "pp": pp, "dp": dp, "ep": ep, "dp_attention": dp_attention}
    return Joined(model, options, replicas, Fraction(-(-experts // ep) * ep, experts))


@examples(200)
@given(joined())
def test_ranks_of_joined_replicas_together_hold_the_checkpoint(case: Joined) -> None:
    sizes = [-(-part.parameters // BLOCKS[part.format][0]) * BLOCKS[part.format][1] for part in case.model.weights]
    pairs = list(zip(case.model.weights, sizes, strict=True))
    experts = sum(size for part, size in pairs if part.split == "ep")
    others = sum(size for part, size in pairs if part.split == "tp")
    tables = [size for part, size in pairs if part.place == "embedding"]
    tp, pp = case.options["tp"], case.options["pp"]
    if tables and pp > 1 and case.model.tie_word_embeddings:
        others += tables[0]

    held = case.replicas * tp * sum(weights_of_stages(case.model, **case.options))
    wanted = case.replicas * others + experts * case.fullest
    rounding = case.replicas * tp * pp * (len(sizes) + 1)
    assert wanted <= held < wanted + rounding
    replica, _ = weights(case.model, **case.options)
    assert replica is not None
    assert others * case.replicas + experts <= replica * case.replicas < wanted + rounding
