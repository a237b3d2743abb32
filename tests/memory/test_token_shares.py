"""Ranks that share tokens, prefixes that sequences share: against tokens dealt out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from deployment_rules import latent, laws, models
from hypothesis import assume, given
from hypothesis import strategies as st

import kvcalc
from kvcalc.legality import legal_dcps, legal_tps
from kvcalc.mechanisms import GQA
from kvcalc.model.ad_hoc import AdHoc
from kvcalc.model.layers import LayerGroup

# The worked rows of the public interface: batch 1 x 8,192 tokens in bf16.


@pytest.mark.parametrize(
    ("model", "options", "per_token", "per_rank", "every_copy", "one_copy"),
    [
        ("llama-3-70b", {"tp": 16}, 40_960, 335_544_320, 5_368_709_120, 2_684_354_560),
        ("deepseek-v3", {"tp": 8}, 70_272, 575_668_224, 4_605_345_792, 575_668_224),
        # Two ranks that hold the same head keep half of its tokens each: no copies are left.
        ("llama-3-70b", {"tp": 16, "dcp": 2}, 20_480, 167_772_160, 2_684_354_560, 2_684_354_560),
        ("deepseek-v3", {"tp": 8, "dcp": 8}, 8_784, 71_958_528, 575_668_224, 575_668_224),
        ("deepseek-v3", {"tp": 8, "dcp": 2}, 35_136, 287_834_112, 2_302_672_896, 575_668_224),
        # Experts do not matter, and every replica keeps its own sequences whole.
        ("deepseek-v3", {"tp": 8, "ep": 8}, 70_272, 575_668_224, 4_605_345_792, 575_668_224),
        ("deepseek-v3", {"dp": 8, "ep": 8, "dp_attention": True}, 70_272, 575_668_224, 575_668_224, 575_668_224),
    ],
)
def test_worked_rows(
    model: str, options: dict[str, Any], per_token: int, per_rank: int, every_copy: int, one_copy: int
) -> None:
    cache = kvcalc.estimate(model, batch=1, context=8192, cache_dtype="bf16", **options).cache

    assert (cache.bytes_per_token, cache.bytes_per_token_at_context) == (per_token, per_token)
    assert (cache.bytes_per_rank, cache.bytes_per_sequence) == (per_rank, per_rank)
    assert (cache.bytes, cache.one_copy_bytes) == (every_copy, one_copy)


@pytest.mark.parametrize(("batch", "sequences"), [(1, 1), (8, 1), (9, 2), (16, 2), (17, 3)])
@pytest.mark.parametrize(
    "options", [{"dp": 8}, {"dp": 8, "dp_attention": True}, {"dp": 8, "dp_attention": True, "ep": 8}]
)
def test_replicas_share_the_batch(batch: int, sequences: int, options: dict[str, Any]) -> None:
    cache = kvcalc.estimate("deepseek-v3", batch=batch, context=1000, **options).cache

    assert cache.bytes == cache.bytes_per_rank == sequences * 70_272_000
    assert cache.one_copy_bytes == sequences * 70_272_000
    assert cache.bytes_per_sequence == 70_272_000


# Tokens dealt to ranks.


class Kept(NamedTuple):
    """Layers of one kind, as the test's own arithmetic sees them."""

    layers: int
    row_bytes: int
    window: int | None


def rows_of_rank(kept: Kept, rank: int, dcp: int, batch: int, context: int, prefix: int) -> int:
    """The tokens that a rank keeps of a layer, one by one; a token of the prefix is the same for all sequences."""
    tokens = range(context) if kept.window is None else range(max(0, context - kept.window), context)
    return len(
        {
            (token, None if token < prefix else sequence)
            for token in tokens
            if kept.window is not None or token % dcp == rank
            for sequence in range(batch)
        }
    )


