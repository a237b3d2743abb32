"""Each fast path against the textbook module, in float64: the same rows, another way to attend to them."""

from __future__ import annotations

import shutil
from dataclasses import replace as with_other
from math import prod

import pytest

torch = pytest.importorskip("torch", reason="measures with torch")

from kvcalc.mechanisms import GQA, MHA, MLA, MQA  # noqa: E402  # needs torch
from kvcalc.speed.layer import error_of, is_right  # noqa: E402  # needs torch
from kvcalc.speed.mechanism import Measured, why_not_measured  # noqa: E402  # needs torch
from kvcalc.speed.paths import PATHS, Facts, Kept, Path, paths_of  # noqa: E402  # needs torch
from kvcalc.speed.prefill import PREFILL_PATHS, prefill_error  # noqa: E402  # needs torch
from kvcalc.speed.storage import Storage, empty_cache, fill, stored_bytes  # noqa: E402  # needs torch

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
SMALL: dict[str, Measured] = {
    "mha": MHA(num_heads=4, head_dim=16),
    "mha with narrow values": MHA(num_heads=4, head_dim=16, v_head_dim=8),
    "mha whose keys are its values": MHA(num_heads=4, head_dim=16, k_equals_v=True),
    "gqa": GQA(num_heads=8, num_kv_heads=2, head_dim=16),
    "gqa with wide values": GQA(num_heads=8, num_kv_heads=2, head_dim=16, v_head_dim=24),
    "mqa": MQA(num_heads=4, head_dim=16),
    "mla": MLA(num_heads=4, kv_lora_rank=32, qk_rope_head_dim=8, qk_nope_head_dim=16, v_head_dim=16),
    "mla without a rotary key": MLA(
        num_heads=4, kv_lora_rank=32, qk_rope_head_dim=0, qk_nope_head_dim=16, v_head_dim=12, q_lora_rank=20
    ),
}


def facts(mechanism: Measured, *, device: str = "cpu", compiling: bool = False, positions: int = 64) -> Facts:
    return Facts(device, torch.float32, mechanism, positions, compiling)


@pytest.mark.parametrize("name", SMALL)
def test_each_path_that_is_at_hand_agrees_with_the_textbook_in_float64(name: str) -> None:
    mechanism, proven = SMALL[name], 0
    with torch.no_grad():
        for path in paths_of(mechanism):
            if path.why_not(facts(mechanism)) is None:
                error = error_of(path, mechanism, CPU, torch.float32)
                assert is_right(error, path, torch.float32), (path.name, error)
                assert error < 1e-12, path.name
                proven += 1
    assert proven >= 3


@pytest.mark.parametrize("name", SMALL)
def test_each_way_of_prefill_agrees_with_the_textbook_in_float64(name: str) -> None:
    with torch.no_grad():
        for path in PREFILL_PATHS:
            assert prefill_error(path, SMALL[name], CPU) < 1e-12, path.name


@pytest.mark.parametrize("name", ["mha", "mla"])
def test_bf16_is_off_by_rounding_alone(name: str) -> None:
    with torch.no_grad():
        for path in paths_of(SMALL[name]):
            if path.why_not(facts(SMALL[name])) is None:
                in_bf16 = path._replace(in_float64=False)
                assert 1e-6 < error_of(in_bf16, SMALL[name], CPU, torch.bfloat16) < 5e-2, path.name


def _mutant(path: Path, change: str) -> Path:
    def prepare(kept: Kept) -> object:
        rows = {each: rows.clone() for each, rows in kept.rows.items()}
        if change == "one row less":
            rows = {each: rows[:, :-1] for each, rows in rows.items()}
        scale = kept.scale * 1.5 if change == "another scale" else kept.scale
        return path.prepare(kept._replace(rows=rows, scale=scale))

    return path._replace(prepare=prepare)  # type: ignore[arg-type]  # a stand-in


@pytest.mark.parametrize("change", ["another scale", "one row less"])
@pytest.mark.parametrize("name", ["gqa", "mla"])
def test_a_path_that_is_wrong_is_seen(name: str, change: str) -> None:
    mechanism = SMALL[name]
    path = next(each for each in paths_of(mechanism) if each.why_not(facts(mechanism)) is None)
    with torch.no_grad():
        assert is_right(error_of(path, mechanism, CPU, torch.float32), path, torch.float32)
        wrong = _mutant(path, change)
        assert not is_right(error_of(wrong, mechanism, CPU, torch.float32), wrong, torch.float32)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("storage", Storage)
def test_every_order_of_memory_takes_what_the_formula_counts(name: str, storage: Storage) -> None:
    mechanism = SMALL[name]
    if ("LATENTS" in storage.name) != isinstance(mechanism, MLA):
        return
    cache = empty_cache(storage, mechanism, 3, 10, device=CPU, dtype=torch.float32)
    fill(cache, torch.Generator().manual_seed(0))
    row = sum(each.num_heads * prod(dim.value for dim in each.dims) for each in mechanism.cached())
    assert stored_bytes(cache) == 4 * 3 * 10 * row
    assert all(rows.shape[:2] == (3, 10) for rows in cache.values())
    assert all(0.5 < float(rows.std()) < 2 for rows in cache.values())


def test_paths_say_why_they_are_not_here() -> None:
    latent = MLA(num_heads=4, kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=16, v_head_dim=16)
    told = {
        path.name: path.why_not(Facts("cuda", torch.bfloat16, latent, 64, compiling=False)) for path in paths_of(latent)
    }
    assert told["FlashMLA"] == "flash_mla is not installed"
    assert told["FlashInfer MLA"] == "flashinfer is not installed"
    assert "--compile" in str(told["absorbed, flex_attention"])
    assert told["naive"] is None
    small = {path.name: path.why_not(facts(SMALL["mla"], device="cuda")) for path in paths_of(SMALL["mla"])}
    assert small["FlashMLA"] == "is for latents of 512 and rotary keys of 64"


def test_names_of_paths_are_unique_and_each_mechanism_has_several() -> None:
    assert len({path.name for path in PATHS}) == len(PATHS)
    assert all(len(paths_of(mechanism)) >= 4 for mechanism in SMALL.values())


def test_an_indexer_has_no_path() -> None:
    latent = SMALL["mla"]
    assert isinstance(latent, MLA)
    sparse = with_other(latent, index_head_dim=8, index_topk=4)
    assert "indexer" in str(why_not_measured(sparse))
    assert why_not_measured(SMALL["mla"]) is None


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    flex = next(path for path in PATHS if path.name == "flex_attention")
    assert "C++ compiler" in str(flex.why_not(facts(SMALL["mha"], compiling=True)))
