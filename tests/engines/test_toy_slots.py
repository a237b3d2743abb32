"""An engine that serves few deployments and pads totals: nothing takes that for unbounded, and no refusal is fatal."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import gcd
from typing import Any, ClassVar

import pytest
from conftest import Kvcalc
from fuzzing import some
from toy_engine import Toy, ToyLayout
from toy_slots import Slots, SlotsLayout

import kvcalc as package
from kvcalc.engines import ENGINES, Budget, Load, Setup, Temporary
from kvcalc.model.stages import Stage
from kvcalc.scenario.plan_request import Limits
from kvcalc.term import Factor, Product, Sum
from kvcalc.verbs.planning.search import Search
from kvcalc.verbs.searching.candidate import evaluate
from kvcalc.verbs.searching.capacity_search import least

TOKEN = 2 * 32 * 8 * 128 * 2
WEIGHTS = 8_030_261_248 * 2
H100 = 85_020_639_232
BESIDE = (2 + 1 + 16) * 2**20


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "slots", Slots)
    monkeypatch.setitem(ENGINES, "toy", Toy)


def answer(kvcalc: Kvcalc, *words: str, code: int = 0) -> dict[str, Any]:
    result = kvcalc(*words, "--json")
    assert result.code == code, result.stderr
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def test_a_second_sequence_in_the_same_cells_is_not_free(kvcalc: Kvcalc) -> None:
    """Two sequences of 100 tokens take the cells of one; the most are counted, not unbounded."""
    cells = (H100 - WEIGHTS - BESIDE) // TOKEN // 256 * 256
    data = answer(kvcalc, "capacity", "llama-3-8b", "-c", "100", "--engine", "slots")
    assert data["sequences"] == cells // 100
    one = answer(kvcalc, "estimate", "llama-3-8b", "-c", "100", "--engine", "slots")
    assert one["answer"]["sequences"] == cells // 100
    plan = answer(kvcalc, "plan", "llama-3-8b", "-b", "100000", "-c", "100", "--gpu", "l4", "--engine", "slots")
    assert all(row["headroom_bytes"] >= 0 for row in plan["deployments"])


def test_what_it_keeps_free_is_not_replaced(kvcalc: Kvcalc) -> None:
    own = answer(kvcalc, "estimate", "llama-3-8b", "--engine", "slots")["memory"]["per_rank"]
    given = answer(kvcalc, "estimate", "llama-3-8b", "--engine", "slots", "--overhead", "0B")["memory"]["per_rank"]
    assert own["overhead_bytes"] == 17 * 2**20
    assert given["overhead_bytes"] == 16 * 2**20


@pytest.mark.parametrize("model", ["llama-3-8b", "deepseek-v3", "gemma-3-27b", "qwen3-next-80b-a3b"])
@pytest.mark.parametrize("gpus", ["h100", "h100,b200", "gh200-96,h100"])
def test_plans_and_estimates_of_what_it_serves(kvcalc: Kvcalc, model: str, gpus: str) -> None:
    data = answer(kvcalc, "plan", model, "--engine", "slots", "--gpu", gpus, "-b", "40", "-c", "4Ki")
    assert data["deployments"]
    for row in some(data["deployments"]):
        assert (row["tp"], row["dcp"], row["dp_attention"]) == (1, 1, False)
        words = ("--gpu", row["gpu"], "--pp", str(row["pp"]), "--dp", str(row["dp"]))
        asked = answer(kvcalc, "estimate", model, "--engine", "slots", "-b", "40", "-c", "4Ki", *words)
        assert asked["gpus"]["fits"] is True
        assert asked["answer"]["headroom_bytes"] == row["headroom_bytes"]
    refused = [(row["legal"], row["reason"]) for row in data["rejected"] if row["tp"] in {2, 4, 8}]
    assert all(legal for legal, _ in refused)
    assert all(reason.startswith("not served: engine slots puts whole layers on a GPU") for _, reason in refused)
    assert refused or model != "deepseek-v3"


def test_what_it_refuses_it_says(kvcalc: Kvcalc) -> None:
    for command in (("plan", "--tp", "2"), ("estimate", "--tp", "2"), ("capacity", "--tp", "2")):
        result = kvcalc(command[0], "llama-3-8b", *command[1:], "--engine", "slots")
        assert (result.code, result.stdout) == (2, "")
        assert "engine slots puts whole layers on a GPU; give --pp" in result.stderr


class NoSingleRank(Toy):
    """It serves tensor parallelism only."""

    name: ClassVar[str] = "pairs"

    def settle(self, setup: Setup) -> ToyLayout:
        if setup.deployment.tp == 1:
            raise package.KvcalcError("--tp: engine pairs needs two")
        return super().settle(setup)


def test_a_single_rank_need_not_be_served(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "pairs", NoSingleRank)
    data = answer(kvcalc, "estimate", "llama-3-8b", "--engine", "pairs", "--tp", "2")
    assert (data["gpus"]["by_memory"], data["gpus"]["tp"]) == (None, 2)
    assert answer(kvcalc, "plan", "llama-3-8b", "--engine", "pairs")["deployments"][0]["tp"] == 2
    assert answer(kvcalc, "capacity", "llama-3-8b", "--engine", "pairs", "--tp", "4")["sequences"] > 0
    result = kvcalc("estimate", "llama-3-8b", "--engine", "pairs")
    assert (result.code, result.stdout) == (2, "")
    assert "engine pairs needs two" in result.stderr


class GrowingLayout(ToyLayout):
    def budget(self, stage: Stage, weights_bytes: int) -> Budget:
        ranks = Factor("ranks", self.setup.deployment.connected_ranks, "rank")
        each = Product("buffers", (Factor("of_a_rank", 6_200_000_000, "byte"), ranks), "this test")
        return super().budget(stage, weights_bytes)._replace(overhead=Sum("overhead", (each,)))


class Growing(Toy):
    """Its overhead grows with each rank that exchanges activations, not at each doubling."""

    name: ClassVar[str] = "growing"

    def settle(self, setup: Setup) -> ToyLayout:
        layout = super().settle(setup)
        return GrowingLayout(setup, layout.block_size, Fraction(1))


def test_replicas_that_share_experts_are_tried_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them may hold less, so the last before a doubling does not speak for those before it."""
    monkeypatch.setitem(ENGINES, "growing", Growing)
    asked = package.make_scenario("deepseek-v3", batch=8, context=4096, gpu="h200-sxm", engine="growing")
    asked = replace(asked, deployment=None)
    listed = {each for _, level in Search(asked, Limits(max_gpus=1024)).ascending(asked) for each in level}
    first: dict[int, package.Deployment] = {}
    for tp, dp in product((1, 2, 4, 8), range(2, 33)):
        shared = package.Deployment(tp, 1, dp, gcd(tp * dp, 256), dp_attention=True)
        if evaluate(replace(asked, deployment=shared), shared).holds(least):
            first.setdefault(tp, shared)
    assert first
    assert set(first.values()) <= listed


