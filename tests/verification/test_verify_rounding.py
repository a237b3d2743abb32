"""verify under an engine that rounds: what the layers hold is proven, and the engine reserves at least that."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

import kvcalc
from kvcalc.deployment import Deployment
from kvcalc.engines import Engine, RankLoad, contents
from kvcalc.mechanisms import GQA, MLA, Attention, Mamba2
from kvcalc.model.layers import LayerGroup
from kvcalc.term import Factor, Product, Sum
from kvcalc.verification.result import Check, Verification

ATTENTION: dict[str, Attention] = {
    "gqa": GQA(num_heads=8, num_kv_heads=2, head_dim=32),
    "mla": MLA(num_heads=4, kv_lora_rank=64, qk_rope_head_dim=32, qk_nope_head_dim=32, v_head_dim=32),
    "mamba2": Mamba2(num_heads=8, head_dim=16, state_size=16, num_groups=2, conv_kernel=4),
}


class Blocks:
    """An engine that gives each sequence whole blocks of 16 tokens, and each state a page of 8 KiB."""

    name = "blocks"
    version: str | None = "1"
    about = "Rounds tokens up to blocks of 16, and states to pages."
    source = "this test"

    def rank_cache(self, load: RankLoad) -> Sum:
        return Sum("cache", tuple(self._terms(load)))

    def _terms(self, load: RankLoad) -> list[Product]:
        terms = []
        for content in contents(load):
            grows = content.tensors[0].rows is None
            value = content.rows[-1].value
            padded = Factor("padded", -(-value // 16) * 16 if grows else value, "token")
            pages = () if grows else (Factor("spare", 3, "page"),)
            terms.append(content._replace(rows=(*content.rows[:-1], padded, *pages)).term)
        return terms

    def is_lower_bound(self, load: RankLoad) -> bool:  # noqa: ARG002  # the interface's
        return False


class TooLittle(Blocks):
    """An engine whose figure is less than the layers hold."""

    def _terms(self, load: RankLoad) -> list[Product]:
        return super()._terms(load)[:-1]


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
    asked = scenario(kind, Blocks())
    result = kvcalc.verify(asked, device=device)
    assert [check for check in result.checks if not check.ok] == []
    assert result.verified
    [whole] = checks(result, "cache bytes")
    assert whole.measured == whole.predicted == 3 * 4 * (40 * HELD[kind] + STATE[kind])
    [reserved] = checks(result, "reserved")
    assert reserved.measured == kvcalc.estimate(asked).cache.bytes == 3 * 4 * (48 * HELD[kind] + 3 * STATE[kind])
    assert (reserved.predicted, reserved.relation) == (whole.measured, ">=")
    assert "engine blocks" in reserved.subject


@pytest.mark.parametrize("ways", [{"tp": 2}, {"pp": 2}, {"tp": 2, "pp": 2}], ids=str)
@pytest.mark.parametrize("kind", ATTENTION)
def test_on_ranks_too(kind: str, ways: dict[str, int]) -> None:
    result = kvcalc.verify(scenario(kind, Blocks(), **ways), device="meta")
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
