"""Deployments: which are legal, and what their ranks hold, against the rules restated and tokens dealt out by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from conftest import Kvcalc, texts
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import kvcalc
from kvcalc.legality import check_legal, legal_dcps, legal_eps, legal_tps
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention, MLAExpanded, NoAttention, Shared
from kvcalc.memory import rank_memories
from kvcalc.model.ad_hoc import AdHoc
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart

laws = settings(max_examples=150, deadline=None)


def latent(num_heads: int) -> MLA:
    return MLA(num_heads=num_heads, kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=2, v_head_dim=2)


# What is legal, restated: heads, tokens and experts are dealt out to ranks, and whoever gets another amount is illegal.


def held_heads(attention: Attention) -> int:
    """Heads of what a layer keeps; a latent, like the one head of MQA, is whole on every rank."""
    match attention:
        case MHA(num_heads=heads) | MLAExpanded(num_heads=heads) | GQA(num_kv_heads=heads):
            return heads
    return 1


def tps_by_hand(model: kvcalc.Model) -> set[int]:
    kinds = [layer.attention for layer in model.distinct()]
    queries = [heads for kind in kinds if (heads := getattr(kind, "num_heads", None)) is not None]
    if not queries:
        return {1}
    kept = [held_heads(layer.attentions[0]) for layer in written_out(model)]
    return {
        tp
        for tp in range(1, max(queries) + 1)
        if all(heads % tp == 0 for heads in queries) and all(heads % tp == 0 or tp % heads == 0 for heads in kept)
    }


def written_out(model: kvcalc.Model) -> list[LayerGroup]:
    """The layers that keep something."""
    groups = [group for group in model.layers if isinstance(group, LayerGroup)]
    return [group for group in groups if not isinstance(group.attention, Shared | NoAttention)]


def dcps_by_hand(model: kvcalc.Model, tp: int) -> set[int]:
    """Each head's ranks can be put into groups of dcp that share its tokens."""
    legal = set(range(1, tp + 1))
    full = [held_heads(layer.attentions[0]) for layer in written_out(model) if layer.window is None]
    for heads in full:
        holders = [[rank for rank in range(tp) if head in heads_of_rank(rank, heads, tp)] for head in range(heads)]
        legal &= {dcp for dcp in range(1, tp + 1) if all(len(ranks) % dcp == 0 for ranks in holders)}
    return legal if full else {1}


def heads_of_rank(rank: int, heads: int, tp: int) -> range:
    if tp > heads:
        return range(rank * heads // tp, rank * heads // tp + 1)
    return range(rank * (heads // tp), (rank + 1) * (heads // tp))


def eps_by_hand(model: kvcalc.Model, ranks: int) -> set[int]:
    """As many ranks for each part of the experts, and an expert for each part."""
    experts = model.num_experts or 1
    return {ep for ep in range(1, ranks + 1) if ranks % ep == 0 and ep <= experts}


HEADS = st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24])


@st.composite
def attentions(draw: st.DrawFn) -> Attention:
    heads = draw(HEADS)
    kv_heads = draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0]))
    kinds: list[Attention] = [
        MHA(num_heads=heads, head_dim=3),
        MQA(num_heads=heads, head_dim=3),
        GQA(num_heads=heads, num_kv_heads=kv_heads, head_dim=3),
        latent(heads),
        MLAExpanded(num_heads=heads, kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=2, v_head_dim=2),
        Shared(),
        NoAttention(),
    ]
    return draw(st.sampled_from(kinds))


@st.composite
def models(draw: st.DrawFn) -> kvcalc.Model:
    kinds = draw(st.lists(attentions(), min_size=1, max_size=4))
    windows = [None if isinstance(kind, Shared | NoAttention) else draw(st.sampled_from([None, 5])) for kind in kinds]
    return kvcalc.Model(
        name="random",
        num_experts=draw(st.sampled_from([None, 1, 2, 5, 8, 10])),
        layers=tuple(LayerGroup(count=1, attention=kind, window=w) for kind, w in zip(kinds, windows, strict=True)),
    )


@laws
@given(models(), st.integers(1, 30))
def test_the_legal_values_are_those_of_the_rules(model: kvcalc.Model, ranks: int) -> None:
    legal = legal_tps(model)

    assert legal == sorted(tps_by_hand(model))
    assert legal_tps(model, ranks) == [tp for tp in legal if tp <= ranks]
    for tp in legal:
        dcps = legal_dcps(model, tp)
        assert dcps == sorted(dcps_by_hand(model, tp))
        assert all(tp % dcp == 0 for dcp in dcps)
    assert legal_eps(model, ranks) == sorted(eps_by_hand(model, ranks))


