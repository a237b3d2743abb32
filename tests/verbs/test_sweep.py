"""Rows of sweeps are what estimate says of each scenario alone, whatever is settled once for many of them."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest
from fuzzing import examples, some
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.catalogue import model_names
from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.formats.element import FORMATS
from kvcalc.memory import Ranks
from kvcalc.scenario.axes import AXES
from kvcalc.scenario.make import make_scenario
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import ScenarioOptions, SweepOptions
from kvcalc.verbs.sweeping.columns import FIELDS, fields_of, flat, kinds_of
from kvcalc.verbs.sweeping.grid import Grid
from kvcalc.verbs.sweeping.shard import shard_of

MODELS = sorted(model_names())
CACHE_DTYPES = (*FORMATS, "k=q8_0,v=q4_0", "q4_g64_s4", "nosuch")
GPUS = ("h100", "h200", "b200", "rtx4090", "mi300x", "a100", "m3-max", "rtx3090+rtx4090", "l40s", "t4")
ENGINES = ("vllm", "sglang", "llama-cpp", "transformers", "tensorrt-llm", "mlx", "vllm@0.20.0", "nosuch")
CONTEXTS = (1, 2, 17, 127, 128, 129, 512, 1024, 1025, 4096, 8192, 32_768, 131_072, 10**6, 10**12)
FIXED: dict[str, tuple[Any, ...]] = {
    "dp": (2, 3),
    "ep": (2, 4),
    "dcp": (2,),
    "shared_prefix": (10, 1000, 5000),
    "allow_pp": (True,),
    "gpus": (2, 8),
    "spill": (True,),
    "weights": ("10GB",),
    "temporary": (0,),
    "overhead": ("1GiB",),
    "utilization": (0.8,),
    "reserve": ({"adapters": "1GiB"},),
    "dp_attention": (True,),
    "state_dtype": ("bf16",),
    "node_size": (4,),
    "gpu_memory": ("10GiB",),
    "draft": ("llama-3.2-1b",),
    "mtp": (1,),
    "mix": ("70%:2Ki+500,30%:16Ki+1Ki",),
    "host_memory": ("100GiB",),
    "images": (2,),
    "lora": (16,),
}


def some_axes(chance: random.Random) -> dict[str, list[Any]]:
    """A few values of some axes, wrong ones among them."""

    def some(values: Any, likely: float = 1.0) -> list[Any]:
        return chance.sample(list(values), chance.choice((1, 2))) if chance.random() < likely else []

    batches = (1, 2, 3, 7, 8, 32, 100, 256, 1000, chance.randint(1, 300))
    odd = (4096, 10**5, 10**6, 0, "x", 10**10)
    axes: dict[str, list[Any]] = {
        "model": [chance.choice(MODELS), *(["nosuch"] if chance.random() < 0.05 else [])],
        "batch": [chance.choice(batches if chance.random() < 0.8 else odd) for _ in range(chance.randint(1, 5))],
        "context": [
            chance.choice(CONTEXTS if chance.random() < 0.9 else ("max", 0, 10**13, chance.randint(1, 200_000)))
            for _ in range(chance.choice((0, 1, 2, 4)))
        ],
        "cache_dtype": some(CACHE_DTYPES, 0.5),
        "weight_dtype": some(("fp8", "q4_k", "mxfp4", "bf16", "int8"), 0.2)[:1],
        "gpu": some(GPUS, 0.4),
        "tp": some((1, 2, 3, 4, 8, 16, 64), 0.6),
        "pp": some((1, 2, 3, 4, 7, 10**5), 0.4),
        "engine": some(ENGINES, 0.06)[:1],
    }
    return {name: values for name, values in axes.items() if values}


def alone(options: dict[str, Any]) -> dict[str, Any]:
    """What estimate says of a scenario."""
    model = options.pop("model")
    try:
        told = flat(kvcalc.estimate(model, **options).to_dict())
    except KvcalcError as error:
        return dict.fromkeys(FIELDS) | {"error": error.sentence}
    return {name: told.get(name) for name in FIELDS} | {"most_sequences": told["answer_sequences"], "error": None}


def rows_of(grid: Grid) -> list[dict[str, Any]]:
    chunks = grid.chunks(0, grid.number)
    return [
        dict(zip(chunk.columns, row, strict=True))
        for chunk in chunks
        for row in zip(*chunk.columns.values(), strict=True)
    ]


@examples(100)
@given(st.integers(0, 2**32))
def test_every_column_is_what_estimate_says(seed: int) -> None:
    chance, compared = random.Random(seed), 0  # noqa: S311  # any will do
    while compared < 20:
        axes = some_axes(chance)
        fixed = {name: chance.choice(values) for name, values in FIXED.items() if chance.random() < 0.05}
        if "context" not in axes and chance.random() < 0.5:
            fixed |= {"input_tokens": 1000, "output_tokens": 24}
        rows = rows_of(Grid(axes, fixed, FIELDS))
        scenarios = list(product(*(axes.get(name, [None]) for name in AXES)))
        assert len(rows) == len(scenarios)
        for row, values in chance.sample(list(zip(rows, scenarios, strict=True)), min(len(rows), 8)):
            options = {name: value for name, value in zip(AXES, values, strict=True) if value is not None} | fixed
            found, told = {name: row[name] for name in FIELDS}, alone(dict(options))
            if found["error"] and told["error"] and found["error"] != told["error"]:
                # Of two mistakes a sweep tells that of what does not change along it; estimate may tell the context's.
                told = alone({**options, "context": 100_000})
            assert found == told, options
            compared += 1


@pytest.mark.parametrize(
    "model", some(["gemma-3-27b", "llama-3-8b", "deepseek-v3", "qwen3-next-80b-a3b", "jamba-v0.1"])
)
def test_long_axes_are_what_estimate_says(model: str) -> None:
    """Where batches or contexts are many, figures are lines, steps and what was found before."""
    chance = random.Random(model)  # noqa: S311  # any will do
    for batches, contexts in (
        ([*range(1, 3000, 7)], [1000, 5000, 131_072]),
        ([1, 70], [*range(1, 200_000, 331)]),
    ):
        axes: dict[str, Any] = {"model": [model], "batch": batches, "context": contexts, "tp": [None, 2]}
        rows = rows_of(Grid(axes, {}, FIELDS))
        scenarios = list(product([model], batches, contexts, [None, 2]))
        for row, values in chance.sample(list(zip(rows, scenarios, strict=True)), 12):
            options = dict(zip(("model", "batch", "context", "tp"), values, strict=True))
            assert {name: row[name] for name in FIELDS} == alone(dict(options)), options


LONGEST = (1, 5, 12, 100, 2000, 8000, 8191, 8192, 9000, 20_000, 33_000, 70_000, 114_688, 200_000)
OF_MANY_CONTEXTS = ("vllm", "vllm@0.20.0", "vllm@0.12.0", "vllm@0.10.0", "sglang", "lmdeploy", "tensorrt-llm")
READ_OF_A_LENGTH: tuple[dict[str, Any], ...] = (
    {},
    {"engine_option": ["max-num-seqs=4"]},
    {"engine_option": ["enable-chunked-prefill=false"]},
    {"engine_option": ["performance-mode=throughput"]},
    {"cache_dtype": "turboquant_4bit_nc"},
)


@examples(8)
@given(st.integers(0, 2**32))
def test_an_engine_lays_out_contexts_alike_of_which_it_makes_the_same(seed: int) -> None:
    """Ranks that a sweep takes for another context are those that it would have made for that one."""
    chance = random.Random(seed)  # noqa: S311  # any will do
    engine, model = chance.choice(OF_MANY_CONTEXTS), chance.choice(MODELS)
    options = chance.choice(READ_OF_A_LENGTH) if engine == "vllm" else {}
    deployment = Deployment(chance.choice((1, 2, 8)), chance.choice((1, 1, 2)))
    first, other = (
        Ranks(make_scenario(model, engine=engine, batch=1, context=context, **options))
        for context in chance.sample(LONGEST, 2)
    )
    contexts = first.scenario.workload.context, other.scenario.workload.context
    if first.made_of_longest(contexts[0]) == first.made_of_longest(contexts[1]):
        assert told_of(first, deployment) == told_of(other, deployment), (model, engine, options, contexts)


def told_of(ranks: Ranks, deployment: Deployment) -> list[Any]:
    """What its ranks have beside their caches, and what a cache takes."""
    if not ranks.can_hold(deployment):
        return [ranks.why_not_served(deployment)]
    figures: list[Any] = []
    for rank in ranks.of(deployment):
        figures += [rank.weights_bytes, rank.overhead, rank.temporary, rank.stated_cache_bytes]
        figures += [rank.memory_seen_for_cache, rank.cache_bytes(3, 5000), rank.rate(5000), rank.settled.most_held]
    return figures


@pytest.mark.parametrize("engine", some(["vllm", "sglang", "tensorrt-llm", "lmdeploy"]))
def test_rows_of_an_engine_at_many_contexts_are_what_estimate_says(engine: str) -> None:
    chance = random.Random(engine)  # noqa: S311  # any will do
    for model in ("llama-3-70b", chance.choice(MODELS)):
        contexts = chance.sample(LONGEST, 4)
        axes: dict[str, Any] = {"model": [model], "batch": [40, 2], "context": contexts, "engine": [engine]}
        rows, scenarios = rows_of(Grid(axes, {}, FIELDS)), list(product(axes["batch"], contexts))
        for row, (batch, context) in chance.sample(list(zip(rows, scenarios, strict=True)), 2):
            options = {"model": model, "batch": batch, "context": context, "engine": engine}
            assert {name: row[name] for name in FIELDS} == alone(dict(options)), options


@pytest.mark.parametrize(
    "fields", [("cache_bytes",), ("most_sequences",), ("gpus_count", "error"), ("gpus_by_memory",)]
)
def test_fewer_fields_are_the_same_figures(fields: list[str]) -> None:
    axes: dict[str, Any] = {"model": ["gemma-3-27b"], "batch": [1, 500, 0], "context": [1, 9000], "tp": [None, 4, 3]}
    few, every = rows_of(Grid(axes, {}, fields)), rows_of(Grid(axes, {}, FIELDS))
    assert [{name: row[name] for name in fields} for row in few] == [
        {name: row[name] for name in fields} for row in every
    ]


@pytest.mark.parametrize(
    "model", ["llama-3-70b", "gemma-3-27b", "gpt-oss-120b", "deepseek-v3", "llama-4-scout-17b-16e"]
)
@pytest.mark.parametrize("prefix", [0, 600])
def test_how_a_cache_grows_is_what_it_takes(model: str, prefix: int) -> None:
    from kvcalc.deployment import Deployment
    from kvcalc.memory import ranks_of

    chance = random.Random(model)  # noqa: S311  # any will do
    scenario = make_scenario(model, context=10**6, shared_prefix=prefix or None)
    for rank in ranks_of(scenario, Deployment(tp=1, pp=3)):
        for _ in range(60):
            sequences, context = chance.randint(1, 500), chance.choice((600, 1023, 1024, 1025, 8192, 8193, 200_000))
            stretch = rank.stretch(context)
            assert stretch is not None
            start, step = stretch.held.over_sequences(context)
            assert start + step * sequences == rank.cache_bytes(sequences, context)
            start, step = stretch.held.over_context(sequences)
            other = chance.randint(stretch.first, min(stretch.last, context + 5000))
            assert start + step * other == rank.cache_bytes(sequences, other)


@pytest.mark.parametrize("rows", [0, 1, 7, 100, 99_999])
@pytest.mark.parametrize("of", [1, 3, 8])
def test_shards_together_are_the_whole(rows: int, of: int) -> None:
    blocks = sorted(block for number in range(1, of + 1) for block in shard_of(f"{number}/{of}").blocks(rows))
    assert [row for start, stop in blocks for row in range(start, stop)] == list(range(rows))


@pytest.mark.parametrize("given", ["0/3", "4/3", "1", "a/b", "1/0", "1/9999999"])
def test_what_is_no_shard_is_refused(given: str) -> None:
    with pytest.raises(KvcalcError, match="is not K/N"):
        shard_of(given)


def test_a_sweep_takes_what_estimate_takes() -> None:
    assert {"model", *options_of(ScenarioOptions)} <= {*options_of(SweepOptions)}


def test_from_python() -> None:
    rows = list(kvcalc.sweep(["llama-3-8b", "nosuch"], batch=range(1, 3), context="1Ki,max", tp=[1, 3]))
    assert len(rows) == 16
    assert rows[0].cache_bytes == kvcalc.estimate("llama-3-8b", context=1024).cache.bytes
    assert (rows[2].context, rows[2].to_dict()["context"]) == (8192, 8192)
    assert rows[1].cache_bytes is None
    assert "tp: 3 is illegal" in str(rows[1].error)
    assert "<th>context</th><td>8192</td>" in rows[2]._repr_html_()
    assert rows[0] == next(kvcalc.sweep("llama-3-8b", batch=1, context="1Ki,max", tp=1))
    with pytest.raises(AttributeError):
        rows[0].batch = 2  # type: ignore[misc]  # the mistake


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("deepseek-v3", {"tp": 8, "gpu": "h200", "mtp": 1}),
        ("llama-3-8b", {"tp": 1, "handoff": "50GB", "rps": 5, "input_tokens": 100, "output_tokens": 10}),
        ("llama-3-8b", {"mix": "70%:2Ki+500,30%:16Ki+1Ki", "batch": 20, "tp": 1, "spill": True}),
        ("qwen3-8b", {"engine": "vllm", "draft": "qwen3-0.6b", "context": 1024}),
    ],
)
def test_every_single_figure_of_an_estimate_may_be_a_column(model: str, options: dict[str, Any]) -> None:
    figures = flat(kvcalc.estimate(model, **options).to_dict())
    there = {name: value for name, value in figures.items() if value is not None}
    kinds = kinds_of(fields_of(tuple(there)))
    assert {name for name, value in there.items() if type(value) is not kinds[name]} == set()


def test_a_sweep_is_refused_before_its_first_row() -> None:
    for options, said in (
        ({"batch": "1..8"}, "does not say how it goes on"),
        ({"fields": "nosuch"}, "no field 'nosuch'"),
        ({"utilization": 7}, "--utilization"),
        ({"batch": "1..1e9+1"}, "--yes: 1,000,000,000 scenarios"),
    ):
        with pytest.raises(KvcalcError, match=said):
            kvcalc.sweep("llama-3-8b", **options)
    with pytest.raises(KvcalcError, match="--model: missing"):
        kvcalc.sweep(batch=1)


def test_tokens_of_images_are_added_in_each_row() -> None:
    images: dict[str, Any] = {"images": 1, "image_size": "640x480"}
    rows = list(kvcalc.sweep("qwen2.5-vl-7b", context=[4096, 131_072], **images))
    alone = [kvcalc.estimate("qwen2.5-vl-7b", context=context, **images) for context in (4096, 131_072)]
    assert [row.error for row in rows] == [None, None]
    found = [(row.to_dict()["context"], row.to_dict()["cache_bytes"]) for row in rows]
    assert found == [(each.workload.context, each.cache.bytes) for each in alone]
