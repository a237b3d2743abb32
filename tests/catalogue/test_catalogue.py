"""Every file of the catalogue, re-added from its text by the test's own arithmetic against a table of facts."""

from __future__ import annotations

import csv
import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import test_parts
from catalogue_facts import facts_of, facts_of_row, side_by_side, written, written_out
from conftest import DATA
from each import for_each
from fuzzing import some

import kvcalc
from kvcalc.catalogue import CONFIGS, find_model, model_names
from kvcalc.catalogue.complete import lacks
from kvcalc.catalogue.validation import validated
from kvcalc.catalogue.yaml_reader import read_yaml
from kvcalc.verbs.estimate_result import CacheResult

MIB = 2**20

with (DATA / "model_facts.csv").open(encoding="utf-8", newline="") as file:
    ROWS = {row["name"]: row for row in csv.DictReader(file)}
with (DATA / "hub_differences.csv").open(encoding="utf-8", newline="") as file:
    BEYOND_PARAMETERS = list(csv.DictReader(file))
    """What the Hub's total has beside the parameters, each with a reason."""

MODEL_FILES = sorted((CONFIGS / "models").glob("*.yaml"))
GPU_FILES = sorted((CONFIGS / "gpus").glob("*.yaml"))

each_model = for_each("name", sorted(ROWS))
each_gpu = for_each("path", GPU_FILES)
each_file = for_each("path", MODEL_FILES)


@cache
def loaded(name: str) -> kvcalc.Model:
    return kvcalc.load_model(name)


SAME_LAYERS: dict[object, str] = {}
"""The first model with these layers and this dtype, which are all that a cache depends on."""


def cache_of(name: str, context: int, cache_dtype: str, batch: int = 1) -> CacheResult:
    """What an estimate says; without its weights, for which no deployment is looked for, except where it is short."""
    model = loaded(name)
    return _cache_of(SAME_LAYERS.setdefault((model.layers, model.dtype), name), context, cache_dtype, batch)


@cache
def _cache_of(name: str, context: int, cache_dtype: str, batch: int) -> CacheResult:
    model = loaded(name)
    asked = model if context == 1 else kvcalc.Model(name=name, layers=model.layers, dtype=model.dtype)
    return kvcalc.estimate(asked, context=context, cache_dtype=cache_dtype, batch=batch).cache


def text_of(name: str) -> str:
    return (CONFIGS / "models" / f"{name}.yaml").read_text(encoding="utf-8")


def test_every_row_of_the_table_is_a_file() -> None:
    assert set(ROWS) <= {path.stem for path in MODEL_FILES} == set(model_names())
    assert len(MODEL_FILES) >= 260


NOT_KNOWN = {
    **{name: {"intermediate_size"} for name in ["bloom", "falcon-180b", "falcon-40b", "gpt-j-6b", "gpt2", "gpt2-xl"]},
    **{name: {"intermediate_size"} for name in ["mpt-30b", "mpt-7b", "phi-2"]},
    **{name: {"hub_ids"} for name in ["gpt3-175b", "opt-175b"]},
    **{name: {"hub_ids", "parameters"} for name in ["palm-540b", "palm-62b"]},
    "kimi-k3": {"parameters", "tower_parameters", "active_parameters"},
    "ling-1t": {"active_parameters"},
    "ring-1t": {"active_parameters"},
    "falcon-mamba-7b": {"max_context"},
    "mamba-codestral-7b-v0.1": {"max_context", "intermediate_size"},
    "longcat-flash": {"num_experts_per_tok", "active_parameters"},
    "llama-3_3-nemotron-super-49b-v1": {"intermediate_size"},
    **{f"mamba-{size}": {"max_context"} for size in ["130m", "370m", "790m", "1.4b", "2.8b"]},
    "step3": {"tie_word_embeddings", "parameters", "tower_parameters", "active_parameters"},
}
"""What sources do not say of a model, or its class does not have."""


