"""Deployments: which are legal, and how what is not is refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from conftest import Kvcalc
from deployment_rules import dcps_by_hand, eps_by_hand, laws, models, tps_by_hand
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.legality import check_legal, legal_dcps, legal_eps, legal_tps
from kvcalc.mechanisms import GQA, MHA
from kvcalc.model.layers import LayerGroup


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
        ("deepseek-v3", {"ep": 16}, "ep: 16 ranks cannot share the experts of one rank; give --tp N too"),
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
