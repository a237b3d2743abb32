"""verify --decode: real caches are filled and read back, and what comes out is attention, up to a format's rounding."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Kvcalc
from proven_once import proven_once
from torch import Tensor

from kvcalc.formats.element import FORMATS
from kvcalc.reference import cache as reference_cache
from kvcalc.reference.base import ReferenceAttention, Rows
from kvcalc.reference.mha_mqa_gqa import GroupedQueryAttention
from kvcalc.reference.mla import MultiHeadLatentAttention
from kvcalc.reference.packing import PACKED, codes, ggml, microscaling, packing, scaled
from kvcalc.reference.packing.plain import Plain
from kvcalc.verification import decoding, rank_report
from kvcalc.verification.decoding import TOLERANCE
from kvcalc.verification.devices import Cpu

MHA = "{count: 1, attention: {kind: mha, num_heads: 4, head_dim: 32}}"
MQA = "{count: 1, attention: {kind: mqa, num_heads: 4, head_dim: 128}}"
GQA = "{count: 2, attention: {kind: gqa, num_heads: 4, num_kv_heads: 2, head_dim: 64}}"
GQA_7 = "{count: 1, attention: {kind: gqa, num_heads: 4, num_kv_heads: 2, head_dim: 64}, window: 7}"
GQA_1 = "{count: 1, attention: {kind: gqa, num_heads: 4, num_kv_heads: 2, head_dim: 64}, window: 1}"
WIDE_VALUES = "{count: 1, attention: {kind: mha, num_heads: 4, head_dim: 32, v_head_dim: 64}, window: 400}"
_LATENT = "num_heads: 4, kv_lora_rank: 128, qk_rope_head_dim: 32, qk_nope_head_dim: 32, v_head_dim: 32"
MLA = f"{{count: 1, attention: {{kind: mla, {_LATENT}}}}}"
MLA_7 = f"{{count: 1, attention: {{kind: mla, {_LATENT}, q_lora_rank: 48}}, window: 7}}"
EXPANDED = f"{{count: 1, attention: {{kind: mla_expanded, {_LATENT}}}}}"
ALL = (MHA, MQA, GQA, GQA_7, GQA_1, WIDE_VALUES, MLA, MLA_7, EXPANDED)
NOTHING = ("{count: 1, attention: {kind: shared}}", "{count: 1, attention: {kind: none}}")


Answer = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True, scope="module")
def _each_layer_is_proven_once() -> Iterator[None]:
    """What is tested here comes after the proof in float64, which these layers need once, not for each format."""
    with proven_once():
        yield


@pytest.fixture
def decoded(kvcalc: Kvcalc, tmp_path: Path) -> Answer:
    """Verify a model of such layers on the CPU, decoding, and give the JSON, which the exit code agrees with."""

    def call(layers: tuple[str, ...], context: int, *words: str, dtype: str = "bf16") -> dict[str, Any]:
        file = tmp_path / "model.yaml"
        groups = "".join(f"  - {layer}\n" for layer in layers)
        file.write_text(f"name: model\nhidden_size: 64\ndtype: {dtype}\nlayers:\n{groups}", encoding="utf-8")
        run = kvcalc("verify", str(file), "-c", str(context), "--device", "cpu", "--decode", "--json", *words)
        printed: dict[str, Any] = json.loads(run.stdout)
        assert run.code == (0 if printed["verified"] else 1)
        return printed

    return call


def differences(printed: dict[str, Any]) -> dict[str, float]:
    """Of every kind of layer, from attention without a cache; everything must be in order."""
    assert [check for check in printed["checks"] if not check["ok"]] == []
    checks = [check for check in printed["checks"] if check["name"] == "decoded"]
    assert [check["relation"] for check in checks] == ["<="] * len(checks)
    finite = [check for check in printed["checks"] if check["name"] == "finite"]
    assert [check["subject"] for check in finite] == [check["subject"] for check in checks]
    return {check["subject"]: check["measured"] for check in checks}


FEW = ("bf16", "fp8", "int8", "nvfp4", "int4_per_token_head", "q4_0")
"""Of each kind of packing one, and those whose first rows fix a scale."""


def layers_for(cache_dtype: str) -> tuple[str, ...]:
    """Every mechanism, or of a kind of packing that is tried with all of them rows of one block, of two, and a latent.

    The latent's rotary key, 32 wide, is too narrow for larger blocks.
    """
    heads = (MHA, MQA, GQA, GQA_7, EXPANDED, *NOTHING) if cache_dtype in FEW else (MHA, GQA_7)
    return heads + ((MLA,) if FORMATS[cache_dtype].block_elems <= 32 else ())


@pytest.mark.parametrize(
    ("cache_dtype", "context"), [*((name, 60) for name in PACKED), *((name, few) for name in FEW for few in (2, 5))]
)
def test_what_is_decoded_is_attention_up_to_rounding(decoded: Answer, cache_dtype: str, context: int) -> None:
    """Twice what is seen would still pass, and a cache that is not read at all would not."""
    layers = layers_for(cache_dtype)
    found = differences(decoded(layers, context, "--cache-dtype", cache_dtype))
    assert len(found) == len([layer for layer in layers if layer not in NOTHING])
    allowed = max(TOLERANCE[cache_dtype], TOLERANCE["bf16"])
    assert {kind: difference for kind, difference in found.items() if not 0 < difference <= allowed / 2} == {}


@pytest.mark.parametrize(
    ("dtype", "context"), [("fp32", 1), ("fp32", 2), ("fp32", 5), ("fp32", 300), ("fp16", 1), ("fp16", 60)]
)
def test_a_finer_dtype_is_held_to_its_own_rounding(decoded: Answer, dtype: str, context: int) -> None:
    found = differences(decoded(ALL, context, dtype=dtype))
    assert max(found.values()) <= TOLERANCE[dtype] / 2


def test_formats_cost_what_they_promise(decoded: Answer) -> None:
    """Coarser formats differ more. In fp32 everything is rounded by the cache alone."""
    order = ("fp32", "fp16", "bf16", "q8_0", "fp8_per_token_head", "q5_0", "q4_0")
    layers = (MHA, GQA)
    found = [differences(decoded(layers, 100, "--cache-dtype", name, dtype="fp32")) for name in order]
    for kind in found[0]:
        costs = [each[kind] for each in found]
        assert costs == sorted(costs)
        assert len(set(costs)) == len(order)


def test_each_tensor_and_layer_may_have_a_format_of_its_own(decoded: Answer) -> None:
    own = "{count: 1, attention: {kind: mha, num_heads: 4, head_dim: 32}, cache_dtype: fp8_per_token_head}"
    printed = decoded((own, GQA), 40, "--cache-dtype", "k=q8_0,v=q4_0")
    allowed = {check["subject"]: check["predicted"] for check in printed["checks"] if check["name"] == "decoded"}
    assert differences(printed).keys() == allowed.keys()
    assert sorted(allowed.values()) == sorted([TOLERANCE["fp8_per_token_head"], TOLERANCE["q4_0"]])


def test_a_latent_in_fp8_with_a_rotary_key_in_bf16(decoded: Answer) -> None:
    assert all(
        0 < found < 0.075 for found in differences(decoded((MLA, MLA_7), 40, "--cache-dtype", "fp8_ds_mla")).values()
    )


@pytest.mark.parametrize("context", [6, 7, 8, 15])
def test_a_ring_turns(decoded: Answer, context: int) -> None:
    """A window of 7, before, at and after its end, and after two turns; several sequences together."""
    assert max(differences(decoded((GQA_7, MLA_7), context, "-b", "3", dtype="fp32")).values()) < 1e-5


def test_every_rank_decodes_its_part(decoded: Answer) -> None:
    printed = decoded((GQA, MLA, MLA_7, EXPANDED), 9, "--tp", "2", "--pp", "2")
    found = differences(printed)
    assert {subject.rpartition(", ")[2] for subject in found} == {f"rank {rank}" for rank in range(4)}
    assert max(found.values()) <= TOLERANCE["bf16"] / 2


def test_attention_in_several_chunks_is_the_same(decoded: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt of 296 tokens through a cache, a few at a time, and sequences one after another."""
    monkeypatch.setattr(decoding, "CHUNK_BYTES", 50_000)
    found = differences(decoded(ALL, 300, "-b", "3", dtype="fp32"))
    assert max(found.values()) <= TOLERANCE["fp32"] / 2