@laws
@given(
    st.lists(st.builds(Kept, st.integers(1, 3), st.just(24), st.none() | st.integers(1, 50)), min_size=1, max_size=3),
    st.sampled_from([1, 2, 3, 4, 6, 12]),
    st.integers(1, 4),
    st.integers(1, 40),
    st.integers(0, 40),
)
def test_tokens_dealt_to_ranks_in_turn(kept: list[Kept], dcp: int, batch: int, context: int, prefix: int) -> None:
    """A latent of 8 + 4 elements of 2 bytes on 12 ranks; the fullest keeps what is charged."""
    assume(prefix <= context and (dcp == 1 or any(each.window is None for each in kept)))
    model = kvcalc.Model(
        name="m",
        layers=tuple(LayerGroup(count=each.layers, attention=latent(12), window=each.window) for each in kept),
    )
    options: dict[str, Any] = {"batch": batch, "context": context, "tp": 12, "dcp": dcp}
    cache = kvcalc.estimate(model, shared_prefix=prefix or None, **options).cache

    by_rank = [
        sum(each.layers * each.row_bytes * rows_of_rank(each, rank, dcp, batch, context, prefix) for each in kept)
        for rank in range(dcp)
    ]
    assert cache.bytes_per_rank == max(by_rank)
    assert cache.bytes == 12 * max(by_rank)
    assert sum(term.bytes for term in cache.terms) == cache.bytes


def mixed() -> kvcalc.Model:
    """2 full layers and 3 with a window of 100: 64 bytes a token and layer on one rank of 2, one of 2 KV heads."""
    attention = GQA(num_heads=4, num_kv_heads=1, head_dim=16)
    return kvcalc.Model(
        name="mixed",
        layers=(
            LayerGroup(count=2, attention=attention),
            LayerGroup(count=3, attention=attention, window=100),
        ),
    )


