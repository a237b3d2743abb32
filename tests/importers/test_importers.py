"""config.json: every published file right or refused, and anything else a model or a refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from config_files import CATALOGUE, CONFIGS, FACTS, LLAMA, PUBLISHED, REFUSED, WRITTEN, imported, kinds, labels, refusal
from each import for_each
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from kvcalc import KvcalcError, load_model
from kvcalc.catalogue.validation import validated
from kvcalc.catalogue.yaml_reader import parse_yaml
from kvcalc.importers.config_json.families import FAMILIES
from kvcalc.importers.config_json.wrappers import WRAPPERS
from kvcalc.model.model import Model


@for_each("hub_id", CONFIGS)
def test_a_published_config_gives_the_layers_that_the_catalogue_has(hub_id: str) -> None:
    if hub_id in REFUSED:
        assert REFUSED[hub_id] in refusal(CONFIGS[hub_id])
        return
    assert labels(imported(CONFIGS[hub_id]).model) == labels(load_model(CATALOGUE[hub_id]))


@for_each("hub_id", [hub_id for hub_id in CONFIGS if hub_id in FACTS and hub_id not in REFUSED])
def test_a_published_config_adds_up_to_the_facts(hub_id: str) -> None:
    facts = {key: int(value) for key, value in FACTS[hub_id].items() if value.isdigit()}
    model = imported(CONFIGS[hub_id]).model
    whole = sliding = 0
    for layer in model.sequence():
        for each in layer:
            elements = each.attention.elements_per_token
            whole, sliding = (whole, sliding + elements) if each.span else (whole + elements, sliding)
    assert whole == facts["elements_per_token_full"] + facts["index_elements_per_token"]
    assert sliding == facts["elements_per_token_sliding"]
    assert len(model.sequence()) == facts["num_layers"]
    spans = {each.span.tokens for layer in model.sequence() for each in layer if each.span is not None}
    assert spans == ({facts.get("sliding_window", facts.get("chunk"))} - {None} if sliding else set())
    assert model.vocab_size == facts["vocab_size"]


@for_each("hub_id", [hub_id for hub_id in CONFIGS if hub_id not in REFUSED])
def test_what_an_import_writes_is_the_same_model_when_read_again(hub_id: str) -> None:
    found = imported(CONFIGS[hub_id])
    again = validated(Model, parse_yaml(found.text, "written.yaml"))
    assert labels(again) == labels(found.model)
    assert {key: getattr(again, key) for key, _ in found.fields} == {key: given.value for key, given in found.fields}
    for line in found.text.splitlines():
        assert (
            "#" in line
            or line.rstrip().endswith((":", "of:"))
            or "count: " in line
            or "repeat: " in line
            or "kind" in line
        )


def test_the_fixtures_are_all_there() -> None:
    assert (len(PUBLISHED), len(WRITTEN)) == (61, 81)
    assert {hub_id for hub_id in CONFIGS if hub_id not in CATALOGUE} == set(REFUSED) - set(CATALOGUE)
    assert len({CATALOGUE[hub_id] for hub_id in CONFIGS if hub_id in CATALOGUE}) == 142


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.integers(10**5, 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["full_attention", "sliding_attention", "float32", *FAMILIES]),
    st.lists(st.sampled_from(["full_attention", "linear_attention", 0, 1, None, "mamba", [], {}]), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)
_KEYS = sorted({key for values in CONFIGS.values() for key in (*values, *values.get("text_config", {}))})


@examples(400)
@given(
    st.sampled_from(sorted(CONFIGS)),
    st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=4),
    st.lists(st.sampled_from(_KEYS), max_size=4),
)
def test_a_config_with_anything_in_it_is_a_model_or_a_refusal(
    hub_id: str, changes: dict[str, Any], lost: list[str]
) -> None:
    outer = json.loads(json.dumps(CONFIGS[hub_id]))
    inner = outer.get("text_config", outer)
    inner.update(changes)
    for key in lost:
        inner.pop(key, None)
    try:
        found = imported(outer)
    except KvcalcError:
        return
    again = validated(Model, parse_yaml(found.text, "written.yaml"))
    assert labels(again) == labels(found.model)
    assert {key: getattr(again, key) for key, _ in found.fields} == {key: given.value for key, given in found.fields}


def test_a_text_model_that_was_renamed() -> None:
    text = {**LLAMA, "num_hidden_layers": 4, "sliding_window": 4096, "model_type": "exaone4_5_text"}
    found = kinds({"model_type": "exaone4_5", "text_config": text})
    assert (
        found == kinds({**text, "model_type": "exaone4"}) == ["gqa 32/8 x 128, window 4,096"] * 3 + ["gqa 32/8 x 128"]
    )


def test_a_text_config_may_go_by_its_wrapper_s_name() -> None:
    text = {"model_type": "gemma3n", "hidden_size": 2048, "num_hidden_layers": 5, "num_attention_heads": 8}
    text |= {"num_kv_shared_layers": 0}
    named = {**text, "model_type": "gemma3n_text"}
    found = kinds({"model_type": "gemma3n", "text_config": text})
    assert found == kinds({"model_type": "gemma3n", "text_config": named}) == kinds(named)


@for_each("wrapper", [each for each, text_type in WRAPPERS.items() if text_type and each != "maira2"])
@pytest.mark.torch
def test_a_wrapper_s_own_text_model_is_its_class_s(wrapper: str) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    assert CONFIG_MAPPING[wrapper]().text_config.model_type == WRAPPERS[wrapper]
