"""verify under an engine that rounds: what the layers hold is proven, and the engine reserves at least that."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import pytest
from toy_engine import Toy

import kvcalc
from kvcalc.deployment import Deployment
from kvcalc.engines import Engine, Load, Settled, Setup
from kvcalc.mechanisms import GQA, MLA, Attention, Mamba2
from kvcalc.model.layers import LayerGroup
from kvcalc.model.stages import Stage
from kvcalc.noun import noun
from kvcalc.term import Sum
from kvcalc.verification.result import Check, Verification

ATTENTION: dict[str, Attention] = {
    "gqa": GQA(num_heads=8, num_kv_heads=2, head_dim=32),
    "mla": MLA(num_heads=4, kv_lora_rank=64, qk_rope_head_dim=32, qk_nope_head_dim=32, v_head_dim=32),
    "mamba2": Mamba2(num_heads=8, head_dim=16, state_size=16, num_groups=2, conv_kernel=4),
}


class TooLittleLayout(Settled):
    def held(self, stage: Stage, load: Load) -> Sum:
        return Sum("cache", super().held(stage, load).parts[:-1])

    def held_bytes(self, stage: Stage, load: Load) -> int:
        return self.held(stage, load).bytes


@noun
class TooLittle(Engine):
    """An engine whose figure is less than the layers hold."""

    name: ClassVar[str] = "too-little"
    about: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""

    def settle(self, setup: Setup) -> TooLittleLayout:
        return TooLittleLayout(setup)


def scenario(kind: str, engine: Engine, context: int = 40, **ways: int) -> kvcalc.Scenario:
    model = kvcalc.Model(
        name="small", hidden_size=24, dtype="bf16", layers=(LayerGroup(count=4, attention=ATTENTION[kind]),)
    )
    asked = kvcalc.make_scenario(model, batch=3, context=context)
    return dataclasses.replace(asked, engine=engine, deployment=Deployment(ways.get("tp", 1), ways.get("pp", 1)))


Answer = Callable[..., Verification]


def checks(result: Verification, name: str) -> list[Check]:
    return [check for check in result.checks if check.name == name]


HELD = {"gqa": 2 * 2 * 32 * 2, "mla": (64 + 32) * 2, "mamba2": 0}
"""Bytes that a token adds to a layer."""
STATE = {"gqa": 0, "mla": 0, "mamba2": 3 * (8 * 16 + 2 * 2 * 16) * 2 + 8 * 16 * 16 * 4}


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("kind", ATTENTION)
def test_what_layers_hold_is_proven(kind: str, device: str) -> None:
    """40 tokens: two blocks and a half, which the engine counts as 48."""
    asked = scenario(kind, Toy())
    result = kvcalc.verify(asked, device=device)
    assert [check for check in result.checks if not check.ok] == []
    assert result.verified
    [whole] = checks(result, "cache bytes")
    assert whole.measured == whole.predicted == 3 * 4 * (40 * HELD[kind] + STATE[kind])
    [reserved] = checks(result, "reserved")
    assert (
        reserved.measured
        == kvcalc.estimate(asked).cache.bytes
        == 3 * 4 * (48 * HELD[kind] + 2 * STATE[kind]) + 4 * 16 * HELD[kind]
    )
    assert (reserved.predicted, reserved.relation) == (whole.measured, ">=")
    assert "engine toy" in reserved.subject


@pytest.mark.parametrize("ways", [{"tp": 2}, {"pp": 2}, {"tp": 2, "pp": 2}], ids=str)
@pytest.mark.parametrize("kind", ATTENTION)
def test_on_ranks_too(kind: str, ways: dict[str, int]) -> None:
    result = kvcalc.verify(scenario(kind, Toy(), **ways), device="meta")
    assert [check for check in result.checks if not check.ok] == []
    assert result.verified
    assert len(checks(result, "bytes of rank")) == ways.get("tp", 1) * ways.get("pp", 1)


def test_an_engine_that_reserves_less_than_layers_hold_is_found() -> None:
    result = kvcalc.verify(scenario("gqa", TooLittle()), device="meta")
    assert not result.verified
    assert [check.name for check in result.checks if not check.ok] == ["reserved"]


def test_an_engine_that_does_not_round_reserves_what_layers_hold() -> None:
    result = kvcalc.verify(scenario("gqa", kvcalc.make_scenario("llama-3-8b").engine), device="meta")
    assert result.verified
    assert checks(result, "reserved") == []
