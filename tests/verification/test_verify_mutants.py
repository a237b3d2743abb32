"""One mistake at a time, in a formula or in what builds the cache: verify must say no, and which claim fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Kvcalc
from torch import Tensor

from kvcalc.engines import RankLoad, content, content_counter, exact, rows_kept, settled
from kvcalc.formats.element import ElementFormat
from kvcalc.mechanisms import GQA, MLA, CachedTensor, MLAExpanded, mha_mqa_gqa
from kvcalc.mechanisms.mha_mqa_gqa import keys_and_values
from kvcalc.model.span import Span, Window
from kvcalc.reference import cache as reference_cache
from kvcalc.reference import functional, packing
from kvcalc.reference import mha_mqa_gqa as heads
from kvcalc.reference import mla as reference_mla
from kvcalc.reference.base import ReferenceAttention, Rows, kv_heads_of
from kvcalc.reference.mha_mqa_gqa import GroupedQueryAttention, MultiHeadAttention, MultiQueryAttention
from kvcalc.reference.mla import MultiHeadLatentAttention
from kvcalc.reference.mla_expanded import ExpandedLatentAttention
from kvcalc.reference.packing.scaled import ByteBlocks
from kvcalc.term import Factor
from kvcalc.verification import allocation, proof, rank_report, shapes, verdict
from kvcalc.verification.allocation import Allocation
from kvcalc.verification.scope import Scope

MLA_DIMS = "num_heads: 4, kv_lora_rank: 64, qk_rope_head_dim: 32, qk_nope_head_dim: 32, v_head_dim: 32, q_lora_rank: 48"
MODELS = {
    "mha": "{count: 3, attention: {kind: mha, num_heads: 4, head_dim: 32}}",
    "mqa": "{count: 3, attention: {kind: mqa, num_heads: 4, head_dim: 32}}",
    "gqa": "{count: 3, attention: {kind: gqa, num_heads: 8, num_kv_heads: 2, head_dim: 32}}",
    "gqa-window": "{count: 3, attention: {kind: gqa, num_heads: 8, num_kv_heads: 2, head_dim: 32}, window: 16}",
    "mla": f"{{count: 3, attention: {{kind: mla, {MLA_DIMS}}}}}",
    "mla_expanded": f"{{count: 3, attention: {{kind: mla_expanded, {MLA_DIMS}}}}}",
}
MODULES: dict[str, tuple[type[ReferenceAttention], tuple[str, ...]]] = {
    "mha": (MultiHeadAttention, ("k", "v")),
    "mqa": (MultiQueryAttention, ("k", "v")),
    "gqa": (GroupedQueryAttention, ("k", "v")),
    "gqa-window": (GroupedQueryAttention, ("k", "v")),
    "mla": (MultiHeadLatentAttention, ("c_kv", "k_rope")),
    "mla_expanded": (ExpandedLatentAttention, ("k", "v")),
}
DEVICES = ("meta", "cpu")

BYTES = {"bytes of layers", "cache bytes"}
RANK_BYTES = {"bytes of layers", "bytes of rank", "cache bytes"}
PROOF = {"sufficient", "needed"}

Mutation = Callable[[pytest.MonkeyPatch], None]
Verify = Callable[..., set[str]]


@pytest.fixture
def failing(kvcalc: Kvcalc, tmp_path: Path) -> Verify:
    """Verify two sequences of 40 tokens and give the names of the claims that fail, as the exit code has it."""

    def call(model: str, *words: str) -> set[str]:
        file = tmp_path / f"{model}.yaml"
        file.write_text(f"name: small\nhidden_size: 24\ndtype: bf16\nlayers:\n  - {MODELS[model]}\n", encoding="utf-8")
        run = kvcalc("verify", str(file), "-b", "2", "-c", "40", "--json", *words)
        checks = json.loads(run.stdout)["checks"]
        failed = {check["name"] for check in checks if not check["ok"]}
        assert run.code == (1 if failed else 0), run.stderr
        assert ("not verified" in run.stderr) == bool(failed)
        assert json.loads(run.stdout)["verified"] is not bool(failed)
        return failed

    return call


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("model", MODELS)
def test_without_a_mistake_nothing_fails(failing: Verify, model: str, device: str) -> None:
    assert failing(model, "--device", device) == set()


@pytest.mark.parametrize("words", [("--tp", "2"), ("--pp", "3"), ("--tp", "4", "--pp", "2")], ids=" ".join)
@pytest.mark.parametrize("model", MODELS)
def test_without_a_mistake_nothing_fails_on_ranks(failing: Verify, model: str, words: tuple[str, ...]) -> None:
    assert failing(model, "--device", "meta", *words) == set()


# Mistakes of the formulas


def latent_without_rotary_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MLA, "cached", lambda self: (CachedTensor("c_kv", (Factor("kv_lora_rank", self.kv_lora_rank),)),))


def keys_without_values(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(mha_mqa_gqa, "keys_and_values", lambda *dims, **same: keys_and_values(*dims, **same)[:1])


def query_heads_for_kv_heads(patch: pytest.MonkeyPatch) -> None:
    def cached(self: GQA) -> tuple[CachedTensor, ...]:
        heads = Factor("num_heads", self.num_heads, "head")
        return keys_and_values(heads, self.head_dim, self.v_head_dim, k_equals_v=False)

    patch.setattr(GQA, "cached", cached)


def latent_for_expanded_heads(patch: pytest.MonkeyPatch) -> None:
    def cached(self: MLAExpanded) -> tuple[CachedTensor, ...]:
        return (CachedTensor("k", (Factor("kv_lora_rank", self.kv_lora_rank + self.qk_rope_head_dim),)),)

    patch.setattr(MLAExpanded, "cached", cached)


def no_factor_2(patch: pytest.MonkeyPatch) -> None:
    original = content.contents

    def contents(load: RankLoad) -> Iterator[content.Content]:
        yield from (each._replace(tensors=each.tensors[:1]) for each in original(load))

    for module in (content, settled, exact):
        patch.setattr(module, "contents", contents)


def positions_changed_by(difference: int) -> Mutation:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        original = rows_kept.positions_kept

        def positions(*args: Any) -> Factor:
            right = original(*args)
            return right._replace(value=right.value + difference)

        patch.setattr(rows_kept, "positions_kept", positions)

    return mutate


def windows_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        rows_kept, "positions_kept", lambda _layer, _tensor, _load, context: Factor("context", context, "token")
    )


def bytes_changed(name: str, block_bytes: int) -> Mutation:
    """A format that is counted with other bytes than its tensors take."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        original = ElementFormat.row

        def row(self: ElementFormat, *args: Any) -> tuple[Factor, ...]:
            return original(self._replace(block_bytes=block_bytes) if self.name == name else self, *args)

        patch.setattr(ElementFormat, "row", row)

    return mutate


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("model", "words", "mutate", "failed"),
    [
        ("mla", (), latent_without_rotary_key, {"kept per token", *BYTES}),
        ("mha", (), keys_without_values, {"kept per token", *BYTES}),
        ("mqa", (), keys_without_values, {"kept per token", *BYTES}),
        ("gqa", (), keys_without_values, {"kept per token", *BYTES}),
        ("gqa", (), query_heads_for_kv_heads, {"kept per token", *BYTES}),
        ("mla_expanded", (), latent_for_expanded_heads, {"kept per token", *BYTES}),
        ("mha", (), no_factor_2, BYTES),
        ("mqa", (), no_factor_2, BYTES),
        ("gqa", (), no_factor_2, BYTES),
        ("gqa", (), positions_changed_by(1), BYTES),
        ("mla", (), positions_changed_by(-1), BYTES),
        ("gqa-window", (), positions_changed_by(1), BYTES),
        ("gqa-window", (), positions_changed_by(-1), BYTES),
        ("gqa-window", (), windows_ignored, BYTES),
        ("gqa", (), bytes_changed("bf16", 4), {"default format", *BYTES}),
        ("gqa", ("--cache-dtype", "fp8"), bytes_changed("fp8", 2), BYTES),
        ("gqa", ("--cache-dtype", "q8_0"), bytes_changed("q8_0", 32), BYTES),
        ("gqa", ("--cache-dtype", "q4_0"), bytes_changed("q4_0", 16), BYTES),
    ],
    ids=[
        "mla without its rotary key",
        "mha without values",
        "mqa without values",
        "gqa without values",
        "gqa with query heads",
        "mla_expanded with the latent",
        "mha without the factor 2",
        "mqa without the factor 2",
        "gqa without the factor 2",
        "a token more",
        "a token less",
        "a window longer by one",
        "a window shorter by one",
        "no window",
        "bf16 in 4 bytes",
        "fp8 in 2 bytes",
        "q8_0 without scales",
        "q4_0 without scales",
    ],
)
def test_a_mistake_of_a_formula(
    failing: Verify,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    words: tuple[str, ...],
    mutate: Mutation,
    failed: set[str],
    device: str,
) -> None:
    mutate(monkeypatch)
    assert failing(model, "--device", device, *words) == failed