def named_in(message: str) -> set[int]:
    found = re.search(r"legal are ((?:\d+, )*\d+) \(", message)
    assert found is not None, message
    return {int(value) for value in found.group(1).split(", ")}


@laws
@given(
    models(),
    st.sampled_from([1, 2, 3, 4, 6, 8, 24]),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([1, 2, 3, 8]),
    st.sampled_from([1, 2, 3, 4, 6]),
    st.sampled_from([1, 1, 2, 3, 4]),
    st.booleans(),
)
def test_a_deployment_is_refused_for_what_is_illegal_and_the_legal_values_are_named(
    model: kvcalc.Model, tp: int, pp: int, dp: int, ep: int, dcp: int, dp_attention: bool
) -> None:
    deployment = kvcalc.Deployment(tp, pp, dp, ep, dcp, dp_attention)
    layers, has_experts = len(model.layers), (model.num_experts or 1) > 1
    eps = eps_by_hand(model, tp * dp if dp_attention else tp)
    tps = tps_by_hand(model)
    expected: tuple[str, set[int] | None]
    if tp not in tps:
        expected = "tp", tps
    elif pp > layers:
        expected = "pp", None
    elif dcp not in dcps_by_hand(model, tp):
        expected = "dcp", dcps_by_hand(model, tp)
    elif not has_experts and ep > 1:
        expected = "ep", None
    elif dp_attention and (dp == 1 or not has_experts):
        expected = "dp-attention", None
    elif ep not in eps:
        expected = "ep", eps
    else:
        check_legal(deployment, model)
        return
    with pytest.raises(kvcalc.KvcalcError) as refusal:
        check_legal(deployment, model)
    name, values = expected
    assert str(refusal.value).startswith(f"{name}: ")
    assert values is None or named_in(str(refusal.value)) == values


@pytest.mark.parametrize(
    ("model", "tp", "legal"),
    [
        ("deepseek-v3", 8, [1, 2, 4, 8]),  # a latent: any divisor of tp
        ("deepseek-v3", 128, [1, 2, 4, 8, 16, 32, 64, 128]),
        ("gemma-2b", 8, [1, 2, 4, 8]),  # MQA's head
        ("llama-3-70b", 8, [1]),  # 8 KV heads: only beyond them is a head on several ranks
        ("llama-3-70b", 16, [1, 2]),
        ("llama-3-70b", 64, [1, 2, 4, 8]),
        ("llama-2-7b", 32, [1]),
        ("gpt-oss-120b", 64, [1, 2, 4, 8]),
        ("mistral-7b-v0.1", 32, [1]),  # all of its layers have windows
        ("mimo-v2-flash", 16, [1, 2, 4]),  # 4 KV heads in full layers; the windowed ones, with 8, do not count
    ],
)
def test_legal_decode_context_parallel_sizes(model: str, tp: int, legal: list[int]) -> None:
    assert legal_dcps(kvcalc.load_model(model), tp) == legal
    check_legal(kvcalc.Deployment(tp, dcp=legal[-1]), kvcalc.load_model(model))


def test_dcp_divides_the_ranks_of_a_head() -> None:
    """2 KV heads on 12 ranks are each on 6, which 4 ranks cannot share evenly although 4 divides 12."""
    model = kvcalc.Model(
        name="m", layers=(LayerGroup(count=1, attention=GQA(num_heads=24, num_kv_heads=2, head_dim=1)),)
    )

    assert legal_dcps(model, 12) == [1, 2, 3, 6]


def test_dcp_must_suit_every_full_layer() -> None:
    layers = (
        LayerGroup(count=1, attention=GQA(num_heads=24, num_kv_heads=2, head_dim=1)),
        LayerGroup(count=1, attention=GQA(num_heads=24, num_kv_heads=3, head_dim=1)),
        LayerGroup(count=1, attention=GQA(num_heads=24, num_kv_heads=24, head_dim=1), window=7),
    )
    # 12 and 8 ranks a head.
    assert legal_dcps(kvcalc.Model(name="m", layers=layers), 24) == [1, 2, 4]


# Messages.


