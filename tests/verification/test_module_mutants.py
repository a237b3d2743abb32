"""One mistake at a time in what keeps the cache or attends over it: verify must say no, and which claim fails."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import Kvcalc
from mutants import BYTES, DEVICES, MODELS, MODULES, PROOF, Mutation, Verify, failed_claims, with_kept
from torch import Tensor

from kvcalc.model.span import Span, Window
from kvcalc.reference import functional
from kvcalc.reference import mha_mqa_gqa as heads
from kvcalc.reference import mla as reference_mla
from kvcalc.reference.base import ReferenceAttention


@pytest.fixture
def failing(kvcalc: Kvcalc, tmp_path: Path) -> Verify:
    return partial(failed_claims, kvcalc, tmp_path)


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
