"""Every file of the catalogue, re-added from its text by the test's own arithmetic against a table of facts."""

from __future__ import annotations

import csv
import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import test_parts
import yaml
from conftest import DATA
from each import for_each

import kvcalc
from kvcalc.catalogue import CONFIGS, find_gpu, find_model, gpu_names, model_names
from kvcalc.catalogue.complete import lacks
from kvcalc.catalogue.gpu_table import table
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


class Facts(NamedTuple):
    """What a table of facts says of a model, added up from its file."""

    num_layers: int
    hidden_size: int
    vocab_size: int
    parameters: int | None
    max_context: int | None
    elements_per_token_full: int
    elements_per_token_sliding: int
    num_kv_layers_full: int
    num_kv_layers_sliding: int
    index_elements_per_token: int
    conv_elements_per_sequence: int
    state_elements_per_sequence: int
    encoder_elements_per_sequence: int
    windows: frozenset[int]
    chunks: frozenset[int]


def elements(attention: dict[str, Any]) -> int:
    """Elements a token adds to one layer's cache, without an indexer's."""
    match attention["kind"]:
        case "mla":
            return int(attention["kv_lora_rank"] + attention["qk_rope_head_dim"])
        case "mha":
            kv_heads = attention["num_heads"]
        case "gqa":
            kv_heads = attention["num_kv_heads"]
        case "mqa":
            kv_heads = 1
        case "compressed":
            return 0  # tests/catalogue/test_parts.py
        case kind:
            assert kind in {"shared", "none", "cross", *STATES}
            return 0
    return int(kv_heads * (attention["head_dim"] + attention.get("v_head_dim", attention["head_dim"])))


STATES = {"gated_deltanet", "kda", "mamba1", "mamba2", "short_conv", "lightning", "rwkv"}


def state_elements(a: dict[str, Any]) -> tuple[int, int]:
    """Elements that a sequence keeps in one layer: of convolutions' inputs, and of the recurrent state."""
    channels, state = 0, 0
    match a["kind"]:
        case "gated_deltanet":
            keys, values = a["num_k_heads"] * a["k_head_dim"], a["num_v_heads"] * a["v_head_dim"]
            channels, state = 2 * keys + values, values * a["k_head_dim"]
        case "kda":
            channels, state = 3 * a["num_heads"] * a["head_dim"], a["num_heads"] * a["head_dim"] ** 2
        case "mamba1":
            channels, state = a["intermediate_size"], a["intermediate_size"] * a["state_size"]
        case "mamba2":
            inner = a["num_heads"] * a["head_dim"]
            channels, state = inner + 2 * a["num_groups"] * a["state_size"], inner * a["state_size"]
        case "short_conv":
            channels = a["hidden_size"]
        case "rwkv":
            return a["hidden_size"] * a.get("token_shifts", 2), a["num_heads"] * a["head_dim"] ** 2
        case "lightning":
            state = a["num_heads"] * a["head_dim"] ** 2
    return channels * (a.get("conv_kernel", 1) - 1), state


def encoder_elements(a: dict[str, Any]) -> int:
    return int(2 * a["encoder_context"] * a["num_kv_heads"] * a["head_dim"]) if a["kind"] == "cross" else 0