BY_HEADS = "(query heads divide by tp, and KV heads divide by tp or tp by KV heads)"
BY_HOLDERS = "(it divides the number of ranks that hold the same KV head, or the same latent; windows are not split)"
BY_SHARERS = "the ranks of a stage that share the experts)"


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            "llama-3-70b",
            {"tp": 3},
            f"tp: 3 is illegal for this model; legal are 1, 2, 4, 8, 16, 32, 64 {BY_HEADS}",
        ),
        (
            "deepseek-v3",
            {"tp": 3},
            f"tp: 3 is illegal for this model; legal are 1, 2, 4, 8, 16, 32, 64, 128 {BY_HEADS}",
        ),
        ("llama-3-8b", {"pp": 33}, "pp: 33 is illegal for this model; legal are 1 to 32, its layers"),
        (
            "llama-3-70b",
            {"tp": 16, "dcp": 4},
            f"dcp: 4 is illegal for this model at tp 16; legal are 1, 2 {BY_HOLDERS}",
        ),
        (
            "deepseek-v3",
            {"dcp": 2},
            f"dcp: 2 is illegal for this model at tp 1; legal are 1 {BY_HOLDERS}",
        ),
        (
            "llama-3-8b",
            {"tp": 2, "ep": 2},
            "ep: llama-3-8b has no experts to spread or share; --dp N makes replicas of all of it",
        ),
        (
            "llama-3-8b",
            {"dp": 2, "dp_attention": True},
            "dp-attention: llama-3-8b has no experts to spread or share; --dp N makes replicas of all of it",
        ),
        (
            "deepseek-v3",
            {"dp_attention": True},
            "dp-attention: needs at least two replicas that share the experts: give --dp N",
        ),
        (
            "deepseek-v3",
            {"tp": 8, "dp": 3, "ep": 24},
            f"ep: 24 is illegal for 256 experts on 8 ranks; legal are 1, 2, 4, 8 (it divides tp, {BY_SHARERS}",
        ),
        (
            "mixtral-8x7b-v0.1",
            {"tp": 4, "dp": 3, "ep": 12, "dp_attention": True},
            f"ep: 12 is illegal for 8 experts on 12 ranks; legal are 1, 2, 3, 4, 6 (it divides tp x dp, {BY_SHARERS}",
        ),
        ("llama-3-8b", {"shared_prefix": 101}, "--shared-prefix: 101 tokens are more than the context of 100"),
        ("llama-3-8b", {"shared_prefix": 0}, "--shared-prefix: must be at least 1, not 0"),
        ("llama-3-8b", {"node_size": 0}, "--node-size: must be at least 1, not 0"),
        (
            "llama-3-8b",
            {"gpus": 4, "tp": 2},
            "--gpus: chooses the deployment; give --gpus, or --tp, not both",
        ),
        (
            "deepseek-v3",
            {"gpus": 4, "dp": 2, "dp_attention": True},
            "--gpus: chooses the deployment; give --gpus, or --dp-attention, not both",
        ),
        (
            "deepseek-v3",
            {"gpus": 4, "dcp": 1},
            "--gpus: chooses the deployment; give --gpus, or --dcp, not both",
        ),
        ("llama-3-8b", {"gpus": 2, "dp": 3}, "--gpus: 2 are fewer than the 3 replicas of --dp"),
        (
            "palm-540b",
            {"gpus": 2},
            "--gpus: the best deployment depends on the weights: give --weights SIZE or --parameters N",
        ),
    ],
)
def test_refusals(model: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(kvcalc.KvcalcError) as refusal:
        kvcalc.estimate(model, context=100, **options)
    assert str(refusal.value) == message


@pytest.mark.parametrize("options", [{"ep": 2, "tp": 2}, {"dp": 2, "dp_attention": True}])
def test_a_single_expert_is_none_to_spread(options: dict[str, Any]) -> None:
    model = kvcalc.Model(name="m", num_experts=1, layers=(LayerGroup(count=1, attention=MHA(num_heads=2, head_dim=1)),))

    with pytest.raises(kvcalc.KvcalcError, match="m has no experts to spread or share"):
        kvcalc.estimate(model, context=1, **options)


@pytest.mark.parametrize("name", ["ep", "dcp"])
@pytest.mark.parametrize("value", [0, 1_000_001])
def test_numbers_of_parts_have_limits(name: str, value: int) -> None:
    deployment: Any = kvcalc.Deployment
    with pytest.raises(kvcalc.KvcalcError, match=rf"{name}: must be from 1 to 1,000,000, not {value}"):
        deployment(**{name: value})


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("llama-3-70b --tp 3", "legal are 1, 2, 4, 8, 16, 32, 64 ("),
        ("llama-3-70b --pp 81", "legal are 1 to 80"),
        ("deepseek-v3 --tp 8 --dcp 3", "legal are 1, 2, 4, 8 ("),
        ("deepseek-v3 --tp 8 --ep 5", "legal are 1, 2, 4, 8 ("),
        ("deepseek-v3 --tp 8 --dp-attention", "give --dp N"),
    ],
)
def test_an_illegal_deployment_is_bad_usage(words: str, named: str, kvcalc: Kvcalc) -> None:
    run = kvcalc("estimate", *words.split())

    assert (run.code, run.stdout) == (2, "")
    assert run.stderr.startswith("error: ")
    assert named in run.stderr


