"""The feed-forward network of a whole layer: beside a textbook of one token at a time, and counted by torch."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

import kvcalc
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import Model

torch = pytest.importorskip("torch", reason="measures with torch")

from test_bench import measured  # noqa: E402  # needs torch
from torch.nn.functional import gelu, silu  # noqa: E402  # needs torch
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402  # needs torch

from kvcalc.mechanisms import GQA  # noqa: E402  # needs torch
from kvcalc.speed import run as run_module  # noqa: E402  # needs torch
from kvcalc.speed.feed_forward import FeedForward, Network, network_of, normed, rest_of_layer  # noqa: E402  # needs torch

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
DENSE = {"hidden_size": 48, "intermediate_size": 64, "model_type": "llama"}
EXPERTS = {"hidden_size": 48, "moe_intermediate_size": 16, "num_experts": 8, "num_experts_per_tok": 3}


def model(**dims: Any) -> Model:
    attention = GQA(num_heads=4, num_kv_heads=2, head_dim=12)
    return Model(name="small", dtype="bf16", layers=(LayerGroup(count=2, attention=attention),), **dims)


@pytest.mark.parametrize("tokens", [1, 2, 5])
@pytest.mark.parametrize(
    "network",
    [
        Network(48, 64, gated=True),
        Network(48, 64, gated=False),
        Network(48, 16, gated=True, experts=8, per_token=3),
        Network(48, 16, gated=True, experts=4, per_token=2, shared=24),
    ],
)
def test_a_step_is_the_textbooks_for_every_token(network: Network, tokens: int) -> None:
    """By the definition, a token at a time; weights as torch counts them, operations as its own counter does."""
    built = FeedForward(network, tokens, CPU, torch.float64)
    x_BD = torch.randn(tokens, 48, dtype=torch.float64)
    with FlopCounterMode(display=False) as counter:
        found = built(x_BD)

    def through(x: Any, up: Any, down: Any) -> Any:
        width = down.shape[-1]
        inner = up @ x
        return down @ (silu(inner[:width]) * inner[width:] if network.gated else gelu(inner))

    for token, x in enumerate(x_BD):
        if network.experts:
            chosen = [(token * network.per_token + each) % built.used for each in range(network.per_token)]
            expected = sum(through(x, built.up_EFD[each], built.down_EDF[each]) for each in chosen) / network.per_token
        else:
            expected = through(x, built.up_EFD[0], built.down_EDF[0])
        if network.shared:
            expected = expected + through(x, built.shared_up_FD, built.shared_down_DF)
        torch.testing.assert_close(found[token], expected)
    names = ("router_ED", "up_EFD", "down_EDF", "shared_up_FD", "shared_down_DF")
    held = [getattr(built, name) for name in names]
    assert network.parameters(tokens) == sum(weight.numel() for weight in held if weight is not None)
    if tokens * max(1, network.per_token) % built.used == 0:  # else some places are filled up
        assert 2 * network.multiply_adds(tokens) == counter.get_total_flops()


def test_a_layer_has_two_norms_and_two_sums() -> None:
    network = FeedForward(Network(48, 64, gated=True), 2, CPU, torch.float64)
    x_BTD, attended_BTD = torch.randn(2, 2, 1, 48, dtype=torch.float64)
    h_BTD = x_BTD + attended_BTD
    expected = h_BTD + network((h_BTD / (h_BTD**2).mean(-1, keepdim=True).sqrt())[:, 0])[:, None]
    torch.testing.assert_close(rest_of_layer(x_BTD, attended_BTD, network), expected)
    torch.testing.assert_close((normed(x_BTD) ** 2).mean(-1), torch.ones(2, 1, dtype=torch.float64))


def test_the_network_is_the_models() -> None:
    assert network_of(kvcalc.load_model("llama-3-8b")) == Network(4096, 14336, gated=True)
    assert network_of(kvcalc.load_model("deepseek-v3")) == Network(7168, 2048, True, 256, 8, 2048)
    told = network_of(kvcalc.load_model("deepseek-v3"))
    assert isinstance(told, Network)
    assert told.label == "8 of 256 experts, dealt out in turn, of 7,168 x 2,048 and 2,048 for every token, gated"
    assert network_of(kvcalc.load_model("gpt2")).label == "768 x 3,072, not gated"  # type: ignore[union-attr]  # it has one


@pytest.mark.parametrize(("dims", "weights"), [(DENSE, 3 * 48 * 64), (EXPERTS, 6 * 3 * 48 * 16 + 8 * 48)])
def test_a_whole_layer_reads_its_network_beside_attention(dims: dict[str, Any], weights: int) -> None:
    found = measured(model(**dims), offload=Fraction(1, 2))
    size = 4 if found.cache_dtype == "fp32" else 2
    for each in found.rows:
        assert each.whole_layer is not None
        assert each.whole_layer.bytes - each.with_projections.bytes == size * weights
        assert each.whole_layer.bound_s > each.with_projections.bound_s
    assert found.feed_forward


@pytest.mark.parametrize(
    ("dims", "reason"),
    [
        ({}, "the model's file has no hidden_size"),
        ({"hidden_size": 48}, "the model's file has no intermediate_size"),
        ({**EXPERTS, "moe_intermediate_size": None}, "the model's file lacks moe_intermediate_size, num_experts"),
    ],
)
def test_without_its_widths_a_whole_layer_is_not_measured(dims: dict[str, Any], reason: str) -> None:
    found = measured(model(**dims), mechanisms=("mqa",))
    assert (found.feed_forward, found.rows[0].whole_layer) == (None, None)
    told = [str(each.data["reason"]) for each in found.notes if each.code == "bench-no-feed-forward"]
    assert len(told) == 1
    assert told[0].startswith(reason)


def test_a_network_that_does_not_fit_is_left_out_and_the_mechanisms_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_module, "_refuse_without_headroom", lambda *_: 10**6)
    found = measured(model(**DENSE), mechanisms=("mqa",))
    assert found.rows[0].whole_layer is None
    note = next(each for each in found.notes if each.code == "bench-no-feed-forward")
    assert "takes" in note.text
    assert "1,000,000 are free" in note.text