@pytest.mark.parametrize(
    ("model", "words", "failed"),
    [
        ("llama-3-70b", ("-b", "32", "-c", "8192"), set()),
        ("deepseek-v3", ("-c", "8192", "--tp", "8"), {"kept per token", *RANK_BYTES}),
    ],
)
def test_a_published_model_fails_where_its_mechanism_is_mistaken(
    kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch, model: str, words: tuple[str, ...], failed: set[str]
) -> None:
    latent_without_rotary_key(monkeypatch)
    run = kvcalc("verify", model, "--device", "meta", "--json", *words)
    assert {check["name"] for check in json.loads(run.stdout)["checks"] if not check["ok"]} == failed
    assert run.code == bool(failed)


# Mistakes of the formulas on ranks


def heads_on_rank_as(function: Callable[[int, int], int]) -> Mutation:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(content, "heads_on_rank", function)
        patch.setattr(verdict, "heads_on_rank", function)

    return mutate


def latent_divided(patch: pytest.MonkeyPatch) -> None:
    original = content.row_of

    def row(tensor: CachedTensor, element_format: ElementFormat, tp: int) -> tuple[Factor, ...]:
        (width,) = tensor.dims
        return original(tensor._replace(dims=(width._replace(value=width.value // tp),)), element_format, tp)

    for module in (content, content_counter):
        patch.setattr(module, "row_of", row)


@pytest.mark.parametrize(
    ("model", "tp", "mutate", "failed"),
    [
        ("gqa", "2", heads_on_rank_as(lambda heads, _tp: heads), {"kept per token", *RANK_BYTES}),
        ("gqa", "8", heads_on_rank_as(lambda heads, tp: heads // tp), {"kept per token", *RANK_BYTES}),
        ("gqa", "8", heads_on_rank_as(lambda heads, _tp: heads), {"kept per token", *RANK_BYTES}),
        ("mha", "4", heads_on_rank_as(lambda heads, _tp: heads // 2), {"kept per token", *RANK_BYTES}),
        ("mla", "2", latent_divided, RANK_BYTES),
        ("mqa", "4", latent_divided, RANK_BYTES),
    ],
    ids=[
        "heads not divided",
        "heads not copied",
        "all heads copied",
        "heads divided by another number",
        "the latent divided",
        "the one head divided",
    ],
)
def test_a_mistake_of_a_formula_on_ranks(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str, tp: str, mutate: Mutation, failed: set[str]
) -> None:
    assert failing(model, "--device", "meta", "--tp", tp) == set()
    mutate(monkeypatch)
    assert failing(model, "--device", "meta", "--tp", tp) == failed


# Mistakes of the modules that keep the cache


def with_kept(
    patch: pytest.MonkeyPatch, model: str, change: Callable[[dict[str, Tensor], Tensor], dict[str, Tensor]]
) -> None:
    """Let the module of a mechanism keep something else; `change` gets what is right, and the tokens."""
    module, _ = MODULES[model]
    original = module.keep

    def keep(self: ReferenceAttention, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        return change(original(self, x_BTD, start), x_BTD)

    patch.setattr(module, "keep", keep)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("model", "name"), [(model, name) for model in MODELS for name in MODULES[model][1]])
def test_a_module_that_forgets_a_tensor(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str, name: str, device: str
) -> None:
    with_kept(monkeypatch, model, lambda kept, _x: {key: rows for key, rows in kept.items() if key != name})
    assert failing(model, "--device", device) == {"kept per token", *PROOF, *BYTES}


@pytest.mark.parametrize(("model", "name"), [(model, name) for model in MODELS for name in MODULES[model][1]])
def test_a_module_that_keeps_zeros(failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str, name: str) -> None:
    with_kept(monkeypatch, model, lambda kept, _x: {**kept, name: torch.zeros_like(kept[name])})
    assert failing(model, "--device", "meta") == PROOF


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("model", MODELS)
def test_a_module_that_keeps_what_nobody_needs(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str, device: str
) -> None:
    with_kept(monkeypatch, model, lambda kept, x_BTD: {**kept, "spare": x_BTD})
    assert failing(model, "--device", device) == {"kept per token", "needed", *BYTES}


@pytest.mark.parametrize("model", MODELS)
def test_a_module_that_keeps_more_elements_than_it_needs(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    name = MODULES[model][1][0]
    with_kept(monkeypatch, model, lambda kept, _x: {**kept, name: torch.cat((kept[name], kept[name]), dim=-1)})
    assert {"kept per token", "sufficient", *BYTES} <= failing(model, "--device", "meta")


@pytest.mark.parametrize("model", MODELS)
def test_a_module_that_keeps_half_of_a_tensor(failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    name = MODULES[model][1][0]
    with_kept(monkeypatch, model, lambda kept, _x: {**kept, name: kept[name].chunk(2, dim=-1)[0]})
    assert failing(model, "--device", "meta") == {"kept per token", *PROOF, *BYTES}


@pytest.mark.parametrize("model", MODELS)
def test_a_module_that_turns_keys_as_if_every_call_began_the_sequence(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    module, _ = MODULES[model]
    original = module.keep
    monkeypatch.setattr(module, "keep", lambda self, x_BTD, _start: original(self, x_BTD, 0))
    assert failing(model, "--device", "meta") == {"sufficient"}


@pytest.mark.parametrize("model", MODELS)
def test_a_module_that_keeps_keys_without_their_position(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    module, names = MODULES[model]
    original = module.keep

    def keep(self: ReferenceAttention, x_BTD: Tensor, _start: int) -> dict[str, Tensor]:
        singly = [original(self, x_BTD[:, token : token + 1], 0) for token in range(x_BTD.shape[1])]
        return {name: torch.cat([kept[name] for kept in singly], dim=1) for name in names}

    monkeypatch.setattr(module, "keep", keep)
    assert failing(model, "--device", "meta") == {"sufficient"}


# Mistakes of attention over the cache


def attention_without(row: str) -> Mutation:
    """Attention over the cache that leaves out the oldest row that it should read."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        original = functional.visible

        def visible(queries_T: Tensor, rows_S: Tensor, span: Span | None) -> Tensor:
            if row == "the last of the window":
                return original(queries_T, rows_S, None if span is None else Window(span.tokens - 1))
            return original(queries_T, rows_S, span) & ((rows_S > 0) | (queries_T.unsqueeze(1) == 0))

        patch.setattr(heads, "visible", visible)
        patch.setattr(reference_mla, "visible", visible)

    return mutate


@pytest.mark.parametrize(
    ("model", "row", "failed"),
    [
        ("gqa", "the first token", PROOF),
        ("mla", "the first token", PROOF),
        ("mla_expanded", "the first token", PROOF),
        ("gqa-window", "the last of the window", PROOF),
        ("gqa", "the last of the window", set()),
    ],
)
def test_attention_that_leaves_out_the_oldest_row(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str, row: str, failed: set[str]
) -> None:
    attention_without(row)(monkeypatch)
    assert failing(model, "--device", "meta") == failed


def test_a_query_that_sees_the_next_token(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    original = functional.visible
    monkeypatch.setattr(heads, "visible", lambda queries_T, rows_S, window: original(queries_T + 1, rows_S, window))
    assert failing("gqa", "--device", "meta") == {"sufficient"}


# Mistakes of the cache itself


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