def test_the_deployment_asked_for_is_told(kvcalc: Kvcalc) -> None:
    words = "deepseek-v3 --tp 8 --pp 2 --dp 3 --ep 12 --dcp 4 --dp-attention -b 9 -c 8192 --json"
    printed = json.loads(kvcalc("estimate", *words.split()).stdout)

    assert printed["deployment"] == {
        "engine": "exact",
        "engine_version": None,
        "tp": 8,
        "pp": 2,
        "dp": 3,
        "ep": 12,
        "dcp": 4,
        "dp_attention": True,
    }


@pytest.mark.parametrize(
    ("deployment", "gpus", "text"),
    [
        (kvcalc.Deployment(), 1, "tp 1"),
        (kvcalc.Deployment(8, 2, 3), 48, "tp 8 x pp 2 x dp 3"),
        (kvcalc.Deployment(8, dcp=4), 8, "tp 8, dcp 4"),
        (kvcalc.Deployment(2, 1, 4, 8, 2, dp_attention=True), 8, "tp 2 x dp 4, dcp 2, dp-attention, ep 8"),
    ],
)
def test_a_deployment_in_words(deployment: kvcalc.Deployment, gpus: int, text: str) -> None:
    assert deployment.gpus == gpus
    assert str(deployment) == text


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

    assert replace(shared.cache, terms=()) == replace(alone.cache, terms=())
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


# Experts dealt to ranks.

EXPERTS = 653_908_770_816
EXPERTS_SCALES = 4 * 39_911_424
REST = 14_233_370_624 + 2 * 926_679_040 * 2 + 4 * 868_736
COPIES = 923_467_776 + 2 * 107_437_056 + 4 * 58_072
"""Bytes of DeepSeek-V3: fp8 layers, bf16 embedding and head, fp32 scales; and what tensor-parallel ranks copy: latent
down-projections, routers and norms, scales."""


