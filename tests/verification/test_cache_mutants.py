"""One mistake at a time in the cache itself or in splitting it over ranks: verify must say no, and to which claim."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Kvcalc
from mutants import BYTES, DEVICES, PROOF, RANK_BYTES, Mutation, Verify, failed_claims, with_kept
from torch import Tensor

from kvcalc.model.span import Window
from kvcalc.reference import cache as reference_cache
from kvcalc.reference import mha_mqa_gqa as heads
from kvcalc.reference import packing
from kvcalc.reference.base import Rows, kv_heads_of
from kvcalc.reference.mla import MultiHeadLatentAttention
from kvcalc.reference.packing.scaled import ByteBlocks
from kvcalc.verification import allocation, proof, rank_report, shapes
from kvcalc.verification.allocation import Allocation
from kvcalc.verification.scope import Scope

# Mistakes of the cache itself


@pytest.fixture
def failing(kvcalc: Kvcalc, tmp_path: Path) -> Verify:
    return partial(failed_claims, kvcalc, tmp_path)


def slots_changed_by(difference: int) -> Mutation:
    """The proof's cache with more or fewer slots than the window is long."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        original = proof._cache  # noqa: SLF001  # what is broken here
        patch.setattr(proof, "_cache", lambda kept, slots: original(kept, slots + difference))

    return mutate


@pytest.mark.parametrize(
    ("model", "difference", "failed"),
    [
        ("gqa-window", -1, {"sufficient"}),
        ("gqa-window", 1, {"needed"}),
        ("gqa", -1, {"sufficient"}),
        ("mla", -1, {"sufficient"}),
        ("gqa", 1, set()),
    ],
    ids=["too few for a window", "too many for a window", "too few", "too few of the latent", "too many are not used"],
)
def test_a_cache_with_another_number_of_slots(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str, difference: int, failed: set[str]
) -> None:
    slots_changed_by(difference)(monkeypatch)
    assert failing(model, "--device", "meta") == failed


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_real_cache_of_another_window(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, difference: int, device: str
) -> None:
    original = shapes._observe  # noqa: SLF001  # what is broken here

    def other(case: Scope, layer: Any, rank: Any) -> shapes.Observed:
        return original(case, layer._replace(span=Window(layer.span.tokens + difference)), rank)._replace(layer=layer)

    monkeypatch.setattr(shapes, "_observe", other)
    assert failing("gqa-window", "--device", device) == BYTES


def test_a_ring_that_turns_a_slot_too_far(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    original = reference_cache.LayerCache.store
    monkeypatch.setattr(
        reference_cache.LayerCache, "store", lambda self, kept, start: original(self, kept, start + (start > 3))
    )
    assert failing("gqa-window", "--device", "meta") == {"sufficient"}


def test_rows_that_are_said_to_be_of_other_tokens(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    original = reference_cache.LayerCache.extend

    def extend(self: reference_cache.LayerCache, *args: Any) -> Rows:
        rows = original(self, *args)
        return rows._replace(positions_S=rows.positions_S.flip(0))

    monkeypatch.setattr(reference_cache.LayerCache, "extend", extend)
    assert "sufficient" in failing("gqa", "--device", "meta")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("model", "name"), [("gqa", "k"), ("mla", "k_rope")])
def test_a_tensor_that_is_stored_in_another_dtype(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str, name: str, device: str
) -> None:
    original = Scope.format_of
    monkeypatch.setattr(
        Scope, "format_of", lambda self, layer, tensor: "fp32" if tensor == name else original(self, layer, tensor)
    )
    assert failing(model, "--device", device) == {"default format", *BYTES}


@pytest.mark.parametrize("device", DEVICES)
def test_a_packing_with_wider_scales(failing: Verify, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    wider = partial(ByteBlocks, torch.int8, torch.float32, 32)
    monkeypatch.setitem(packing._PACKINGS, "q8_0", wider)  # noqa: SLF001  # what is broken here
    assert failing("gqa", "--cache-dtype", "q8_0", "--device", device) == BYTES


@pytest.mark.parametrize("how", ["longer", "a part of more", "one for both"])
def test_buffers_that_are_not_what_the_shapes_say(failing: Verify, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    original = shapes.Observed.cache

    def buffer(right: Tensor) -> Tensor:
        if how == "longer":
            return right.new_empty((right.shape[0], right.shape[1] + 1, *right.shape[2:]))
        return right.new_empty((right.shape[0], right.shape[1] + 1, *right.shape[2:]))[:, :-1]

    def cache(self: shapes.Observed, device: torch.device) -> reference_cache.LayerCache:
        right = original(self, device)
        assert isinstance(right, reference_cache.LayerCache)
        one = right.buffers[0]
        other = {
            name: stored._replace(buffer=one if how == "one for both" else buffer(stored.buffer))
            for name, stored in right.stored.items()
        }
        return reference_cache.LayerCache(other, right.slots)

    monkeypatch.setattr(shapes.Observed, "cache", cache)
    assert failing("gqa", "--device", "cpu") == BYTES
    assert failing("gqa", "--device", "meta") == set()  # where there are no buffers


@pytest.mark.parametrize("words", [(), ("--decode",)], ids=["counted", "decoded too"])
@pytest.mark.parametrize("model", ["gqa", "mla"])
@pytest.mark.parametrize("left", [2, 0], ids=["one left out", "all left out"])
def test_a_layer_that_is_not_allocated(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str, words: tuple[str, ...], left: int
) -> None:
    def allocate(*args: Any) -> Allocation:
        right = allocation.allocate(*args)
        return right._replace(layers=right.layers[:left])

    monkeypatch.setattr(rank_report, "allocate", allocate)
    assert failing(model, "--device", "cpu", *words) == BYTES


def test_a_stage_that_leaves_a_layer_out(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Scope.layers
    monkeypatch.setattr(Scope, "layers", lambda self, rank: original(self, rank)[rank.stage :])
    assert failing("gqa", "--device", "meta", "--pp", "2") == {"bytes of layers", "cache bytes"}


def test_a_kind_of_layer_that_no_rank_has(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scope, "layers", lambda _self, _rank: [])
    assert failing("gqa", "--device", "cpu") == {"kept per token", *BYTES}


# Mistakes of splitting a layer over ranks


def test_a_rank_with_another_ranks_kv_heads(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    def first(*args: Any) -> range:
        return range(len(kv_heads_of(*args)))

    monkeypatch.setattr(heads, "kv_heads_of", first)
    assert failing("gqa", "--device", "meta", "--tp", "2") == {"sufficient"}
    assert failing("gqa", "--device", "meta") == set()


@pytest.mark.parametrize("device", DEVICES)
def test_a_rank_that_keeps_all_kv_heads(failing: Verify, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(heads, "kv_heads_of", lambda _heads, _num_heads, num_kv_heads: range(num_kv_heads))
    assert failing("gqa", "--device", device, "--tp", "2") == {"kept per token", "sufficient", *RANK_BYTES}


@pytest.mark.parametrize("device", DEVICES)
def test_a_rank_that_keeps_its_part_of_the_latent_alone(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    with_kept(monkeypatch, "mla", lambda kept, _x: {**kept, "c_kv": kept["c_kv"].chunk(2, dim=-1)[0]})
    assert failing("mla", "--device", device, "--tp", "2") == {"kept per token", *PROOF, *RANK_BYTES}


def test_a_rank_that_adds_its_part_twice(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    original = MultiHeadLatentAttention.attend
    monkeypatch.setattr(MultiHeadLatentAttention, "attend", lambda *args: 2 * original(*args))
    assert failing("mla", "--device", "meta", "--tp", "4") == {"sufficient"}
