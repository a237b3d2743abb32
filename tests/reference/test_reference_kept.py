"""What reference modules keep: names, shapes and dtypes, against literals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from attention_layers import (
    HIDDEN,
    TOKENS,
    every_mechanism,
    layer,
    random,
    relative,
)

from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Mechanism, MLAExpanded, NoAttention, Shared
from kvcalc.model.span import Window
from kvcalc.reference import ReferenceAttention, Rows, build


@pytest.fixture(autouse=True, scope="module")
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


KEPT: dict[str, tuple[Mechanism, int, dict[str, tuple[int, ...]], int]] = {
    # mechanism, hidden_size, a token's rows, weights of a layer
    "Llama-2-7B": (MHA(num_heads=32, head_dim=128), 4096, {"k": (32, 128), "v": (32, 128)}, 67_108_864),
    "Falcon-7B": (MQA(num_heads=71, head_dim=64), 4544, {"k": (64,), "v": (64,)}, 41_877_504),
    "Llama-3-70B": (
        GQA(num_heads=64, num_kv_heads=8, head_dim=128),
        8192,
        {"k": (8, 128), "v": (8, 128)},
        150_994_944,
    ),
    "MiMo-V2-Flash": (  # keys and values of different widths
        GQA(num_heads=64, num_kv_heads=4, head_dim=192, v_head_dim=128),
        4096,
        {"k": (4, 192), "v": (4, 128)},
        89_128_960,
    ),
    "DeepSeek-V3": (
        MLA(
            num_heads=128,
            kv_lora_rank=512,
            qk_rope_head_dim=64,
            qk_nope_head_dim=128,
            v_head_dim=128,
            q_lora_rank=1536,
        ),
        7168,
        {"c_kv": (512,), "k_rope": (64,)},
        187_107_328,
    ),
    "DeepSeek-V2-Lite": (
        MLA(num_heads=16, kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128),
        2048,
        {"c_kv": (512,), "k_rope": (64,)},
        13_763_072,
    ),
    "DeepSeek-V3, expanded": (
        MLAExpanded(
            num_heads=128,
            kv_lora_rank=512,
            qk_rope_head_dim=64,
            qk_nope_head_dim=128,
            v_head_dim=128,
            q_lora_rank=1536,
        ),
        7168,
        {"k": (128, 192), "v": (128, 128)},
        187_107_328,
    ),
    "shared": (Shared(), 4096, {}, 0),
    "no attention": (NoAttention(), 4096, {}, 0),
}


@pytest.mark.parametrize(("mechanism", "hidden_size", "expected", "weights"), KEPT.values(), ids=list(KEPT))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_names_and_shapes_of_what_is_kept(
    mechanism: Mechanism, hidden_size: int, expected: dict[str, tuple[int, ...]], weights: int, dtype: torch.dtype
) -> None:
    module = build(mechanism, hidden_size, None, dtype=dtype)
    assert isinstance(module, ReferenceAttention)
    x_BTD = torch.empty(2, 5, hidden_size, dtype=dtype, device="meta")
    kept = module.keep(x_BTD, 4096)

    assert sum(weight.numel() for weight in module.parameters()) == weights
    assert {name: tuple(tensor.shape) for name, tensor in kept.items()} == {
        name: (2, 5, *row) for name, row in expected.items()
    }
    assert list(kept) == list(expected)
    for tensor in (
        *kept.values(),
        module(x_BTD),
        module.attend(x_BTD, 4096, Rows(kept, torch.arange(5, device="meta"))),
    ):
        assert tensor.dtype == dtype
        assert tensor.is_meta
    assert module(x_BTD, last=2).shape == (2, 2, hidden_size)


@every_mechanism
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_dtypes_follow_the_module(mechanism: Mechanism, dtype: torch.dtype) -> None:
    """On a real device too, where the outputs are those of float64 but for rounding."""
    module, exact = build(mechanism, HIDDEN, Window(4), device="cpu", dtype=dtype), layer(mechanism, 4)
    assert isinstance(module, ReferenceAttention)
    exact.load_state_dict({name: weight.double() for name, weight in module.state_dict().items()})
    x_BTD = random(2, TOKENS, HIDDEN).to(dtype)
    kept = module.keep(x_BTD, 0)
    attended = module.attend(x_BTD, 0, Rows(kept, torch.arange(TOKENS)))

    for tensor in (*kept.values(), attended, module(x_BTD)):
        assert tensor.dtype == dtype
    tolerance = {torch.bfloat16: 0.1, torch.float16: 0.01, torch.float32: 1e-5}[dtype]
    assert relative(module(x_BTD).double(), exact(x_BTD.double())) < tolerance
    assert relative(attended.double(), exact(x_BTD.double())) < tolerance


@pytest.mark.parametrize("mechanism", [Shared(), NoAttention()])
def test_layers_that_keep_nothing(mechanism: Mechanism) -> None:
    module, x_BTD = layer(mechanism), random(2, TOKENS, HIDDEN)

    assert module.keep(x_BTD, 0) == {}
    assert module(x_BTD).shape == x_BTD.shape
    assert module(x_BTD, last=2).shape == (2, 2, HIDDEN)
    assert module.attend(x_BTD, 0, Rows({}, torch.arange(0))).shape == x_BTD.shape


@every_mechanism
def test_a_seed_gives_the_same_weights_and_leaves_torchs_alone(mechanism: Mechanism) -> None:
    state = torch.random.get_rng_state()
    one, again, other = layer(mechanism, seed=5), layer(mechanism, seed=5), layer(mechanism, seed=50)

    assert torch.random.get_rng_state().equal(state)
    for name, weight in one.state_dict().items():
        assert weight.equal(again.state_dict()[name])
        assert not weight.equal(other.state_dict()[name])
    for module in (one, build(mechanism, HIDDEN, None)):
        assert not any(weight.requires_grad for weight in module.parameters())
    weights = [weight.flatten()[:8] for weight in one.parameters() if weight.dim() == 2]
    for index, weight in enumerate(weights):
        assert not any(weight.equal(earlier) for earlier in weights[:index])


def test_weights_keep_the_size_of_what_they_multiply() -> None:
    mechanism = MLA(
        num_heads=8, kv_lora_rank=64, qk_rope_head_dim=32, qk_nope_head_dim=32, v_head_dim=32, q_lora_rank=128
    )
    module = build(mechanism, 256, None, device="cpu", dtype=torch.float32)
    for weight in module.parameters():
        if weight.dim() == 1:
            assert (float(weight.mean()), float(weight.std())) == pytest.approx((1, 0.1), abs=0.05)
        else:
            assert float(weight.std()) * weight.shape[1] ** 0.5 == pytest.approx(1, rel=0.05)
            assert float(weight.mean()) * weight.shape[1] ** 0.5 == pytest.approx(0, abs=0.05)
