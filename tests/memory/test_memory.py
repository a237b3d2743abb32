"""The four parts of memory on each rank, their sums, and whether they fit; pipeline stages and replicas."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from conftest import texts
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.deployment import stages
from kvcalc.mechanisms import GQA, MHA, NoAttention, Shared
from kvcalc.memory import fullest, rank_memories
from kvcalc.model.layers import LayerGroup, Repeat
from kvcalc.record import contents
from kvcalc.verbs.searching.candidate import evaluate

laws = examples(60)
LOW, HIGH = 236_223_201, 6_055_903_887  # 0.22 and 5.64 GiB, of dense text models
FOUR_HEADS = MHA(num_heads=4, head_dim=8)
SMALL = kvcalc.Model(name="small", parameters=10**6, layers=(LayerGroup(count=6, attention=FOUR_HEADS),))


def memories(model: kvcalc.Model | str, **options: Any) -> list[Any]:
    scenario = kvcalc.make_scenario(model, **options)
    return list(rank_memories(scenario, scenario.deployment or kvcalc.Deployment()))


# Temporary: a figure with a range, by kind of model. 0.22, 1.5 and 5.64 GiB and so on, rounded down to bytes.


@pytest.mark.parametrize(
    ("model", "low", "usual", "high"),
    [
        ("llama-3-8b", 236_223_201, 1_610_612_736, 6_055_903_887),
        ("deepseek-v3", 397_284_474, 1_610_612_736, 7_924_214_661),
        ("mixtral-8x7b-v0.1", 397_284_474, 1_610_612_736, 7_924_214_661),
        ("gemma-3-27b", 2_115_271_393, 6_442_450_944, 7_408_818_585),
        ("kimi-k2.6", 2_115_271_393, 6_442_450_944, 7_924_214_661),  # experts and images: the larger of each
    ],
)
def test_temporary_memory_by_kind_of_model(model: str, low: int, usual: int, high: int) -> None:
    memory = kvcalc.estimate(model, context=1, tp=2, pp=2).memory

    assert memory.per_rank.temporary_bytes == usual
    assert memory.temporary_bytes == 4 * usual
    assert memory.temporary_low_bytes == 4 * low
    assert memory.temporary_high_bytes == 4 * high


@pytest.mark.parametrize(("num_experts", "low"), [(None, 236_223_201), (1, 236_223_201), (2, 397_284_474)])
def test_one_expert_is_no_mixture(num_experts: int | None, low: int) -> None:
    model = kvcalc.Model(name="m", num_experts=num_experts, modalities=("text",), layers=SMALL.layers)

    assert kvcalc.estimate(model).memory.temporary_low_bytes == low


@pytest.mark.parametrize("size", ["0B", 5_000_000_001, "1.5GiB"])
def test_given_temporary_memory_has_no_range(size: int | str) -> None:
    expected = {"0B": 0, "1.5GiB": 1_610_612_736}.get(str(size), size)
    memory = kvcalc.estimate("llama-3-8b", temporary=size, tp=4).memory

    assert memory.per_rank.temporary_bytes == expected
    assert memory.temporary_low_bytes == memory.temporary_high_bytes == memory.temporary_bytes == 4 * int(expected)


# Overhead: 0.1 GiB alone or 0.5 GiB for each doubling of ranks, and 0.7 GiB of graphs.


@pytest.mark.parametrize(
    ("tp", "pp", "expected"),
    [
        (1, 1, 107_374_182 + 751_619_276),
        (2, 1, 536_870_912 + 751_619_276),
        (1, 2, 536_870_912 + 751_619_276),
        (1, 3, 1_073_741_824 + 751_619_276),
        (4, 1, 1_073_741_824 + 751_619_276),
        (4, 2, 1_610_612_736 + 751_619_276),
        (8, 1, 1_610_612_736 + 751_619_276),
        (1, 9, 2_147_483_648 + 751_619_276),
        (8, 2, 2_147_483_648 + 751_619_276),
        (16, 1, 2_147_483_648 + 751_619_276),
    ],
)
def test_overhead_by_ranks(tp: int, pp: int, expected: int) -> None:
    memory = kvcalc.estimate("llama-3-70b", context=1, tp=tp, pp=pp).memory

    assert memory.per_rank.overhead_bytes == expected
    assert memory.overhead_bytes == tp * pp * expected
    given_size = kvcalc.estimate("llama-3-70b", context=1, tp=tp, pp=pp, overhead="7MB").memory
    assert given_size.per_rank.overhead_bytes == 7_000_000
    assert given_size.overhead_bytes == tp * pp * 7_000_000


def test_replicas_are_counted_alone() -> None:
    one, of_four = (kvcalc.estimate("llama-3-8b", batch=batch, tp=2, dp=dp) for batch, dp in ((3, 1), (12, 4)))

    assert one.memory == of_four.memory
    assert one.cache == of_four.cache


def test_reserves_are_rows_of_their_own() -> None:
    answer = kvcalc.estimate("llama-3-8b", tp=2, reserve={"lora": "2GiB", "draft": 5, "nothing": 0})
    rank = memories("llama-3-8b", tp=2, reserve={"lora": "2GiB", "draft": 5})[0]

    assert answer.memory.per_rank.reserve_bytes == 2_147_483_648 + 5
    assert answer.memory.reserve_bytes == 2 * (2_147_483_648 + 5)
    assert [(row.path, row.bytes) for row in rank.reserve.parts] == [("lora", 2_147_483_648), ("draft", 5)]
    without = kvcalc.estimate("llama-3-8b", tp=2).memory.per_rank.total_bytes
    assert without is not None
    assert answer.memory.per_rank.total_bytes == without + 2_147_483_648 + 5


# Fit: with the high figure it fits, with the low one it is tight.


@pytest.mark.parametrize(
    ("over_low", "fits", "tight"),
    [(-1, False, False), (0, False, True), (HIGH - LOW - 1, False, True), (HIGH - LOW, True, False)],
)
@pytest.mark.parametrize("tp", [1, 2])
def test_what_fits_to_the_byte(over_low: int, fits: bool, tight: bool, tp: int) -> None:
    # 4 heads x 2 x 8 x 2 bytes x 6 layers x 10 tokens = 7,680 bytes of cache.
    at_low = (2_000_000 + 7680) // tp + LOW + 1_000 + 70
    usable = at_low + over_low
    gpus = kvcalc.estimate(
        SMALL, context=10, overhead=1_000, reserve={"mine": 70}, tp=tp, gpu_memory=usable, utilization="1"
    ).gpus

    assert gpus.usable_bytes == gpus.memory_bytes == usable
    assert (gpus.fits, gpus.tight) == (fits, tight)


@pytest.mark.parametrize(("spare", "fits"), [(-1, False), (0, True), (1, True)])
def test_a_given_temporary_figure_is_never_tight(spare: int, fits: bool) -> None:
    gpus = kvcalc.estimate(
        SMALL, context=10, overhead=0, temporary=5, gpu_memory=2_007_685 + spare, utilization=1, gpu="t4"
    ).gpus

    assert (gpus.fits, gpus.tight) == (fits, False)


def test_every_stage_must_fit() -> None:
    """The last stage has the most cache and fits; the first has more in all, and decides."""
    model = kvcalc.Model(
        name="m",
        first_k_dense=1,
        weights=(),
        parameters=3000,
        hidden_size=10,
        vocab_size=100,
        tie_word_embeddings=False,
        layers=(LayerGroup(count=2, attention=NoAttention()), LayerGroup(count=1, attention=FOUR_HEADS)),
    )
    # Stage 0: two of three layers, 2 x 1000 x 2 / 3, and the embedding's 2,000; stage 1: a layer, the head, the cache.
    first, last = 1334 + 2000, 667 + 2000 + 128
    options: dict[str, Any] = {"context": 1, "pp": 2, "temporary": 0, "overhead": 0, "utilization": 1}
    assert [memory.tree.bytes for memory in memories(model, **options)] == [first, last]
    for usable, fits in ((first, True), (first - 1, False)):
        answer = kvcalc.estimate(model, gpu_memory=usable, **options)
        assert answer.memory.per_rank.cache_bytes == 128
        assert answer.memory.per_rank.headroom_bytes == usable - last
        assert answer.memory.per_rank.least_headroom_bytes == usable - first
        assert answer.gpus.fits is fits
        assert any(note.startswith("pipeline stage 0 has more memory in all") for note in texts(answer.notes))


# Pipeline stages.


@pytest.mark.parametrize(
    ("layers", "pp", "expected"),
    [(80, 1, [80]), (80, 8, [10] * 8), (80, 3, [27, 27, 26]), (61, 2, [31, 30]), (7, 5, [2, 2, 1, 1, 1])],
)
def test_the_first_stages_are_one_layer_longer(layers: int, pp: int, expected: list[int]) -> None:
    split = stages(range(layers), pp)

    assert [len(stage) for stage in split] == expected
    assert [layer for stage in split for layer in stage] == list(range(layers))


def test_shared_layers_at_the_end_keep_nothing() -> None:
    """gemma-3n-e4b: four times 4 layers with windows of 512 and a full one, then 15 shared; 2,048 bytes a token."""
    at_8192 = [8 * 512 + 8192, 7 * 512 + 2 * 8192, 512 + 8192, 0]
    ranks = memories("gemma-3n-e4b", context=8192, pp=4)

    assert [memory.cache.bytes for memory in ranks] == [tokens * 2048 for tokens in at_8192]
    assert fullest(ranks).stage == 1
    cache = kvcalc.estimate("gemma-3n-e4b", context=8192, pp=4, batch=3).cache
    assert cache.bytes_per_sequence == 40_894_464
    assert cache.bytes_per_rank == 3 * 40_894_464
    assert cache.bytes_per_token == 9 * 2048
    assert cache.bytes_per_token_at_context == 2 * 2048


@pytest.mark.parametrize(("first", "expected"), [(NoAttention(), 1), (FOUR_HEADS, 0), (Shared(), 1)])
def test_the_fullest_stage_and_the_first_of_equals(first: MHA | NoAttention | Shared, expected: int) -> None:
    model = kvcalc.Model(
        name="m", layers=(LayerGroup(count=3, attention=first), LayerGroup(count=3, attention=FOUR_HEADS))
    )
    ranks = memories(model, context=10, pp=2)

    assert fullest(ranks).stage == expected
    assert kvcalc.estimate(model, context=10, pp=2).cache.bytes_per_rank == 3 * 10 * 128


class Case(NamedTuple):
    model: kvcalc.Model
    options: dict[str, Any]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kv_heads, width = draw(st.sampled_from([1, 2, 4, 8])), st.integers(1, 99)
    kinds = st.one_of(
        st.builds(GQA, num_heads=st.just(8), num_kv_heads=st.just(kv_heads), head_dim=width),
        st.builds(MHA, num_heads=st.just(8), head_dim=width),
    )
    keeping = st.builds(LayerGroup, count=st.integers(1, 5), attention=kinds, window=st.none() | st.integers(1, 999))
    empty = st.builds(LayerGroup, count=st.integers(1, 5), attention=st.builds(Shared) | st.builds(NoAttention))
    of = st.lists(keeping | empty, min_size=1, max_size=3).map(tuple)
    layers = draw(st.tuples(st.builds(Repeat, repeat=st.integers(1, 3), of=of), keeping))
    model = kvcalc.Model(name="m", parameters=draw(st.integers(1, 10**12)), layers=layers)
    options = {
        "batch": draw(st.integers(1, 200)),
        "context": draw(st.integers(1, 2000)),
        "tp": draw(st.sampled_from([1, 2, 4, 8])),
        "pp": draw(st.integers(1, model.num_layers)),
        "dp": draw(st.integers(1, 9)),
        "temporary": draw(st.none() | st.integers(0, 10**11)),
        "overhead": draw(st.none() | st.integers(0, 10**11)),
        "reserve": draw(st.dictionaries(st.sampled_from("abc"), st.integers(0, 10**11))),
        "gpu_memory": draw(st.integers(1000, 10**12)),
        "utilization": draw(st.integers(1, 1000)) / 1000,
    }
    return Case(model, options)


@laws
@given(cases())
def test_totals_are_sums_of_their_parts(case: Case) -> None:
    answer = kvcalc.estimate(case.model, **case.options)
    memory, rank, ranks = answer.memory, answer.memory.per_rank, case.options["tp"] * case.options["pp"]
    usable = answer.gpus.usable_bytes

    for part in (memory, rank):
        parts = (part.weights_bytes, part.cache_bytes, part.temporary_bytes, part.overhead_bytes, part.reserve_bytes)
        assert part.total_bytes == sum(number for number in parts if number is not None)
    assert rank.total_bytes == rank.tree.bytes
    assert rank.headroom_bytes == usable - rank.total_bytes
    assert rank.cache_bytes == answer.cache.bytes_per_rank
    assert memory.cache_bytes == answer.cache.bytes
    assert (memory.overhead_bytes, memory.reserve_bytes) == (ranks * rank.overhead_bytes, ranks * rank.reserve_bytes)
    assert rank.reserve_bytes == sum(case.options["reserve"].values())
    assert usable == case.options["gpu_memory"] * round(case.options["utilization"] * 1000) // 1000
    for noun in (answer.cache, memory, rank):
        figures = {name: value for name, value in contents(noun).items() if name.endswith("bytes")}
        assert {type(value) for value in figures.values()} == {int}, figures


@examples(30)
@given(cases())
def test_stages_together_hold_the_replica(case: Case) -> None:
    scenario = kvcalc.make_scenario(case.model, **case.options)
    assert scenario.deployment is not None
    held = evaluate(scenario, scenario.deployment).memories
    answer = kvcalc.estimate(scenario)

    assert len(held) == case.options["pp"]
    assert answer.cache.bytes == case.options["tp"] * sum(memory.cache.bytes for memory in held)
    assert answer.cache.bytes_per_rank == max(memory.cache.bytes for memory in held)
    sequences = -(-case.options["batch"] // case.options["dp"])
    alone = kvcalc.estimate(case.model, **{**case.options, "batch": sequences, "dp": 1})
    assert alone.cache == answer.cache
    assert (
        answer.cache.bytes
        == sequences * kvcalc.estimate(case.model, **{**case.options, "batch": 1, "dp": 1}).cache.bytes
    )


@pytest.mark.parametrize(
    ("memory", "utilization", "usable"),
    [
        (85_020_639_232, "0.92", 78_218_988_093),  # .44
        (10**18, "0.9", 9 * 10**17),
        (10**18 - 1, "0.999999999999999999", 10**18 - 2),
        (100, 0.29, 29),
        (100, "1", 100),
        (3 * 10**9, Fraction(1, 3), 10**9),
        (7 * 10**17, Fraction(2, 7), 2 * 10**17),
    ],
)
def test_usable_memory_is_exact(memory: int, utilization: float | str | Fraction, usable: int) -> None:
    assert kvcalc.make_scenario(SMALL, gpu_memory=memory, utilization=utilization).usable_bytes == usable


def test_no_usable_memory_is_refused() -> None:
    with pytest.raises(kvcalc.KvcalcError, match=r"utilization|gpu-memory"):
        kvcalc.estimate(SMALL, gpu_memory=10, utilization="0.05")
