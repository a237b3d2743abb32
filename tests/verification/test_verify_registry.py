"""Every kind of attention has a reference module and a sample, and a mistake in any tensor of it is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from samples import SAMPLES, TENSORS, model_of, named
from torch import Tensor

import kvcalc
from kvcalc.mechanisms import KINDS, Attention, CachedTensor
from kvcalc.reference import (
    POOLED,
    REFERENCES,
    KeepsNothing,
    ReferenceAttention,
    ReferenceLayer,
    ReferenceParts,
    ReferenceState,
    reference_of,
)
from kvcalc.reference.packing import PACKED
from kvcalc.verification.decoding import TOLERANCE


def failing(attention: Attention) -> set[str]:
    """The claims that fail of two layers of it."""
    result = kvcalc.verify(model_of(attention, count=2), batch=2, context=40, device="meta")
    failed = {check.name for check in result.checks if not check.ok}
    assert result.verified is not bool(failed)
    return failed


def test_every_kind_has_a_sample() -> None:
    assert {type(sample) for sample in SAMPLES} == set(KINDS.values())


def test_every_kind_has_a_reference_module_of_its_own() -> None:
    assert set(REFERENCES) == set(KINDS.values())
    modules = [module for module in REFERENCES.values() if module is not KeepsNothing]
    assert len(modules) == len(set(modules))
    assert {sample.kind for sample in SAMPLES if reference_of(sample) is KeepsNothing} == {"shared", "none"}


def test_every_kind_whose_indexer_may_pool_has_another() -> None:
    assert set(POOLED) == {kind for kind in KINDS.values() if "index_kpool" in kind.field_parts}
    assert set(POOLED.values()) <= {reference_of(sample) for sample in SAMPLES}


MODULES = (*REFERENCES.values(), *POOLED.values())


@pytest.mark.parametrize("module", dict.fromkeys(MODULES), ids=lambda module: module.__name__)
def test_samples_keep_all_that_their_module_can(module: type[ReferenceLayer]) -> None:
    """What it declares how to store is what samples of it keep."""
    kept = {tensor.name for sample in SAMPLES if reference_of(sample) is module for tensor in sample.cached()}
    assert kept == set(module.stored_as)


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_a_sample_is_verified(sample: Attention) -> None:
    result = kvcalc.verify(model_of(sample, count=2), batch=2, context=40, device="cpu", decode=True)
    assert [check for check in result.checks if not check.ok] == []
    assert result.verified
    assert any(check.name == "decoded" for check in result.checks) == bool(sample.cached())


@pytest.mark.parametrize(("sample", "name"), TENSORS, ids=named)
def test_a_formula_without_a_tensor_is_found(monkeypatch: pytest.MonkeyPatch, sample: Attention, name: str) -> None:
    kind: Any = type(sample)
    original = kind.cached

    def cached(self: Any) -> tuple[CachedTensor, ...]:
        return tuple(tensor for tensor in original(self) if tensor.name != name)

    monkeypatch.setattr(kind, "cached", cached)
    assert failing(sample) == {f"kept per {sample.kept_per}", "bytes of layers", "cache bytes"}


@pytest.mark.parametrize(("sample", "name"), TENSORS, ids=named)
def test_a_formula_with_a_tensor_twice_as_wide_is_found(
    monkeypatch: pytest.MonkeyPatch, sample: Attention, name: str
) -> None:
    kind: Any = type(sample)
    original = kind.cached

    def cached(self: Any) -> tuple[CachedTensor, ...]:
        twice = kvcalc.term.Factor("twice", 2)
        return tuple(each._replace(dims=(*each.dims, twice)) if each.name == name else each for each in original(self))

    monkeypatch.setattr(kind, "cached", cached)
    assert failing(sample) == {f"kept per {sample.kept_per}", "bytes of layers", "cache bytes"}


@pytest.mark.parametrize(("sample", "name"), TENSORS, ids=named)
def test_a_module_that_keeps_zeros_is_found(monkeypatch: pytest.MonkeyPatch, sample: Attention, name: str) -> None:
    """Of each token, or of the encoder's tokens, or after each step: nothing of it is there for the next."""
    module: Any = reference_of(sample)

    def zeroed(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {**kept, **({name: torch.zeros_like(kept[name])} if name in kept else {})}

    if issubclass(module, ReferenceAttention | ReferenceParts):
        keep = module.keep
        monkeypatch.setattr(module, "keep", lambda *args: zeroed(keep(*args)))
        if issubclass(module, ReferenceParts):
            pool = module.pool
            monkeypatch.setattr(module, "pool", lambda *args: zeroed(pool(*args)))
    else:
        assert issubclass(module, ReferenceState)
        begin, advance = module.begin, module.advance

        def advanced(*args: Any) -> tuple[Tensor, dict[str, Tensor]]:
            output, kept = advance(*args)
            return output, zeroed(kept)

        monkeypatch.setattr(module, "begin", lambda *args: zeroed(begin(*args)))
        monkeypatch.setattr(module, "advance", advanced)
    assert failing(sample) == {"sufficient", "needed"}


def test_every_format_has_a_tolerance() -> None:
    assert set(TOLERANCE) == set(PACKED)
