"""Pictures of verbs: every point and level is a figure of `estimate`, gaps say why, and what cannot be is refused."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

import kvcalc
from kvcalc.charts.chart import BarChart, LineChart, Scale
from kvcalc.errors import KvcalcError


def lines(kind: str, models: str | list[str], **options: Any) -> LineChart:
    chart = kvcalc.plot(kind, models, **options).chart
    assert isinstance(chart, LineChart)
    return chart


def bars(models: str | list[str], **options: Any) -> BarChart:
    chart = kvcalc.plot("memory", models, **options).chart
    assert isinstance(chart, BarChart)
    return chart


SCENARIOS: list[tuple[str, dict[str, object]]] = [
    ("llama-3-70b", {"tp": 4, "batch": 16}),
    ("deepseek-v3", {"gpu": "h200", "tp": 8, "cache_dtype": "fp8"}),
    ("gemma-3-27b", {"engine": "vllm", "batch": 3, "tp": 1}),
    ("qwen3-8b", {"engine": "sglang", "gpu": "l40s", "tp": 1}),
    ("qwen3-next-80b-a3b", {"tp": 4, "shared_prefix": 100}),
    ("gemma-3-27b", {"engine": "llama-cpp", "gpu": "h100", "cache_dtype": "q8_0", "tp": 1}),
]


@pytest.mark.parametrize(("model", "options"), SCENARIOS)
def test_points_and_levels_are_figures_of_an_estimate(model: str, options: dict[str, Any]) -> None:
    contexts = sorted(random.Random(model).sample(range(1000, 100_000), 3))  # noqa: S311  # no secret
    cache, fits = (lines(kind, model, context=contexts, **options) for kind in ("cache", "sequences"))
    results = [kvcalc.estimate(model, context=each, **options).to_dict() for each in contexts]
    shown = json.loads(json.dumps(results))
    assert [point.x for point in cache.series[0].points] == contexts
    assert [point.y for point in cache.series[0].points] == [each["cache"]["bytes_per_rank"] for each in shown]
    assert [point.y or 0 for point in fits.series[0].points] == [each["answer"]["sequences"] for each in shown]
    rank = shown[-1]["memory"]["per_rank"]
    left = rank["cache_bytes"] + rank["headroom_bytes"]
    assert [level.value for level in cache.levels] == ([left] if left > 0 else [])


def test_a_line_crosses_its_level_where_capacity_says_that_the_cache_ends() -> None:
    most = kvcalc.capacity("llama-3-70b", tp=4, batch=16).max_context
    assert most is not None
    chart = lines("cache", "llama-3-70b", tp=4, batch=16, context=[most, most + 1])
    below, above = (point.y for point in chart.series[0].points)
    assert below is not None
    assert above is not None
    assert below <= chart.levels[0].value < above


def test_each_step_is_the_first_batch_that_needs_more() -> None:
    chart = lines("gpus", "llama-3-70b", batch="1..256*2", gpu="h100")
    points = [(int(point.x), point.y) for point in chart.series[0].points]
    for (_, before), (batch, after) in pairwise(points):
        assert kvcalc.estimate("llama-3-70b", batch=batch).gpus.count == after
        if before != after:
            assert kvcalc.estimate("llama-3-70b", batch=batch - 1).gpus.count == before
    assert [y for _, y in points] == sorted(y for _, y in points if y is not None)


def test_a_price_times_the_gpus() -> None:
    options: dict[str, Any] = {"gpu": "h100,h200", "batch": "1,64"}
    counts = lines("gpus", "llama-3-70b", **options)
    usd = lines("gpus", "llama-3-70b", prices="h100=2.5,h200=3", **options)
    prices = (Fraction(5, 2), Fraction(3))
    for price, one, other in zip(prices, counts.series, usd.series, strict=True):
        assert [point.y for point in other.points] == [int(point.y or 0) * price for point in one.points]
    assert usd.y.unit == "USD"
    alone = lines("gpus", "llama-3-70b", gpu="h100,h200", prices="h100=2.5", batch="1,64")
    assert any("no price of h200-sxm" in note for note in alone.notes)


def test_parts_of_a_bar_add_up_and_copies_are_apart() -> None:
    chart = bars("deepseek-v3", gpu="h200", batch=16, context="32Ki", tp="4,8")
    for bar, tp in zip(chart.bars, (4, 8), strict=True):
        found = kvcalc.estimate("deepseek-v3", gpu="h200", batch=16, context="32Ki", tp=tp)
        parts = {part.name: part.value for part in bar.parts}
        assert sum(parts.values()) == found.memory.per_rank.total_bytes
        assert parts["cache"] * tp == found.cache.one_copy_bytes
        assert parts["cache"] + parts["copies of the cache"] == found.memory.per_rank.cache_bytes
        assert chart.levels[0].value == found.gpus.usable_bytes
    assert "copies of the cache" not in {part.name for bar in bars("llama-3-70b").bars for part in bar.parts}


def test_lines_are_named_by_what_varies() -> None:
    def names(kind: str, models: str | list[str], **options: Any) -> list[str]:
        return [each.name for each in lines(kind, models, context="1Ki,2Ki", **options).series]

    assert names("cache", "llama-3-8b") == ["llama-3-8b"]
    assert names("cache", ["llama-3-8b", "qwen3-8b"]) == ["llama-3-8b", "qwen3-8b"]
    assert names("cache", "llama-3-8b", cache_dtype="bf16,fp8", tp="1,2") == [
        "bf16, tp 1",
        "bf16, tp 2",
        "fp8, tp 1",
        "fp8, tp 2",
    ]
    assert names("cache", "llama-3-8b", gpu="h100,h200") == ["llama-3-8b"]
    assert names("sequences", "llama-3-8b", gpu="h100,h200") == ["1 x h100-sxm", "1 x h200-sxm"]
    assert "gqa-8 (as it is)" in names("cache", "llama-3-8b", mechanisms=True)


def test_mechanisms_are_those_of_compare() -> None:
    chart = lines("cache", "llama-3-70b", mechanisms=True, context=[8192], batch=4)
    rows = kvcalc.compare("llama-3-70b", context=8192, batch=4).rows
    assert [each.points[0].y for each in chart.series] == [row.cache_bytes for row in rows]


def test_the_subtitle_names_engines_with_their_versions_and_axes_are_even_where_steps_are() -> None:
    chart = lines("cache", "gemma-3-27b", engine="exact,vllm@0.33.0", context="8Ki..64Ki+8Ki")
    assert "engine exact, vllm 0.33.0" in chart.subtitle
    assert chart.x.scale is Scale.LINEAR
    assert lines("cache", "gemma-3-27b", context="1Ki..64Ki*2").x.scale is Scale.LOG2


def test_default_contexts_end_at_the_model_and_no_later() -> None:
    assert [point.x for point in lines("cache", "llama-3-8b").series[0].points] == [1024, 2048, 4096, 8192]


def test_what_is_refused_is_a_gap_with_a_note() -> None:
    chart = lines("cache", "llama-3-8b", tp="1,3", context="1Ki,2Ki")
    assert [point.y for point in chart.series[1].points] == [None, None]
    assert any(note.startswith("tp 3:") and "is illegal" in note for note in chart.notes)
    assert bars("llama-3-8b", tp="1,3").bars[1].parts == ()
    nothing = lines("cache", "llama-3-70b", context="1Ki,2Ki")
    assert nothing.levels == ()
    assert any("--tp" in note for note in nothing.notes)


@pytest.mark.parametrize(
    ("kind", "models", "options", "told"),
    [
        ("caches", "llama-3-8b", {}, "no picture of 'caches'; did you mean 'cache'"),
        (
            "llama-3-8b",
            None,
            {},
            "there are cache, sequences, gpus, memory; the kind comes first: kvcalc plot cache MODEL",
        ),
        ("cache", "nosuch", {}, "nosuch"),
        ("cache", None, {}, "MODEL: missing"),
        ("cache", "llama-3-8b", {"tp": 3}, "is illegal"),
        ("memory", "llama-3-8b", {"tp": 3}, "is illegal"),
        ("sequences", "llama-3-70b", {"tp": 1, "context": "1Ki,2Ki"}, "not one sequence fits"),
        ("cache", "llama-3-8b", {"context": "1..1e9+1"}, "more than the 512 of a line"),
        ("cache", "llama-3-8b", {"batch": "1..1e6+1"}, "more than 24"),
        ("cache", "llama-3-8b", {"context": "4k"}, "could mean two"),
        ("cache", "llama-3-8b", {"context": "soon"}, "not a number"),
        ("cache", "llama-3-8b", {"input_tokens": 5}, "--input"),
        ("gpus", "llama-3-8b", {"tp": 2}, "--tp: plot gpus finds"),
        ("gpus", "llama-3-8b", {"mechanisms": True}, "--mechanisms"),
        ("cache", "llama-3-8b", {"prices": "h100=1"}, "--price"),
        ("gpus", "llama-3-8b", {"prices": "h200=1"}, "not among the accelerators"),
        ("cache", "llama-3-8b", {"unit": "G"}, "--unit"),
        ("cache", "llama-3-8b", {"gpu": "nosuchcard"}, "nosuchcard"),
    ],
)
def test_what_cannot_be_is_refused(kind: str, models: str | None, options: dict[str, Any], told: str) -> None:
    with pytest.raises(KvcalcError) as error:
        kvcalc.plot(kind, models, **options)
    assert told in str(error.value)


def test_a_model_without_weights_has_no_level_and_says_so() -> None:
    chart = lines("cache", [], layers=4, heads=8, head_dim=64, context="1Ki,2Ki")
    assert chart.levels == ()
    assert any("--weights" in note for note in chart.notes)
    assert any("weights are not known" in note for note in bars([], layers=4, heads=8, head_dim=64).notes)


def test_a_picture_is_the_same_each_time_and_a_notebook_shows_it() -> None:
    one, other = (kvcalc.plot("cache", "llama-3-8b", cache_dtype=["bf16", "fp8"]) for _ in range(2))
    assert one == other
    assert one.to_svg() == other.to_svg() == one._repr_svg_()
    assert one.to_html() == other.to_html()
    assert str(one) == one.to_text()
    assert "exactly" in one.to_html()
    assert repr(one) == "Picture('KV cache against context: llama-3-8b')"


def test_steps_are_found_where_stages_take_fewer_gpus_than_a_node() -> None:
    """tp 8 holds few sequences, six stages more of them, and of 380 it takes eight GPUs again."""
    options: dict[str, Any] = {"gpu": "h200", "context": 8192}
    (line,) = lines("gpus", "deepseek-v3", batch=[1, 380], **options).series
    found = {int(point.x): point.y for point in line.points}
    assert [*found.values()] == [8, 6, 7, 8, 8]
    for batch in list(found)[1:4]:
        counts = [kvcalc.estimate("deepseek-v3", batch=each, **options).gpus.count for each in (batch - 1, batch)]
        assert counts[0] != counts[1] == found[batch]
