"""One mistake at a time in a formula: verify must say no, and which claim fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Kvcalc
from mutants import BYTES, DEVICES, MODELS, RANK_BYTES, Mutation, Verify, failed_claims

from kvcalc.engines import RankLoad, content, content_counter, exact, rows_kept, settled
from kvcalc.formats.element import ElementFormat
from kvcalc.mechanisms import GQA, MLA, CachedTensor, MLAExpanded, mha_mqa_gqa
from kvcalc.mechanisms.mha_mqa_gqa import keys_and_values
from kvcalc.term import Factor
from kvcalc.verification import verdict


@pytest.fixture
def failing(kvcalc: Kvcalc, tmp_path: Path) -> Verify:
    return partial(failed_claims, kvcalc, tmp_path)


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
