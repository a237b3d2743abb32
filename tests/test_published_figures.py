"""Figures that others printed, measured or executed, each with its source, against what kvcalc says."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import yaml
from conftest import DATA
from each import for_each

import kvcalc
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention
from kvcalc.model.layers import LayerGroup

ENTRIES: list[dict[str, Any]] = yaml.safe_load((DATA / "published_figures.yaml").read_text(encoding="utf-8"))

UNITS = {
    "B": 1,
    "KB": 10**3,
    "KiB": 2**10,
    "MiB": 2**20,
    "GB": 10**9,
    "GiB": 2**30,
    "elements": 1,
    "K elements": 10**3,
    "ratio": 1,
}

KEYS = {
    "id", "source", "quote", "model", "shape", "quantity", "batch", "context", "cache_dtype", "state_dtype", "tp",
    "per_rank", "published", "unit", "note",
}  # fmt: skip


def _attention(shape: dict[str, Any]) -> Attention:
    dims = {name: value for name, value in shape.items() if name != "layers"}
    if "kv_lora_rank" in dims:
        return MLA(**dims)
    kv_heads = dims.pop("num_kv_heads")
    if kv_heads == dims["num_heads"]:
        return MHA(**dims)
    return MQA(**dims) if kv_heads == 1 else GQA(num_kv_heads=kv_heads, **dims)


def _model(entry: dict[str, Any]) -> kvcalc.Model | str:
    if "model" in entry:
        return str(entry["model"])
    shape = entry["shape"]
    return kvcalc.Model(name="shape", layers=(LayerGroup(count=shape["layers"], attention=_attention(shape)),))


def _elements_per_token(model: kvcalc.Model | str) -> int:
    """In a format of one byte an element, bytes are elements."""
    return kvcalc.estimate(model, context=1, cache_dtype="int8").cache.bytes_per_token


def _quantity(entry: dict[str, Any]) -> Decimal:
    model, quantity = _model(entry), entry["quantity"]
    if quantity == "elements_per_token":
        return Decimal(_elements_per_token(model))
    layers = (kvcalc.load_model(model) if isinstance(model, str) else model).num_layers
    if quantity == "elements_per_token_per_layer":
        return Decimal(_elements_per_token(model)) / layers
    if quantity == "ratio_to_mha":
        group = kvcalc.load_model(entry["model"]).layers[0]
        assert isinstance(group, LayerGroup)
        assert isinstance(group.attention, MLA)
        heads, width = group.attention.num_heads, group.attention.v_head_dim
        return Decimal(_elements_per_token(model)) / (layers * 2 * heads * width)
    options = {name: entry[name] for name in ("batch", "context", "cache_dtype", "state_dtype", "tp") if name in entry}
    answer = kvcalc.estimate(model, **options)
    per_rank = entry.get("per_rank", False)
    figures = {
        "bytes_per_token": answer.cache.bytes_per_token,
        "bytes_per_token_at_context": answer.cache.bytes_per_token_at_context,
        "cache_bytes": answer.cache.bytes_per_rank if per_rank else answer.cache.bytes,
        "entries_bytes": sum(term.bytes for term in answer.cache.terms if not term.path.endswith("_state")),
        "state_bytes_per_sequence": answer.cache.state_bytes_per_sequence,
        "weights_bytes": answer.memory.per_rank.weights_bytes if per_rank else answer.memory.weights_bytes,
    }
    exact = figures[quantity]
    assert type(exact) is int
    return Decimal(exact)


@for_each("entry", ENTRIES)
def test_published_figure(entry: dict[str, Any]) -> None:
    places = Decimal(1).scaleb(Decimal(entry["published"]).as_tuple().exponent)  # type: ignore[arg-type]  # YAML's value here is a number
    rounded = (_quantity(entry) / UNITS[entry["unit"]]).quantize(places, rounding=ROUND_HALF_UP)

    assert str(rounded) == entry["published"]


def test_entries_are_well_formed() -> None:
    for entry in ENTRIES:
        assert set(entry) <= KEYS, entry["id"]
        assert {"id", "source", "quantity", "published", "unit"} <= set(entry), entry["id"]
        assert ("model" in entry) != ("shape" in entry), entry["id"]
        assert not (entry["quantity"] == "bytes_per_token" and entry.get("tp", 1) > 1 and not entry["per_rank"])
    assert len({entry["id"] for entry in ENTRIES}) == len(ENTRIES)


def test_figures_come_from_many_sources() -> None:
    printed = [entry for entry in ENTRIES if not entry["id"].startswith(("worked-", "hand-", "engine-"))]

    assert len(printed) >= 40
    # The page, not the place in it: what stands before the first space.
    assert len({entry["source"].split()[0] for entry in printed}) >= 15


def test_figures_cover_every_mechanism_and_quantity() -> None:
    named = {entry["model"]: entry for entry in ENTRIES if "model" in entry}
    shapes = [entry for entry in ENTRIES if "shape" in entry]
    models = [_model(entry) for entry in (*named.values(), *shapes)]
    mechanisms = {kind for model in models for kind in kvcalc.estimate(model, context=1).model.mechanisms}

    assert mechanisms >= {"mha", "mqa", "gqa", "mla", "gated_deltanet", "kda", "short_conv", "lightning", "compressed"}
    assert {entry["quantity"] for entry in ENTRIES} == {
        "bytes_per_token",
        "bytes_per_token_at_context",
        "cache_bytes",
        "elements_per_token",
        "elements_per_token_per_layer",
        "entries_bytes",
        "ratio_to_mha",
        "state_bytes_per_sequence",
        "weights_bytes",
    }