# What does not decode


def failed(printed: dict[str, Any]) -> set[str]:
    return {check["name"] for check in printed["checks"] if not check["ok"]}


def in_the_real_cache(tensor: Tensor) -> bool:
    """The proof before it is in float64: only what follows is broken here."""
    return tensor.dtype != torch.float64


def other_scale(patch: pytest.MonkeyPatch) -> None:
    for module in (GroupedQueryAttention, MultiHeadLatentAttention):
        original = module.attend

        def attend(
            self: Any, x_BTD: Tensor, start: int, rows: Rows, original: Callable[..., Tensor] = original
        ) -> Tensor:
            if in_the_real_cache(x_BTD):
                self.q_proj.weight.data.mul_(2)
            output: Tensor = original(self, x_BTD, start, rows)
            if in_the_real_cache(x_BTD):
                self.q_proj.weight.data.div_(2)
            return output

        patch.setattr(module, "attend", attend)


def garbage(patch: pytest.MonkeyPatch) -> None:
    original = Plain.unpack
    patch.setattr(Plain, "unpack", lambda self, *args: torch.randn_like(original(self, *args)))


def zeros(patch: pytest.MonkeyPatch) -> None:
    original = Plain.unpack
    patch.setattr(Plain, "unpack", lambda self, *args: torch.zeros_like(original(self, *args)))


