"""A model over several cards, alike or not: where llama.cpp puts each layer, and that all commands count the same."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

import kvcalc
from kvcalc.engines.llama_cpp.layers import shared_out
from kvcalc.errors import KvcalcError

PLACED = [
    (32, 33, "24,48", (11, 21)),
    (32, 22, "24,48", (8, 13)),
    (80, 81, "24,48", (27, 53)),
    (80, 70, "24,48", (24, 45)),
    (80, 5, "24,48", (2, 2)),
    (61, 62, "3,1", (47, 14)),
    (80, 81, "3,1", (61, 19)),
    (32, 33, "1,2,3", (6, 11, 15)),
    (80, 5, "1,2,3", (1, 2, 1)),
    (61, 51, "1,2,3", (9, 17, 24)),
    (80, 70, "10,10,20,7", (15, 15, 30, 9)),
    (61, 20, "10,10,20,7", (5, 4, 9, 1)),
]
"""Layers, -ngl, -ts, and the layers of each card as b11549 assigns them to devices like CUDA's (tests/live)."""


@pytest.mark.parametrize(("layers", "on_cards", "shares", "expected"), PLACED)
def test_layers_lie_where_llama_cpp_puts_them(
    layers: int, on_cards: int, shares: str, expected: tuple[int, ...]
) -> None:
    first = max(0, layers + 1 - on_cards)
    found = shared_out(layers, first, [Fraction(each) for each in shares.split(",")])
    assert (found[0] - first, *found[1:]) == expected


ASKED: dict[str, Any] = {"engine": "llama-cpp", "weight_dtype": "q4_g256_s16", "context": 8192}
UNLIKE = "rtx4090+rtx-a6000"


def test_each_card_is_a_rank_with_its_own_memory() -> None:
    found = kvcalc.estimate("llama-3.3-70b", gpu=UNLIKE, engine_option={"tensor-split": "24,48"}, **ASKED)
    assert (found.gpus.fits, found.gpus.count) == (True, 2)
    a_layer = 8192 * 2 * 8 * 128 * 2
    assert found.cache.bytes == 80 * a_layer
    assert found.cache.bytes_per_rank == 27 * a_layer
    (told,) = [each for each in found.notes if each.code == "each-card"]
    assert told.data["cards"] == ("rtx4090", "rtx-a6000")
    held = found.memory.per_rank.total_bytes
    assert held in told.data["bytes"]  # type: ignore[operator]  # a tuple
    most = kvcalc.capacity("llama-3.3-70b", gpu=UNLIKE, engine_option={"tensor-split": "24,48"}, **ASKED)
    assert (most.sequences, most.n_gpu_layers) == (11, 81)
    evenly = kvcalc.capacity("llama-3.3-70b", gpu=UNLIKE, engine_option={"tensor-split": "1,1"}, **ASKED)
    assert evenly.sequences == kvcalc.capacity("llama-3.3-70b", gpu="rtx4090", pp=2, **ASKED).sequences == 2


def test_cards_that_are_alike_are_as_stages_are() -> None:
    together = kvcalc.capacity("llama-3.3-70b", gpu="rtx4090+rtx4090", **ASKED)
    stages = kvcalc.capacity("llama-3.3-70b", gpu="rtx4090", pp=2, **ASKED)
    assert (together.sequences, together.max_context) == (stages.sequences, stages.max_context)


def test_estimate_capacity_and_plan_agree() -> None:
    (row,) = kvcalc.plan("llama-3.3-70b", gpu=UNLIKE, batch=1, **ASKED).deployments
    estimate = kvcalc.estimate("llama-3.3-70b", gpu=UNLIKE, **ASKED)
    capacity = kvcalc.capacity("llama-3.3-70b", gpu=UNLIKE, **ASKED)
    assert (row.gpu, row.count, row.deployment) == (UNLIKE, 2, kvcalc.Deployment(pp=2))
    assert row.headroom_bytes == estimate.memory.per_rank.headroom_bytes
    assert (row.max_batch, row.max_context) == (capacity.sequences, capacity.max_context)


def test_what_does_not_fit_is_told_as_of_other_cards() -> None:
    found = kvcalc.plan("llama-3.3-70b", gpu="rtx4090+rtx3090", batch=3, **ASKED)
    assert not found.deployments
    assert [row.pp for row in found.rejected] == [2]
    assert not kvcalc.estimate("llama-3.3-70b", gpu="rtx4090+rtx3090", batch=3, **ASKED).gpus.fits


def test_as_many_layers_as_fit_on_both() -> None:
    asked: dict[str, Any] = {**ASKED, "gpu": "rtx4090+rtx3090", "context": 65536}
    most = kvcalc.capacity("llama-3.3-70b", **asked).n_gpu_layers
    assert most is not None
    for layers, fits in ((most, True), (most + 1, False)):
        found = kvcalc.estimate("llama-3.3-70b", **asked, engine_option={"n-gpu-layers": str(layers)})
        assert ((found.memory.per_rank.headroom_bytes or 0) >= 0) is fits


def test_notes_of_memory_are_of_each_card() -> None:
    notes = kvcalc.estimate("llama-3-8b", gpu="rtx4090+m4-max", engine="llama-cpp").notes
    (told,) = [each for each in notes if each.code == "gpu-unified-memory"]
    assert told.text.startswith("of 36 GB that m4-max shares with the processor")
    assert "gpu-smallest-size" in {each.code for each in notes}


def test_compare_refuses_cards_together() -> None:
    for models in ("llama-3-8b", ["llama-3-8b", "qwen3-8b"]):
        with pytest.raises(KvcalcError, match="are 2 cards together; name one, or ask kvcalc estimate"):
            kvcalc.compare(models, gpu="rtx4090+rtx3090", engine="llama-cpp")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "exact"}, "--engine llama-cpp has, and --gpu rtx4090,rtx-a6000 are alternatives"),
        ({"engine": "vllm"}, "which engine vllm has none of"),
        ({"pp": 3}, "2 cards are as many stages; leave --pp out"),
        ({"tp": 2, "pp": 2}, "--tp: llama.cpp puts whole layers on a card"),
        ({"engine_option": {"tensor-split": "1,2,3"}}, "3 shares for 2 cards"),
        ({"engine_option": {"tensor-split": "1,0"}}, "tensor-split"),
        ({"gpus": 2}, "names all cards of the deployment; leave --gpus out"),
        ({"gpu_memory": "24GiB"}, "are of one accelerator"),
        ({"gpu": "rtx4090+nothing"}, "no accelerator 'nothing'"),
    ],
)
def test_what_it_does_not_do_is_refused_with_what_works(options: dict[str, Any], said: str) -> None:
    with pytest.raises(KvcalcError, match=said.replace("+", r"\+")):
        kvcalc.estimate("llama-3.3-70b", **{"gpu": UNLIKE, **ASKED, **options})
