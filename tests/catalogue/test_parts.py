"""Models whose layers keep rows for several tokens, and rings: added up again from a table of facts."""

from __future__ import annotations

import csv

import pytest
from conftest import DATA

import kvcalc

with (DATA / "compressed_facts.csv").open(encoding="utf-8", newline="") as file:
    FACTS = {row["name"]: row for row in csv.DictReader(file)}
NAMES = {*FACTS, "minimax-m3", "deepseek-v4.1-flash"}
"""Every model whose facts are here."""


def layers_of(name: str) -> tuple[int, int, int]:
    """Layers by their compress_ratio: 0, 4, 128."""
    of_0, of_4, of_128 = (int(FACTS[name][f"layers_of_{ratio}"]) for ratio in (0, 4, 128))
    return of_0, of_4, of_128


@pytest.mark.parametrize("name", FACTS)
def test_a_model_has_what_its_facts_say(name: str) -> None:
    facts, model = FACTS[name], kvcalc.load_model(name)
    assert model.num_layers == sum(layers_of(name))
    assert model.hub_ids[0] == facts["hub_id"]
    assert (model.parameters, model.active_parameters) == (int(facts["parameters"]), int(facts["active_parameters"]))
    assert sum(part.parameters for part in model.weights if not part.scales) == model.parameters


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("context", [1, 7, 128, 1_000_003])
def test_entries_and_rings_add_up(name: str, context: int) -> None:
    of_0, of_4, of_128 = layers_of(name)
    window = 1024 * min(context, 128)
    waiting_4, waiting_128 = min(context, 8) * 4 * (4 * 512 + 4 * 128), min(context, 128) * 4 * 2 * 512
    sparse = window + context // 4 * (1024 + 132) + waiting_4
    heavy = window + context // 128 * 1024 + waiting_128
    found = kvcalc.estimate(name, batch=3, context=context, cache_dtype="bf16").cache
    assert found.bytes == 3 * (of_0 * window + of_4 * sparse + of_128 * heavy)
    assert found.state_bytes_per_sequence == 0


@pytest.mark.parametrize("name", FACTS)
def test_what_a_token_adds_in_the_long_run(name: str) -> None:
    _, of_4, of_128 = layers_of(name)
    found = kvcalc.estimate(name, context=10_000).cache
    assert found.bytes_per_token_at_context == of_4 * (1024 + 132) // 4 + of_128 * 1024 // 128
    assert found.lower_bound


@pytest.mark.parametrize("context", [1, 2, 7, 128, 1_000_003])
def test_deepseek_v4_1_keeps_entries_in_four_of_its_layers(context: int) -> None:
    """Layers 2, 8 and 14 keep one for two tokens, layer 20 one for each (kv_source_layer_ids of its config.json)."""
    pairs = context // 2 * (1024 + 132) + min(context, 2) * 4 * 2 * 512
    found = kvcalc.estimate("deepseek-v4.1-flash", batch=3, context=context, cache_dtype="bf16").cache
    assert found.bytes == 3 * (40 * min(context, 128) * 1024 + 3 * pairs + context * (1024 + 132))


def test_deepseek_v4_1_has_as_many_parameters_as_its_report_says() -> None:
    """552B of the backbone, of which a token of decoding passes through 16B (arXiv 2609.19969)."""
    model = kvcalc.load_model("deepseek-v4.1-flash")
    tables = sum(part.parameters for part in model.weights if part.part == "tables of n-grams")
    assert ((model.parameters or 0) - (model.tower_parameters or 0) - tables) // 10**8 == 5518
    assert (model.active_parameters or 0) // 10**8 == 167
    assert model.mtp_layers is None


def test_minimax_m3_keeps_an_indexers_keys_in_bf16_beside_its_heads() -> None:
    """3 full layers and 57 with an indexer of 128 (sparse_attention_freq of its config.json)."""
    model = kvcalc.load_model("minimax-m3")
    assert (model.num_layers, model.parameters) == (60, 426_174_565_632)
    for asked, element in (("bf16", 2), ("fp8", 1)):
        found = kvcalc.estimate(model, batch=2, context=5000, cache_dtype=asked).cache
        assert found.bytes == 2 * 5000 * (60 * 2 * 4 * 128 * element + 57 * 128 * 2)
        assert found.bytes_per_token == 60 * 1024 * element + 57 * 256
