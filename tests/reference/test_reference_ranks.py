"""Reference modules on tensor-parallel ranks: what each keeps, and that they add up to the layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from attention_layers import (
    HIDDEN,
    TOKENS,
    layer,
    random,
    relative,
)

from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Mechanism, MLAExpanded
from kvcalc.model.span import Window
from kvcalc.reference import Rows, build


@pytest.fixture(autouse=True, scope="module")
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


LATENT: dict[str, Any] = {
    "num_heads": 6,
    "kv_lora_rank": 5,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 3,
    "v_head_dim": 2,
}

SHARDS: dict[str, tuple[Mechanism, dict[int, dict[str, tuple[int, ...]]]]] = {  # tp -> a token's rows on each rank
    "mha": (
        MHA(num_heads=6, head_dim=4, v_head_dim=3),
        {
            1: {"k": (6, 4), "v": (6, 3)},
            2: {"k": (3, 4), "v": (3, 3)},
            3: {"k": (2, 4), "v": (2, 3)},
            6: {"k": (1, 4), "v": (1, 3)},
        },
    ),
    "mqa": (MQA(num_heads=4, head_dim=6, v_head_dim=5), {tp: {"k": (6,), "v": (5,)} for tp in (1, 2, 4)}),
    "gqa 8/2": (
        GQA(num_heads=8, num_kv_heads=2, head_dim=4),
        {
            1: {"k": (2, 4), "v": (2, 4)},
            2: {"k": (1, 4), "v": (1, 4)},
            4: {"k": (1, 4), "v": (1, 4)},
            8: {"k": (1, 4), "v": (1, 4)},
        },
    ),
    "gqa 12/6": (
        GQA(num_heads=12, num_kv_heads=6, head_dim=3, v_head_dim=2),
        {
            1: {"k": (6, 3), "v": (6, 2)},
            2: {"k": (3, 3), "v": (3, 2)},
            3: {"k": (2, 3), "v": (2, 2)},
            6: {"k": (1, 3), "v": (1, 2)},
            12: {"k": (1, 3), "v": (1, 2)},
        },
    ),
    "mla": (MLA(**LATENT), {tp: {"c_kv": (5,), "k_rope": (4,)} for tp in (1, 2, 3, 6)}),
    "mla, queries compressed": (
        MLA(**LATENT, q_lora_rank=7),
        {tp: {"c_kv": (5,), "k_rope": (4,)} for tp in (1, 2, 3, 6)},
    ),
    "mla expanded": (
        MLAExpanded(**LATENT),
        {
            1: {"k": (6, 7), "v": (6, 2)},
            2: {"k": (3, 7), "v": (3, 2)},
            3: {"k": (2, 7), "v": (2, 2)},
            6: {"k": (1, 7), "v": (1, 2)},
        },
    ),
}


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize(
    ("mechanism", "tp", "expected"),
    [(mechanism, tp, rows) for mechanism, by_tp in SHARDS.values() for tp, rows in by_tp.items()],
    ids=[f"{name}, tp {tp}" for name, (_, by_tp) in SHARDS.items() for tp in by_tp],
)
def test_ranks_add_up_to_the_layer(
    mechanism: Mechanism, tp: int, expected: dict[str, tuple[int, ...]], window: int | None
) -> None:
    module, x_BTD = layer(mechanism, window), random(2, TOKENS, HIDDEN)
    ranks = [module.shard(rank, tp) for rank in range(tp)]
    kept = [rank.keep(x_BTD, 0) for rank in ranks]
    attended = [rank.attend(x_BTD, 0, Rows(rows, torch.arange(TOKENS))) for rank, rows in zip(ranks, kept, strict=True)]

    for rows in kept:
        assert {name: tuple(tensor.shape[2:]) for name, tensor in rows.items()} == expected
    assert relative(torch.stack([rank(x_BTD) for rank in ranks]).sum(dim=0), module(x_BTD)) < 1e-12
    assert relative(torch.stack(attended).sum(dim=0), module(x_BTD)) < 1e-12


KV_HEADS_OF_RANKS = [  # mechanism, the KV heads that each rank keeps
    (MHA(num_heads=6, head_dim=4), [[0, 1], [2, 3], [4, 5]]),
    (MHA(num_heads=4, head_dim=4), [[0], [1], [2], [3]]),
    (GQA(num_heads=8, num_kv_heads=4, head_dim=4), [[0, 1], [2, 3]]),
    (GQA(num_heads=8, num_kv_heads=2, head_dim=4), [[0], [1]]),
    (GQA(num_heads=8, num_kv_heads=2, head_dim=4), [[0], [0], [1], [1]]),
    (GQA(num_heads=8, num_kv_heads=2, head_dim=4), [[0], [0], [0], [0], [1], [1], [1], [1]]),
    (GQA(num_heads=6, num_kv_heads=3, head_dim=4, v_head_dim=2), [[0], [0], [1], [1], [2], [2]]),
    (MLAExpanded(**LATENT), [[0, 1, 2], [3, 4, 5]]),
]


@pytest.mark.parametrize(("mechanism", "expected"), KV_HEADS_OF_RANKS)
def test_a_rank_keeps_the_heads_that_its_queries_read(mechanism: Mechanism, expected: list[list[int]]) -> None:
    module, x_BTD = layer(mechanism), random(2, TOKENS, HIDDEN)
    whole = module.keep(x_BTD, 3)
    for rank, heads in enumerate(expected):
        for name, tensor in module.shard(rank, len(expected)).keep(x_BTD, 3).items():
            assert relative(tensor, whole[name][:, :, heads]) < 1e-13


@pytest.mark.parametrize("mechanism", [MQA(num_heads=4, head_dim=6), MLA(**LATENT, q_lora_rank=7)])
def test_what_has_no_heads_is_whole_on_every_rank(mechanism: Mechanism) -> None:
    module, x_BTD = layer(mechanism), random(2, TOKENS, HIDDEN)
    whole = module.keep(x_BTD, 3)
    for rank in range(2):
        for name, tensor in module.shard(rank, 2).keep(x_BTD, 3).items():
            assert tensor.equal(whole[name])


def test_a_rank_has_the_weights_of_its_queries_groups() -> None:
    """8 query heads of 4 on 2 KV heads over 4 ranks: rank 2 has query heads 4 and 5, and KV head 1."""
    module = layer(GQA(num_heads=8, num_kv_heads=2, head_dim=4, v_head_dim=3))
    rank = module.shard(2, 4)
    whole, part = module.state_dict(), rank.state_dict()

    assert part["q_proj.weight"].equal(whole["q_proj.weight"][16:24])
    assert part["k_proj.weight"].equal(whole["k_proj.weight"][4:8])
    assert part["v_proj.weight"].equal(whole["v_proj.weight"][3:6])
    assert part["o_proj.weight"].equal(whole["o_proj.weight"][:, 12:18])
    assert rank.mechanism == GQA(num_heads=2, num_kv_heads=1, head_dim=4, v_head_dim=3)


@pytest.mark.parametrize("mechanism", [case[0] for case in SHARDS.values()], ids=list(SHARDS))
def test_a_rank_is_like_its_layer(mechanism: Mechanism) -> None:
    """Its window, dtype and device, and no gradients; its weights are its own."""
    for device, dtype in (("meta", torch.bfloat16), ("cpu", torch.float32)):
        module = build(mechanism, HIDDEN, Window(3), device=device, dtype=dtype)
        rank = module.shard(1, 2)
        assert type(rank) is type(module)
        assert (rank.span, rank.hidden_size) == (Window(3), HIDDEN)
        assert {(weight.device.type, weight.dtype) for weight in rank.parameters()} == {(device, dtype)}
        assert not any(weight.requires_grad for weight in rank.parameters())
    before = module.state_dict()["o_proj.weight"].clone()
    rank.state_dict()["o_proj.weight"].zero_()
    assert module.state_dict()["o_proj.weight"].equal(before)
