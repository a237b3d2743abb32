"""Formats that nobody asked for: the formula's are those that published code stores, and another one is found."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
from conftest import texts
from samples import SAMPLES, TENSORS, model_of, named

import kvcalc
from kvcalc.engines import cache_format
from kvcalc.formats import by_name
from kvcalc.formats import element as formats
from kvcalc.mechanisms import GQA, KDA, MLA, Attention, CachedTensor, Mamba2, Role
from kvcalc.model.layers import LayerGroup
from kvcalc.reference import POOLED, REFERENCES
from kvcalc.verification import default_formats
from kvcalc.verification.result import Check, Verification

DEEPSEEK = MLA(
    num_heads=2,
    kv_lora_rank=512,
    qk_rope_head_dim=64,
    qk_nope_head_dim=8,
    v_head_dim=8,
    index_head_dim=128,
    index_n_heads=2,
    index_topk=8,
)
KINDS: dict[str, Attention] = {sample.kind: sample for sample in SAMPLES}

Mutation = Callable[[pytest.MonkeyPatch], None]


def verified(attention: Attention, **asked: Any) -> Verification:
    return kvcalc.verify(model_of(attention, dtype=asked.pop("dtype", "bf16")), context=40, device="meta", **asked)


def default_checks(result: Verification) -> list[Check]:
    return [check for check in result.checks if check.name == "default format"]


def failing(attention: Attention, **asked: Any) -> set[str]:
    result = verified(attention, **asked)
    failed = {check.name for check in result.checks if not check.ok}
    assert result.verified is not bool(failed)
    return failed


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample.cached()], ids=named)
def test_each_tensor_is_checked_once(sample: Attention, dtype: str) -> None:
    result = verified(sample, dtype=dtype)
    assert result.verified
    names = [name for check in default_checks(result) for name in check.subject.split(" in ")[0].split(", ")]
    assert sorted(names) == sorted(tensor.name for tensor in sample.cached())
    assert all(check.measured == check.predicted for check in default_checks(result))
    assert not any("can be kept in" in claim for claim in texts(result.not_proven))


def test_bytes_of_deepseeks_rows() -> None:
    found = {check.subject: check.measured for check in default_checks(verified(DEEPSEEK))}
    assert found == {"c_kv, k_rope in bf16": 576 * 2, "index_k in fp8_block128": 128 + 4}
    found = {check.subject: check.measured for check in default_checks(verified(DEEPSEEK, cache_dtype="fp8_ds_mla"))}
    assert found == {"c_kv in fp8_block128": 512 + 4 * 4, "k_rope in bf16": 64 * 2, "index_k in fp8_block128": 128 + 4}


# A wrong default


def format_of(role: Role, name: str, tensor_name: str = "") -> Mutation:
    """Tensors of a role are counted, and so stored, in another format."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        original = cache_format.CacheFormat.of

        def of(self: Any, layer: Any, tensor: CachedTensor) -> formats.ElementFormat:
            wrong = tensor.role is role and tensor_name in {"", tensor.name}
            return formats.FORMATS[name] if wrong else original(self, layer, tensor)

        patch.setattr(cache_format.CacheFormat, "of", of)

    return mutate


