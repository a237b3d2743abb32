"""One figure, whichever verb is asked, of a scenario: as a command, a row of a sweep or a tool, under every engine."""

from __future__ import annotations

from typing import Any

import pytest
from fuzzing import some

import kvcalc
from kvcalc.deployment import Deployment
from kvcalc.engines import ENGINES
from kvcalc.errors import KvcalcError
from kvcalc.mcp.server import call
from kvcalc.memory import Ranks

CASES: dict[str, dict[str, Any]] = {
    "llama-3-8b": {"batch": 16, "context": 5000, "tp": 1},
    "llama-3-70b": {"batch": 32, "context": 8192, "tp": 4},
    "gemma-3-27b": {"batch": 2, "context": 9001, "tp": 2},
    "deepseek-v3": {"batch": 3, "context": 4097, "tp": 8, "pp": 2},
    "qwen3-next-80b-a3b": {"batch": 8, "context": 3000, "tp": 4},
}
REFUSED = {("qwen3-next-80b-a3b", "tensorrt-llm"), ("qwen3-next-80b-a3b", "lmdeploy")}
"""States that kvcalc does not follow there."""
UNDIVIDED = {("deepseek-v3", "lmdeploy")}
"""Too large for the ranks of a node, where an engine has no pipeline stages."""
COMPARED = [(model, engine) for model in CASES for engine in ENGINES if (model, engine) not in REFUSED]
ASKED = [each for each in COMPARED if each not in UNDIVIDED]

ALSO_ASKED_ELSEWHERE = {"gemma-3-27b", "deepseek-v3"}


def deployed(model: str, engine: str) -> dict[str, Any]:
    """A case's deployment and context; of an engine that divides no layers, as many pipeline stages."""
    options = {name: value for name, value in CASES[model].items() if name != "batch"}
    asked = kvcalc.make_scenario(model, engine=engine, **options)
    if Ranks(asked).serves(asked.deployment or Deployment()):
        return options
    ranks = options.pop("tp", 1) * options.pop("pp", 1)
    return {**options, "pp": ranks}


@pytest.mark.parametrize(("model", "engine"), some(ASKED))
def test_capacity_holds_what_estimate_says_fits(model: str, engine: str) -> None:
    """At its most sequences a rank's memory is estimate's, and one more is not held."""
    options = deployed(model, engine)
    found = kvcalc.capacity(model, engine=engine, **options)
    assert found.sequences

    def estimated(batch: int) -> Any:
        return kvcalc.estimate(model, engine=engine, batch=batch, **options)

    assert estimated(found.sequences).answer.headroom_bytes >= 0
    if found.limited_by == "sequences":
        with pytest.raises(KvcalcError, match=f"at most {found.sequences:,} sequences on a replica"):
            estimated(found.sequences + 1)
        return
    assert estimated(found.sequences + 1).answer.headroom_bytes == -(found.one_more_lacks_bytes or 0)
    assert found.at_limit.bytes == estimated(found.sequences).memory.per_rank.total_bytes


@pytest.mark.parametrize(("model", "engine"), some(ASKED))
def test_plan_counts_as_estimate_does(model: str, engine: str) -> None:
    workload = {name: value for name, value in CASES[model].items() if name in {"batch", "context"}}
    planned = kvcalc.plan(model, engine=engine, **workload).deployments
    smallest = kvcalc.estimate(model, engine=engine, **workload).gpus
    assert planned
    assert planned[0].deployment.gpus <= (smallest.count or 0)  # a plan also tries replicas that share experts
    for place, each in enumerate(planned):
        one = each.deployment
        sizes: dict[str, Any] = {"tp": one.tp, "pp": one.pp, "dp": one.dp, "ep": one.ep, "dcp": one.dcp}
        again = kvcalc.estimate(model, engine=engine, **workload, **sizes, dp_attention=one.dp_attention)
        assert again.memory.per_rank.total_bytes == each.bytes_per_rank
        assert again.answer.headroom_bytes == each.headroom_bytes
        if one.dp == 1 and (place < 3 or place == len(planned) - 1):
            held = kvcalc.capacity(model, engine=engine, **workload, **sizes)
            assert (held.total.sequences, held.max_context) == (each.max_batch, each.max_context)


@pytest.mark.parametrize("model", CASES)
def test_compare_counts_as_estimate_does(model: str) -> None:
    workload = {name: value for name, value in CASES[model].items() if name in {"batch", "context"}}
    compared = kvcalc.compare(model, engine=list(ENGINES), **workload)
    assert [(model, row.engine) for row in compared.rows] == [each for each in COMPARED if each[0] == model]
    for row in compared.rows:
        alone = kvcalc.estimate(model, engine=row.engine, **workload)
        assert row.cache_bytes == alone.cache.bytes
        assert (row.bytes_per_token, row.state_bytes_per_sequence) == (
            alone.cache.bytes_per_token,
            alone.cache.state_bytes_per_sequence,
        )
        assert (row.by_memory, row.count) == (alone.gpus.by_memory, alone.gpus.count)
        assert row.content_bytes <= row.cache_bytes
        assert row.engine != "exact" or row.content_bytes == row.cache_bytes


@pytest.mark.parametrize(("model", "engine"), some([each for each in ASKED if each[0] in ALSO_ASKED_ELSEWHERE]))
def test_sweep_and_tools_count_as_estimate_does(model: str, engine: str) -> None:
    """A row of a sweep, and an agent's tools, have estimate's and capacity's figures."""
    asked = {**deployed(model, engine), "engine": engine}
    alone = kvcalc.estimate(model, batch=2, **asked)
    (row,) = kvcalc.sweep(model, batch=2, **asked)
    total = alone.memory.per_rank.total_bytes
    assert (row.cache_bytes, row.memory_per_rank_total_bytes) == (alone.cache.bytes, total)
    told = call("estimate", {"model": model, "batch": 2, **asked})
    assert told["cache"]["bytes"] == alone.cache.bytes
    assert told["memory"]["per_rank"]["total_bytes"] == total
    held = kvcalc.capacity(model, **asked)
    assert call("capacity", {"model": model, **asked})["sequences"] == held.sequences == row.most_sequences