@pytest.mark.parametrize(
    ("context", "dcp", "rows"),
    [
        (1000, 1, 2 * 1000 + 3 * 100),
        (1000, 2, 2 * 500 + 3 * 100),
        (1001, 2, 2 * 501 + 3 * 100),
        (1001, 4, 2 * 251 + 3 * 100),
        (100, 2, 2 * 50 + 3 * 100),
        (99, 2, 2 * 50 + 3 * 99),  # a window that is not full is not split either
        (1, 4, 2 * 1 + 3 * 1),
    ],
)
def test_tokens_are_split_and_windows_are_not(context: int, dcp: int, rows: int) -> None:
    cache = kvcalc.estimate(mixed(), context=context, tp=4, dcp=dcp).cache

    assert cache.bytes_per_rank == cache.bytes_per_sequence == 64 * rows
    assert cache.bytes == 4 * 64 * rows
    assert cache.one_copy_bytes == 64 * (2 * context + 3 * min(context, 100))
    assert cache.without_windows_bytes == 4 * 64 * 5 * -(-context // dcp)


@pytest.mark.parametrize(
    ("context", "dcp", "per_token", "at_context"),
    [
        (50, 1, 5 * 64, 5 * 64),
        (1000, 1, 5 * 64, 2 * 64),
        (1000, 2, 4 * 64, 1 * 64),  # 2 layers of half a row, and 3 windows that hold it whole
        (1000, 4, 224, 32),
    ],
)
def test_a_tokens_bytes_where_ranks_share_tokens(context: int, dcp: int, per_token: int, at_context: int) -> None:
    cache = kvcalc.estimate(mixed(), context=context, tp=4, dcp=dcp).cache

    assert (cache.bytes_per_token, cache.bytes_per_token_at_context) == (per_token, at_context)


def test_the_rank_that_got_no_token_of_the_prefix_may_be_the_fullest() -> None:
    """One shared token and one of their own for 10 sequences: a rank keeps the former, the other all of the latter."""
    model = AdHoc(layers=1, heads=2, kv_heads=1, head_dim=8).model()
    cache = kvcalc.estimate(model, batch=10, context=2, tp=2, dcp=2, shared_prefix=1).cache

    assert cache.bytes_per_rank == 10 * 32


@pytest.mark.parametrize(
    ("prefix", "rows"),
    [
        (600, 2 * (600 + 3 * 400) + 3 * (3 * 100)),  # windows have moved on from the prefix
        (900, 2 * (900 + 3 * 100) + 3 * (3 * 100)),
        (940, 2 * (940 + 3 * 60) + 3 * (40 + 3 * 60)),  # they still cover its last 40 tokens
        (1000, 2 * 1000 + 3 * 100),
    ],
)
def test_a_shared_prefix_is_kept_once(prefix: int, rows: int) -> None:
    cache = kvcalc.estimate(mixed(), batch=3, context=1000, shared_prefix=prefix).cache

    assert cache.bytes == cache.bytes_per_rank == 64 * rows
    assert cache.bytes_per_sequence == 64 * (2 * 1000 + 3 * 100)


def test_the_prefix_is_a_term_of_its_own() -> None:
    """5 of the 10 tokens that 3 sequences share are on a rank, and 3 of the 5 that each has of its own."""
    model = AdHoc(layers=7, heads=2, kv_heads=1, head_dim=16).model()
    terms = kvcalc.estimate(model, batch=3, context=15, tp=2, dcp=2, shared_prefix=10).cache.terms

    assert [(term.path, term.numbers) for term in terms] == [
        ("mqa 2/1 x 16: k+v, shared prefix", "2 x 7 layers x 5 tokens shared x 16 x 2 bytes x 2 ranks"),
        ("mqa 2/1 x 16: k+v", "2 x 7 layers x 3 sequences x 3 tokens of its own x 16 x 2 bytes x 2 ranks"),
    ]


def test_every_replica_has_the_prefix() -> None:
    """7 sequences over 3 replicas: the fullest has 3."""
    model = AdHoc(layers=1, heads=1, head_dim=16).model()

    assert kvcalc.estimate(model, batch=7, context=100, dp=3, shared_prefix=90).cache.bytes == 64 * (90 + 3 * 10)
    assert kvcalc.estimate(model, batch=3, context=100, dp=3, shared_prefix=90).cache.bytes == 64 * 100


@pytest.mark.parametrize("model", ["llama-3-8b", "gemma-3-27b", "deepseek-v3", "gpt-oss-120b"])
@pytest.mark.parametrize("prefix", [1, 100, 4000, 5000])
def test_one_sequence_shares_with_none(model: str, prefix: int) -> None:
    alone = kvcalc.estimate(model, context=5000, tp=2, pp=2)
    shared = kvcalc.estimate(model, context=5000, tp=2, pp=2, shared_prefix=prefix)

    assert replace(shared.cache, terms=(), tree=alone.cache.tree) == replace(alone.cache, terms=())
    assert shared.memory.per_rank.cache_bytes == alone.memory.per_rank.cache_bytes


@laws
@given(models(), st.integers(1, 5), st.integers(1, 60), st.integers(1, 60), st.data())
def test_sharing_more_never_takes_more(
    model: kvcalc.Model, batch: int, context: int, prefix: int, data: st.DataObject
) -> None:
    assume(prefix <= context)
    tp = data.draw(st.sampled_from(legal_tps(model)))
    options: dict[str, Any] = {"batch": batch, "context": context, "tp": tp}
    dcp = data.draw(st.sampled_from(legal_dcps(model, tp)))
    none = kvcalc.estimate(model, dcp=dcp, **options).cache.bytes
    some = kvcalc.estimate(model, dcp=dcp, shared_prefix=prefix, **options).cache.bytes
    most = kvcalc.estimate(model, dcp=dcp, shared_prefix=context, **options).cache.bytes

    assert none >= some >= most == kvcalc.estimate(model, dcp=dcp, **{**options, "batch": 1}).cache.bytes