def written_out(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every layer, first to last."""
    layers: list[dict[str, Any]] = []
    for part in parts:
        layers += written_out(part["of"]) * part["repeat"] if "repeat" in part else [part] * part["count"]
    return layers


def side_by_side(layer: dict[str, Any]) -> list[dict[str, Any]]:
    """A layer's attention blocks, each as a layer of its own."""
    blocks = layer["attention"]
    return [{**layer, "attention": block} for block in (blocks if isinstance(blocks, list) else [blocks])]


def facts_of(text: str) -> Facts:
    raw = written(text)
    layers = written_out(raw["layers"])
    blocks = [block for layer in layers for block in side_by_side(layer)]
    keeping = [block for block in blocks if elements(block["attention"])]
    full = [block for block in keeping if not block.keys() & {"window", "chunk"}]
    limited = [block for block in keeping if block.keys() & {"window", "chunk"}]
    return Facts(
        num_layers=len(layers),
        hidden_size=raw["hidden_size"],
        vocab_size=raw["vocab_size"],
        parameters=raw.get("parameters"),
        max_context=raw.get("max_context"),
        elements_per_token_full=sum(elements(block["attention"]) for block in full),
        elements_per_token_sliding=sum(elements(block["attention"]) for block in limited),
        num_kv_layers_full=len(full),
        num_kv_layers_sliding=len(limited),
        index_elements_per_token=sum(block["attention"].get("index_head_dim", 0) for block in blocks),
        conv_elements_per_sequence=sum(state_elements(block["attention"])[0] for block in blocks),
        state_elements_per_sequence=sum(state_elements(block["attention"])[1] for block in blocks),
        encoder_elements_per_sequence=sum(encoder_elements(block["attention"]) for block in blocks),
        windows=frozenset(block["window"] for block in limited if "window" in block),
        chunks=frozenset(block["chunk"] for block in limited if "chunk" in block),
    )


def facts_of_row(row: dict[str, str]) -> Facts:
    def known(name: str) -> int | None:
        return int(row[name]) if row[name] else None

    described: dict[str, Any] = {name: known(name) for name in Facts._fields if name not in {"windows", "chunks"}}
    for name, column in (("windows", "sliding_window"), ("chunks", "chunk")):
        length = known(column)
        described[name] = frozenset(() if length is None else (length,))
    return Facts(**described)


def written(text: str) -> dict[str, Any]:
    """What PyYAML reads, over libyaml where it was built with it: ten times as fast."""
    found: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are safe
    return found


@cache
def loaded(name: str) -> kvcalc.Model:
    return kvcalc.load_model(name)


SAME_LAYERS: dict[object, str] = {}
"""The first model with these layers and this dtype, which are all that a cache depends on."""


def cache_of(name: str, context: int, cache_dtype: str, batch: int = 1) -> CacheResult:
    model = loaded(name)
    return _cache_of(SAME_LAYERS.setdefault((model.layers, model.dtype), name), context, cache_dtype, batch)


@cache
def _cache_of(name: str, context: int, cache_dtype: str, batch: int) -> CacheResult:
    return kvcalc.estimate(loaded(name), context=context, cache_dtype=cache_dtype, batch=batch).cache


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
    for each, models in named.items():
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


@each_gpu
def test_a_gpu_built_without_checks_is_the_checked_one(path: Path) -> None:
    gpu = find_gpu(path.stem)

    assert gpu == validated(kvcalc.Gpu, read_yaml(path))
    assert gpu.name == path.stem
    assert gpu.source
    assert gpu.node_size == written(path.read_text(encoding="utf-8")).get("gpus_per_node", 8)


@each_gpu
def test_memory_of_a_gpu_is_near_its_label(path: Path) -> None:
    gpu = find_gpu(path.stem)
    if gpu.memory_bytes is None:
        assert gpu.memory_from is None
        with pytest.raises(kvcalc.KvcalcError, match="--gpu-memory SIZE"):
            kvcalc.estimate(loaded("llama-3-8b"), gpu=path.stem)
        answer = kvcalc.estimate(loaded("llama-3-8b"), gpu=path.stem, gpu_memory="64GiB")
        assert answer.gpus.memory_bytes == 64 * 2**30
    else:
        assert gpu.memory_from in {"runtime", "nvidia-smi", "vendor"}
        assert gpu.memory_bytes % MIB == 0 or gpu.memory_from == "runtime"
        assert gpu.label_gb is not None
        assert 0.97 * gpu.label_gb * 10**9 < gpu.memory_bytes <= gpu.label_gb * 2**30
        assert kvcalc.estimate(loaded("llama-3-8b"), gpu=path.stem).gpus.memory_bytes == gpu.memory_bytes


def test_the_gpus() -> None:
    assert len(GPU_FILES) == 57
    assert len(gpu_names()) == len(set(gpu_names())) == 57 + len(table())
    aliases = [alias for name in gpu_names() for alias in find_gpu(name).aliases]
    assert len(set(aliases)) == len(aliases)
    assert not set(aliases) & set(gpu_names())


@pytest.mark.parametrize(
    ("alias", "name", "mib"),
    [
        ("h100-sxm", "h100-sxm", 81_082),
        ("h100", "h100-sxm", 81_082),
        ("H100-80GB", "h100-sxm", 81_082),
        ("a100-40gb", "a100-40-sxm", 40_335),
        ("a100-80gb", "a100-80-sxm", 81_038),
        ("h200", "h200-sxm", 143_156),
        ("h200-141gb", "h200-sxm", 143_156),
        ("mi300x", "mi300x", 196_592),
        ("b200", "b200", 182_631),
    ],
)
def test_gpus_by_name_and_alias(alias: str, name: str, mib: int) -> None:
    gpu = kvcalc.load_gpu(alias)

    assert gpu.name == name
    assert gpu.memory_bytes is not None
    assert gpu.memory_bytes // MIB == mib
    assert gpu.memory_from == "runtime"


def test_a_links_bandwidth_does_not_depend_on_the_vendor() -> None:
    per_generation = {"PCIe3 x16": 16, "PCIe4 x16": 32, "PCIe5 x16": 64}
    linked = [find_gpu(name) for name in gpu_names() if find_gpu(name).host_link in per_generation]

    assert {gpu.vendor for gpu in linked} == {"NVIDIA", "AMD", "Intel"}
    for gpu in linked:
        assert gpu.host_link_gb_per_s == per_generation[str(gpu.host_link)]


@pytest.mark.parametrize(
    ("name", "bf16", "fp8"),
    [
        # Units x operations of bf16 a clock and unit x GHz, of published architectures; fp8 is 2 or 4 times that.
        ("rtxpro6000-bw", 188 * 1_024 * 2.617, 2),
        ("mi300x", 304 * 2_048 * 2.1, 2),
        ("mi325x", 304 * 2_048 * 2.1, 2),
        ("mi350x", 256 * 4_096 * 2.2, 2),
        ("mi355x", 256 * 4_096 * 2.4, 2),
        ("mi455x", 256 * 8_192 * 2.4, 4),
        # As the vendors print it; NVIDIA with sparsity, which is twice the dense rate.
        ("h100-nvl", 1_671_000 / 2, 3_341 / 1_671),
        ("h100-sxm", 1_979_000 / 2, 2),
        ("h200-sxm", 1_979_000 / 2, 2),
        ("h100-pcie", 1_513_000 / 2, 2),
        ("gaudi3", 1_835_000, 1),
        ("tpu-v5p", 459_000, 1),
        ("h20-3e", 148_000, 2),
    ],
)
def test_rates_are_the_peak(name: str, bf16: float, fp8: float) -> None:
    """In 10^9 operations a second. A bound of decoding with less than the peak is none."""
    gpu = find_gpu(name)

    assert gpu.bf16_dense_tflops == pytest.approx(bf16 / 1000, rel=1e-4)
    assert gpu.fp8_dense_tflops == pytest.approx(fp8 * bf16 / 1000, rel=1e-4)


def test_what_a_processor_takes_of_memory_that_it_shares_is_said() -> None:
    told = [str(each) for each in kvcalc.estimate("llama-3-8b", gpu="jetson-t4000").notes]
    assert any("122.8 of 128 GiB" in each for each in told)


def test_what_logs_of_a_b300_show() -> None:
    memory = kvcalc.load_gpu("b300").memory_bytes

    assert memory is not None
    assert f"{memory / 2**30:.2f}" == "267.69"


def test_a_name_that_fits_several_cards_is_refused_with_them_all() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="a100-40-pcie, a100-40-sxm, a100-80-pcie or a100-80-sxm; name one"):
        find_gpu("A100")


@pytest.mark.parametrize("name", ["mi250x", "tpu-v7x"])
def test_what_a_package_of_several_devices_is_sold_with_is_of_all_of_them(name: str) -> None:
    told = {each.code for each in kvcalc.estimate("llama-3-8b", gpu=name).notes}
    assert {"gpu-memory-as-sold", "gpu-of-several-devices"} <= told