@pytest.mark.parametrize(
    ("kind", "mutate"),
    [
        ("mla", format_of(Role.INDEX, "fp8")),
        ("mla", format_of(Role.INDEX, "bf16")),
        ("mla", format_of(Role.INDEX, "mxfp8")),
        ("mamba1", format_of(Role.STATE, "bf16")),
        ("mamba2", format_of(Role.STATE, "bf16")),
        ("gated_deltanet", format_of(Role.STATE, "bf16")),
        ("kda", format_of(Role.STATE, "fp16")),
        ("lightning", format_of(Role.STATE, "bf16")),
        ("mamba2", format_of(Role.CONV, "fp32")),
        ("short_conv", format_of(Role.CONV, "fp16")),
        ("gqa", format_of(Role.CACHE, "fp8")),
        ("gqa", format_of(Role.CACHE, "fp16")),
        ("gqa", format_of(Role.CACHE, "fp32", "v")),
        ("cross", format_of(Role.CACHE, "fp16")),
        ("mla", format_of(Role.CACHE, "fp32", "k_rope")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_default_is_found(monkeypatch: pytest.MonkeyPatch, kind: str, mutate: Mutation) -> None:
    """Both sides take the same bytes, so that nothing else would tell."""
    mutate(monkeypatch)
    assert failing(KINDS[kind]) == {"default format"}


@pytest.mark.parametrize(("sample", "name"), TENSORS, ids=named)
def test_of_any_tensor(monkeypatch: pytest.MonkeyPatch, sample: Attention, name: str) -> None:
    for role in Role:
        format_of(role, "int8", name)(monkeypatch)
    assert failing(sample) == {"default format"}


@pytest.mark.parametrize(
    "parts",
    [
        {"c_kv": "fp8", "k_rope": "bf16"},
        {"c_kv": "fp8_block128", "k_rope": "fp8"},
        {"c_kv": "bf16", "k_rope": "bf16"},
        {"c_kv": "fp8_per_token_head", "k_rope": "bf16"},
        {"c_kv": "fp8_block128", "k_rope": "fp16"},
    ],
    ids=str,
)
def test_other_parts_of_a_layout_are_found(monkeypatch: pytest.MonkeyPatch, parts: dict[str, str]) -> None:
    for module in (cache_format, default_formats):
        monkeypatch.setattr(module, "TENSOR_FORMATS", MappingProxyType({"fp8_ds_mla": MappingProxyType(parts)}))
    assert failing(DEEPSEEK, cache_dtype="fp8_ds_mla") == {"default format"}


def test_a_format_that_is_counted_with_other_bytes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    without_scale = formats.FORMATS["fp8_block128"]._replace(block_bytes=128)
    monkeypatch.setattr(by_name, "FORMATS", MappingProxyType({**formats.FORMATS, "fp8_block128": without_scale}))
    assert failing(DEEPSEEK) == {"default format", "bytes of layers", "cache bytes"}


def test_every_layout_is_declared_by_a_module() -> None:
    declared = [(name, set(parts)) for module in REFERENCES.values() for name, parts in module.layouts.items()]
    for name, parts in formats.TENSOR_FORMATS.items():
        assert set().union(*(tensors for each, tensors in declared if each == name)) == set(parts)
    assert {name for name, _ in declared} == set(formats.TENSOR_FORMATS)


def test_every_declaration_has_a_source() -> None:
    for module in (*REFERENCES.values(), *POOLED.values()):
        for parts in (module.stored_as, *module.layouts.values()):
            assert all("." in stored.source or "/" in stored.source for stored in parts.values())


# What somebody asked for


@pytest.mark.parametrize(
    ("attention", "asked", "claims"),
    [
        (KINDS["gqa"], {"cache_dtype": "fp8"}, ["k, v can be kept in fp8"]),
        (KINDS["gqa"], {"cache_dtype": "k=fp8"}, ["k can be kept in fp8"]),
        (DEEPSEEK, {"cache_dtype": "fp8"}, ["c_kv, k_rope can be kept in fp8"]),
        (DEEPSEEK, {"cache_dtype": "index_k=bf16"}, ["index_k can be kept in bf16"]),
        (KINDS["mamba2"], {"state_dtype": "bf16"}, ["state can be kept in bf16"]),
        (KINDS["mamba2"], {"conv_dtype": "fp32"}, ["conv_x, conv_b, conv_c can be kept in fp32"]),
        (
            KDA(num_heads=2, head_dim=8, conv_kernel=4, state_dtype="bf16", conv_dtype="fp32"),
            {},
            ["conv_q, conv_k, conv_v can be kept in fp32", "state can be kept in bf16"],
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_was_asked_for_is_not_proven(attention: Attention, asked: dict[str, str], claims: list[str]) -> None:
    result = verified(attention, **asked)
    assert result.verified
    said = [claim for claim in texts(result.not_proven) if "can be kept in" in claim]
    assert [claim.removeprefix("that ").split(", as the question")[0] for claim in said] == claims


def test_a_groups_own_format_is_not_proven() -> None:
    gqa = GQA(num_heads=4, num_kv_heads=2, head_dim=32)
    layers = (LayerGroup(count=1, attention=gqa), LayerGroup(count=1, attention=gqa, cache_dtype="q8_0"))
    result = kvcalc.verify(
        kvcalc.Model(name="two", hidden_size=24, dtype="bf16", layers=layers), context=8, device="meta"
    )
    assert result.verified
    assert [check.subject for check in default_checks(result)] == ["k, v in bf16"]
    assert any("k, v can be kept in q8_0" in claim for claim in texts(result.not_proven))


def test_kinds_side_by_side_share_a_line() -> None:
    result = kvcalc.verify(
        model_of(
            Mamba2(num_heads=4, head_dim=4, state_size=6, num_groups=2, conv_kernel=4),
            KDA(num_heads=2, head_dim=8, conv_kernel=4),
            GQA(num_heads=4, num_kv_heads=2, head_dim=8),
            GQA(num_heads=4, num_kv_heads=4, head_dim=8),
        ),
        context=8,
        device="meta",
    )
    assert [check.subject for check in default_checks(result)] == [
        "conv_x, conv_b, conv_c, conv_q, conv_k, conv_v in bf16",
        "state in fp32",
        "state in fp32",
        "k, v in bf16",
    ]