def wrong_slot(patch: pytest.MonkeyPatch) -> None:
    original = reference_cache.LayerCache.store

    def store(self: reference_cache.LayerCache, kept: dict[str, Tensor], start: int) -> None:
        real = any(in_the_real_cache(rows) for rows in kept.values())
        original(self, kept, start + (start % 2 if real else 0))  # over the row of a neighbour

    patch.setattr(reference_cache.LayerCache, "store", store)


def stale_last_row(patch: pytest.MonkeyPatch) -> None:
    original = reference_cache.LayerCache.store

    def store(self: reference_cache.LayerCache, kept: dict[str, Tensor], start: int) -> None:
        one_token = next(iter(kept.values())).shape[1] == 1
        if not (one_token and any(in_the_real_cache(rows) for rows in kept.values())):
            original(self, kept, start)

    patch.setattr(reference_cache.LayerCache, "store", store)


def shifted_positions(patch: pytest.MonkeyPatch) -> None:
    for module in (GroupedQueryAttention, MultiHeadLatentAttention):
        original = module.keep

        def keep(
            self: Any, x_BTD: Tensor, start: int, original: Callable[..., dict[str, Tensor]] = original
        ) -> dict[str, Tensor]:
            return original(self, x_BTD, 0 if in_the_real_cache(x_BTD) else start)

        patch.setattr(module, "keep", keep)


@pytest.mark.parametrize("layer", [GQA, GQA_7, MLA], ids=["gqa", "window", "mla"])
def test_what_is_not_broken_decodes(decoded: Answer, layer: str) -> None:
    assert failed(decoded((layer,), 20)) == set()


@pytest.mark.parametrize("layer", [GQA, GQA_7, MLA], ids=["gqa", "window", "mla"])
@pytest.mark.parametrize("break_it", [other_scale, garbage, zeros, wrong_slot, stale_last_row, shifted_positions])
def test_what_is_broken_does_not_decode(
    decoded: Answer, monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None], layer: str
) -> None:
    break_it(monkeypatch)
    assert failed(decoded((layer,), 20)) == {"decoded"}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("read", [torch.zeros_like, torch.randn_like], ids=["zeros", "garbage"])
def test_no_tolerance_passes_a_cache_that_is_not_read(
    decoded: Answer, monkeypatch: pytest.MonkeyPatch, name: str, read: Callable[[Tensor], Tensor]
) -> None:
    kind = type(packing(name))
    original = kind.unpack
    monkeypatch.setattr(kind, "unpack", lambda self, *args: read(original(self, *args)))
    assert failed(decoded((GQA,), 20, "--cache-dtype", name)) == {"decoded"}