@each_file
def test_a_file_is_complete(path: Path) -> None:
    model = kvcalc.load_model(path)
    assert set(lacks(model)) == NOT_KNOWN.get(path.stem, set())
    assert model.name == path.stem


PLAIN = {"mha", "mqa", "gqa"}
"""Layers of attention and a feed-forward block: a file's dims tell their parameters, except norms and biases."""


def parameters_from_dims(raw: dict[str, Any], matrices: int, positions: int) -> int | None:
    """Those of matrices and tables; None for layers of other kinds.

    Args:
        raw: the file.
        matrices: of a feed-forward block: 3 where it is gated, else 2.
        positions: that have an embedding of their own.
    """
    layers = written_out(raw["layers"])
    if {kind for layer in layers for block in side_by_side(layer) for kind in [block["attention"]["kind"]]} - PLAIN:
        return None
    total = positions + raw["vocab_size"] * (1 if raw["tie_word_embeddings"] else 2)
    for layer in layers:
        a = layer["attention"]
        kv_heads = {"mha": a["num_heads"], "gqa": a.get("num_kv_heads"), "mqa": 1}[a["kind"]]
        shares = raw.get("attention_k_eq_v") and "window" not in layer
        total += a["head_dim"] * (2 * a["num_heads"] + (1 if shares else 2) * kv_heads)
        total += matrices * raw["intermediate_size"]
    return int(total * raw["hidden_size"])


@each_file
def test_parameters_are_what_the_dims_add_up_to(path: Path) -> None:
    """To 2 in 1,000. What has other layers, or experts, is stated a second time in the table of facts."""
    raw = written(path.read_text(encoding="utf-8"))
    has_dims = {"intermediate_size", "parameters", "tie_word_embeddings"} <= raw.keys() and "num_experts" not in raw
    tables = (0, raw.get("max_context", 0) + 2)
    sums = [parameters_from_dims(raw, *each) for each in product((2, 3), tables)] if has_dims else [None]
    if None in sums or path.stem == "muse-glimmer-30b":  # whose class has more than its dims tell
        assert path.stem in ROWS or path.stem in test_parts.NAMES, (
            "a row of tests/data/model_facts.csv must state its cache a second time"
        )
        return
    text = raw["parameters"] - raw.get("tower_parameters", 0)
    assert any(total is not None and abs(total - text) <= text / 500 for total in sums)


@each_model
def test_a_file_adds_up_to_the_facts(name: str) -> None:
    assert facts_of(text_of(name)) == facts_of_row(ROWS[name])


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("llama-3-70b", r"head_dim: (128)"),
        ("llama-3-70b", r"num_kv_heads: (8)"),
        ("llama-3-70b", r"count: (80)"),
        ("llama-2-7b", r"num_heads: (32)"),
        ("falcon-7b", r"head_dim: (64)"),
        ("gemma-3-27b", r"window: (1024)"),
        ("gemma-3-27b", r"repeat: (10)"),
        ("gemma-3-27b", r"count: (5),"),
        ("deepseek-v3", r"kv_lora_rank: (512)"),
        ("deepseek-v3", r"qk_rope_head_dim: (64)"),
        ("mimo-v2-flash", r"v_head_dim: (128)"),
        ("gemma-3n-e4b", r"count: (15)"),
        ("qwen3-8b", r"hidden_size: (4096)"),
        ("qwen3-8b", r"vocab_size: (151936)"),
        ("qwen3-8b", r"max_context: (40960)"),
        ("qwen3-8b", r"\nparameters: (8190735360)"),
        ("qwen3-next-80b-a3b", r"num_v_heads: (32)"),
        ("qwen3-next-80b-a3b", r"conv_kernel: (4)"),
        ("nvidia-nemotron-3-ultra-550b-a55b-bf16", r"num_groups: (8)"),
        ("llama-4-maverick-17b-128e", r"chunk: (8192)"),
        ("deepseek-v3.2", r"index_head_dim: (128)"),
        ("llama-3.2-11b-vision", r"encoder_context: (6404)"),
        ("longcat-flash", r"qk_rope_head_dim: (64)"),
    ],
)
def test_a_changed_digit_does_not_add_up(name: str, pattern: str) -> None:
    text = text_of(name)
    found = re.search(pattern, text)
    assert found is not None
    for place in range(*found.span(1)):
        for digit in "123456789":
            changed = text[:place] + digit + text[place + 1 :]
            assert (facts_of(changed) == facts_of_row(ROWS[name])) is (digit == text[place])