@pytest.mark.parametrize(
    ("options", "rank", "replica"),
    [
        # Replicas without shared experts hold all of it, however the experts fall within them.
        (
            {"tp": 8, "ep": 8, "dp": 2},
            (EXPERTS + EXPERTS_SCALES + REST) // 8 + COPIES,
            EXPERTS + EXPERTS_SCALES + REST + 8 * COPIES,
        ),
        (
            {"tp": 8, "ep": 4},
            (EXPERTS + EXPERTS_SCALES + REST) // 8 + COPIES,
            EXPERTS + EXPERTS_SCALES + REST + 8 * COPIES,
        ),
        # Experts over tp x dp, all else whole in each replica.
        (
            {"dp": 8, "dp_attention": True},
            (EXPERTS + EXPERTS_SCALES) // 8 + REST + COPIES,
            (EXPERTS + EXPERTS_SCALES) // 8 + REST + COPIES,
        ),
        (
            {"dp": 8, "dp_attention": True, "ep": 8},
            (EXPERTS + EXPERTS_SCALES) // 8 + REST + COPIES,
            (EXPERTS + EXPERTS_SCALES) // 8 + REST + COPIES,
        ),
        (
            {"tp": 2, "dp": 4, "dp_attention": True, "ep": 2},
            (EXPERTS + EXPERTS_SCALES) // 8 + REST // 2 + COPIES,
            (EXPERTS + EXPERTS_SCALES) // 4 + REST + 2 * COPIES,
        ),
        # 256 experts over 24 ranks: the fullest has 11. Over 6 groups of 4 ranks: the fullest group has 43.
        (
            {"tp": 8, "dp": 3, "dp_attention": True, "ep": 24},
            11 * 2_554_331_136 + 11 * 623_616 + REST // 8 + COPIES,
            -(-EXPERTS // 3) + -(-EXPERTS_SCALES // 3) + REST + 8 * COPIES,
        ),
        (
            {"tp": 8, "dp": 3, "dp_attention": True, "ep": 6},
            43 * 2_554_331_136 // 4 + 43 * 623_616 // 4 + REST // 8 + COPIES,
            -(-EXPERTS // 3) + -(-EXPERTS_SCALES // 3) + REST + 8 * COPIES,
        ),
    ],
)
def test_experts_over_the_ranks_that_share_them(options: dict[str, Any], rank: int, replica: int) -> None:
    memory = kvcalc.estimate("deepseek-v3", context=1, **options).memory

    assert memory.per_rank.weights_bytes == rank
    assert memory.weights_bytes == replica


@laws
@given(st.integers(2, 40), st.sampled_from([1, 2, 3, 4, 6, 12]), st.integers(1, 6), st.integers(1, 10**6), st.data())
def test_whole_experts_dealt_to_groups_of_ranks(experts: int, tp: int, dp: int, size: int, data: st.DataObject) -> None:
    """Experts of `size` bytes, and 120 bytes of other weights."""
    joined = dp > 1 and data.draw(st.booleans())
    ranks = tp * dp if joined else tp
    ep = data.draw(st.sampled_from([n for n in range(1, min(ranks, experts) + 1) if ranks % n == 0]))
    model = kvcalc.Model(
        name="m",
        num_experts=experts,
        layers=(LayerGroup(count=1, attention=latent(12)),),
        weights=(
            WeightPart(part="experts", parameters=experts * size, format="fp8", split="ep"),
            WeightPart(part="rest", parameters=120, format="fp8"),
        ),
    )
    groups = [0] * ep
    for expert in range(experts):
        groups[expert % ep] += 1

    scenario = kvcalc.make_scenario(model, context=1, tp=tp, dp=dp, ep=ep, dp_attention=joined)
    (memory,) = rank_memories(scenario, kvcalc.Deployment(tp, 1, dp, ep, dp_attention=joined))
    assert memory.weights is not None
    assert memory.weights.bytes == -(-max(groups) * size // (ranks // ep)) + 120 // tp


def test_joined_replicas_communicate() -> None:
    """0.5 GiB for every doubling of the ranks that exchange activations: 4 without shared experts, 16 with them."""
    apart = kvcalc.estimate("deepseek-v3", context=1, tp=2, pp=2, dp=4).memory.per_rank.overhead_bytes
    joined = kvcalc.estimate("deepseek-v3", context=1, tp=2, pp=2, dp=4, dp_attention=True).memory.per_rank

    assert joined.overhead_bytes - apart == 2**30


def test_without_dims_experts_cannot_be_shared() -> None:
    """Then the total is divided within the replica, and that is said."""
    model = kvcalc.Model(
        name="m", parameters=1000, num_experts=4, layers=(LayerGroup(count=1, attention=MHA(num_heads=2, head_dim=1)),)
    )
    answer = kvcalc.estimate(model, context=1, tp=2, dp=2, dp_attention=True)

    assert answer.memory.per_rank.weights_bytes == 1000
    assert any(
        "total / (tp x pp), for want of what the embedding, each layer or the experts take" in n
        for n in texts(answer.notes)
    )


# The best of a few GPUs.


def best_note(**options: Any) -> tuple[kvcalc.Deployment | None, str]:
    scenario = kvcalc.estimate("llama-3-70b", gpus=3, **options).scenario
    return scenario.deployment, scenario.notes[-1].text


def test_of_three_gpus_two_are_used() -> None:
    assert best_note(context=1000) == (kvcalc.Deployment(2), "--gpus 3: 2 in use, as tp 2")


def test_the_gpus_that_would_do_are_named() -> None:
    """Weights of 131.4 GiB and a cache of 80 GiB leave no room for all else on 3 GPUs of 72.8 GiB."""
    deployment, text = best_note(batch=32, context=8192)

    assert deployment == kvcalc.Deployment(1, 3)
    assert text == "--gpus 3: 3 in use, as tp 1 x pp 3; they do not hold the workload, 4 do (tp 4)"


def test_nothing_is_named_where_nothing_would_do() -> None:
    _, text = best_note(batch=32, context=8192, reserve={"x": "100GB"})

    assert text.endswith("they do not hold the workload")


# Nodes.


@pytest.mark.parametrize(
    ("node_size", "tp", "pp"), [(None, 4, 3), (16, 16, 1), (64, 16, 1), (8, 4, 3), (4, 4, 3), (2, 2, 6), (1, 1, 12)]
)
def test_tensor_parallelism_stays_within_a_node(node_size: int | None, tp: int, pp: int) -> None:
    """Llama-3.1-405B: 811.7 GB of weights on GPUs of 78.2 GB usable; 16 ranks of one node do, 8 do not."""
    gpus = kvcalc.estimate("llama-3.1-405b", context=1, node_size=node_size).gpus

    assert gpus.deployment == kvcalc.Deployment(tp, pp)