def test_every_format_has_a_tolerance() -> None:
    assert set(TOLERANCE) == set(PACKED) == set(FORMATS)
    assert all(0 < tolerance < 1 for tolerance in TOLERANCE.values())


SPLITS = {
    "q5_1": (ggml, "split_halves"),
    "q5_0": (ggml, "split_halves"),
    "q4_1": (ggml, "split_halves"),
    "q4_0": (ggml, "split_halves"),
    "iq4_nl": (ggml, "split_halves"),
    "int4_per_token_head": (scaled, "split_pairs"),
    "nvfp4": (microscaling, "split_pairs"),
    "mxfp4": (microscaling, "split_pairs"),
}


@pytest.mark.parametrize("name", SPLITS)
def test_bits_that_are_mixed_up_do_not_decode(decoded: Answer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    module, split = SPLITS[name]
    original = getattr(codes, split)
    assert failed(decoded((MHA,), 20, "--cache-dtype", name)) == set()
    monkeypatch.setattr(module, split, lambda joined: original((joined << 4) | (joined >> 4)))
    assert failed(decoded((MHA,), 20, "--cache-dtype", name)) == {"decoded"}


def test_what_is_not_a_number_is_told(decoded: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    original = GroupedQueryAttention.attend

    def attend(self: Any, x_BTD: Tensor, *args: Any) -> Tensor:
        return original(self, x_BTD, *args) * (torch.nan if in_the_real_cache(x_BTD) else 1)

    monkeypatch.setattr(GroupedQueryAttention, "attend", attend)
    printed = decoded((GQA,), 20)
    assert failed(printed) == {"finite", "decoded"}
    assert [check["measured"] for check in printed["checks"] if check["name"] == "decoded"] == [None]


def test_every_layer_and_sequence_is_decoded(decoded: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sequence that is compared is the first of the first layer: the others are at least numbers."""
    original = GroupedQueryAttention.attend
    fives: list[int] = []

    def attend(self: ReferenceAttention, x_BTD: Tensor, start: int, rows: Rows) -> Tensor:
        output = original(self, x_BTD, start, rows)  # type: ignore[arg-type]  # it is one
        if x_BTD.shape[0] == 5:
            fives.append(start)
            if len(fives) == 8:  # the last token of the second layer
                output = output.clone()
                output[4, 0, 0] = torch.inf
        return output

    monkeypatch.setattr(GroupedQueryAttention, "attend", attend)
    assert failed(decoded((GQA,), 20, "-b", "5")) == {"finite"}
    assert fives == [16, 17, 18, 19] * 2


# What keeps it from decoding


def why_not(printed: dict[str, Any]) -> str:
    [rung] = [rung for rung in printed["rungs"] if rung["name"] == "decoded"]
    assert not rung["ran"]
    assert failed(printed) == set()
    assert not {check["name"] for check in printed["checks"]} & {"finite", "decoded"}
    return str(rung["about"])


def test_without_room_for_weights_the_rest_is_verified(decoded: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_report, "headroom_needed", lambda *_args: 10**15)
    assert "1,000,000,000,000,000" in why_not(decoded((MHA,), 20))


def test_room_is_counted_beside_the_caches(decoded: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache and its surroundings fit; 16 chunks of 64 MiB do not."""
    monkeypatch.setattr(Cpu, "free_bytes", lambda _self: 512 * 2**20)
    assert "536,870,912 bytes are free" in why_not(decoded((MHA,), 20))


def test_memory_that_runs_out_while_decoding_leaves_the_rest(decoded: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    def attend(*_args: Any) -> Tensor:
        raise torch.OutOfMemoryError("out of memory\nand more")

    monkeypatch.setattr(decoding, "_compare", attend)
    assert "out of memory" in why_not(decoded((MHA,), 20))


def test_layers_that_keep_nothing_have_nothing_to_decode(decoded: Answer) -> None:
    assert why_not(decoded(NOTHING, 20))