@each_model
def test_the_cache_is_what_the_facts_say(name: str) -> None:
    facts = facts_of_row(ROWS[name])
    full, limited = facts.elements_per_token_full, facts.elements_per_token_sliding
    length = max(facts.windows | facts.chunks, default=1)
    index = facts.index_elements_per_token // 128 * 132
    state = facts.conv_elements_per_sequence * 2 + facts.state_elements_per_sequence * 4
    encoder = facts.encoder_elements_per_sequence

    first = cache_of(name, 1, "int8")
    assert first.bytes_per_token == full + limited + index
    assert first.state_bytes_per_sequence == state + encoder
    assert first.bytes == first.bytes_per_token + first.state_bytes_per_sequence
    for context in (length, length + 1, 1_000_003):
        later = cache_of(name, context, "bf16", 3)
        kept = (2 * full + index) * context + 2 * limited * min(context, length)
        assert later.bytes == 3 * (kept + state + 2 * encoder)
        assert later.bytes_per_token == 2 * (full + limited) + index
        assert later.bytes_per_token_at_context == 2 * full + index
        assert later.without_windows_bytes == 3 * ((2 * (full + limited) + index) * context + state + 2 * encoder)
        assert later.lower_bound is bool((limited and context > length) or state or encoder)


@each_model
def test_a_model_loads_with_its_facts(name: str) -> None:
    model, facts = loaded(name), facts_of_row(ROWS[name])

    assert model.name == name
    assert model.num_layers == len(model.sequence()) == facts.num_layers
    kept = sum(count for layer, count in model.distinct().items() if layer.attention.elements_per_token)
    assert kept == facts.num_kv_layers_full + facts.num_kv_layers_sliding
    assert (model.hidden_size, model.vocab_size) == (facts.hidden_size, facts.vocab_size)
    assert (model.parameters, model.max_context) == (facts.parameters, facts.max_context)
    assert model.source
    hub_id = ROWS[name]["hub_id"]
    assert (hub_id in model.hub_ids) if hub_id else not model.hub_ids


@each_model
def test_a_name_is_the_hubs_without_what_the_rule_drops(name: str) -> None:
    """In lower case, without organisation, `meta-`, and `-hf -it -instruct -chat -base`.

    Where that is the name of another model, as of a base model with a longer context, nothing more is dropped; where
    that too is another's, which is quantised otherwise, the organisation stands before it.
    """
    dropped = {"meta", "hf", "it", "instruct", "chat", "base"}
    full = [hub_id.split("/")[1].lower() for hub_id in loaded(name).hub_ids]
    apart = [hub_id.replace("/", "-").lower() for hub_id in loaded(name).hub_ids]
    if name in apart:
        assert full[apart.index(name)] in model_names()
        return
    short = ["-".join(word for word in each.split("-") if word not in dropped) for each in full]

    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name)
    assert name in short or name in full or not full
    if full and name not in short:
        assert short[full.index(name)] in model_names()


def test_names_and_hub_ids_are_unique_and_found() -> None:
    hub_ids = [hub_id.lower() for name in model_names() for hub_id in loaded(name).hub_ids]

    assert len(set(hub_ids)) == len(hub_ids)
    assert not set(hub_ids) & set(model_names())
    for name in ("llama-3-70b", "falcon-7b", "a.x-k1", "yi-34b"):
        for hub_id in loaded(name).hub_ids:
            assert kvcalc.load_model(hub_id).name == kvcalc.load_model(hub_id.upper()).name == name