class WithLoadLayout(SlotsLayout):
    """Its temporary memory grows with what is held: 1 MiB of each sequence, and 64 bytes of each of all tokens."""

    def temporary(self, stage: Stage, load: Load) -> Temporary:  # noqa: ARG002  # the interface's
        size = load.sequences * (2**20 + 64 * load.context)
        return Temporary(Product("temporary", (Factor("of_all", size, "byte"),), "this test"), size, size)


class WithLoad(Slots):
    """Slots with such temporary memory."""

    def settle(self, setup: Setup) -> WithLoadLayout:
        return WithLoadLayout(Slots.settle(self, setup).setup)


def test_temporary_memory_may_grow_with_what_is_held(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most sequences and the longest context are those that estimates of them have memory for, and no more."""
    monkeypatch.setitem(ENGINES, "slots", WithLoad)
    asked = ("llama-3-8b", "-c", "1000", "--engine", "slots", "--tp", "1")

    def headroom(*words: str) -> int:
        found: int = answer(kvcalc, "estimate", *asked, *words)["memory"]["per_rank"]["headroom_bytes"]
        return found

    found = answer(kvcalc, "capacity", *asked)
    most, longest = found["sequences"], found["max_context"]
    assert headroom("-b", str(most)) >= 0 > headroom("-b", str(most + 1))
    assert most <= found["concurrency"] < most + 1
    words = ("llama-3-8b", "--engine", "slots", "--tp", "1")
    for context, fits in ((longest, True), (longest + 1, False)):
        memory = answer(kvcalc, "estimate", *words, "-c", str(context))["memory"]["per_rank"]
        assert (memory["headroom_bytes"] >= 0) is fits
        assert memory["temporary_bytes"] == 2**20 + 64 * context
    smallest = answer(kvcalc, "estimate", *words[:3], "-b", str(most + 1), "-c", "1000", "--allow-pp")["gpus"]
    assert smallest["count"] == 2