def test_a_name_on_the_hub_is_found_without_its_organisation() -> None:
    named: dict[str, set[str]] = {}
    for name in model_names():
        for hub_id in loaded(name).hub_ids:
            named.setdefault(hub_id.split("/")[1].lower(), set()).add(name)

    assert all(len(models) == 1 or each in models for each, models in named.items())
    for each, models in some(sorted(named.items())):
        assert kvcalc.load_model(each).name == (each if each in models else min(models))


NEAR = [
    ("mistral-7b-v0.3", "mistral-7b-v0.1"),
    ("qwen2.5-7b-instruct", "qwen2.5-7b"),
    ("llama-3.1-8b", "llama-3-8b"),
    ("gemma-3-4b", "gemma-3-1b"),
    ("qwen3-4b-instruct-2507", "qwen3-4b"),
]


@pytest.mark.parametrize(("asked", "near"), NEAR)
def test_a_near_name_is_not_taken_for_another(asked: str, near: str) -> None:
    assert kvcalc.load_model(asked) != kvcalc.load_model(near)
    with pytest.raises(kvcalc.KvcalcError, match="no file, name or hub id"):
        kvcalc.load_model(f"{near}-of-another-shape")


@pytest.mark.parametrize(
    ("kind", "at_least"),
    [
        ("mha", 15),
        ("mqa", 8),
        ("gqa", 80),
        ("mla", 15),
        ("shared", 2),
        ("none", 1),
        ("cross", 1),
        ("gated_deltanet", 5),
        ("kda", 3),
        ("mamba1", 3),
        ("mamba2", 4),
        ("short_conv", 2),
        ("lightning", 1),
        ("rwkv", 1),
    ],
)
def test_every_mechanism_has_models(kind: str, at_least: int) -> None:
    having = [name for name in ROWS if kind in {layer.attention.kind for layer in loaded(name).distinct()}]

    assert len(having) >= at_least


@each_file
def test_a_model_built_without_checks_is_the_checked_one(path: Path) -> None:
    checked = validated(kvcalc.Model, read_yaml(path))

    assert loaded(path.stem) == checked
    assert find_model(str(path)).model == checked


@each_model
def test_parts_of_the_weights_are_the_parameters(name: str) -> None:
    """`parameters` is all of them, towers too; scales are beside them."""
    raw = written(text_of(name))
    parts = [part for part in raw.get("weights", ()) if not part.get("scales")]

    if parts:
        assert sum(part["parameters"] for part in parts) == raw["parameters"]
        assert sum(part["parameters"] for part in parts if part["split"] == "all") == raw.get("tower_parameters", 0)
        assert {part["split"] for part in raw["weights"]} <= {"tp", "ep", "stage", "all"}
        assert any(part["split"] == "ep" for part in parts) == ("num_experts" in raw)
        assert all(part["format"] == "fp32" for part in raw["weights"] if part.get("scales"))
    if "active_parameters" in raw:
        assert raw["active_parameters"] < raw["parameters"]


@each_model
def test_parameters_and_named_differences_are_the_hubs_total(name: str) -> None:
    row = ROWS[name]
    beyond = [int(each["elements"]) for each in BEYOND_PARAMETERS if each["name"] == name]

    assert all(elements > 0 for elements in beyond)
    assert all(each["what"] for each in BEYOND_PARAMETERS)
    if row["hub_total"] and row["parameters"]:
        assert int(row["parameters"]) + sum(beyond) == int(row["hub_total"])
    else:
        assert beyond == []


def test_most_models_have_a_total_of_the_hub() -> None:
    assert sum(bool(row["hub_total"]) for row in ROWS.values()) > 0.85 * len(ROWS)
    assert {each["name"] for each in BEYOND_PARAMETERS} <= set(ROWS)


@each_model
def test_a_model_that_takes_more_than_text_has_a_tower(name: str) -> None:
    model = loaded(name)
    if model.parameters is not None:
        assert bool(model.tower_parameters) is model.has_towers
        assert str(model.tower_parameters or "") == ROWS[name]["tower_parameters"]
