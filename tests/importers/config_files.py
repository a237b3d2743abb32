"""Published config.json files, what is known of them, and what is made of one."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from conftest import DATA

from kvcalc import KvcalcError, load_model
from kvcalc.catalogue import model_names
from kvcalc.importers import ImportedModel, import_config
from kvcalc.model.model import Model

PUBLISHED: dict[str, dict[str, Any]] = json.loads((DATA / "configs.json").read_text(encoding="utf-8"))
"""As published, without keys that say nothing of shapes."""

WRITTEN: dict[str, dict[str, Any]] = json.loads((DATA / "configs_written.json").read_text(encoding="utf-8"))
"""As transformers 5.24.0's classes write a checkpoint of the catalogue's shape; five, which have no class, by hand."""

CONFIGS = {**PUBLISHED, **WRITTEN}
FACTS = {
    row["hub_id"]: row for row in csv.DictReader((DATA / "model_facts.csv").read_text(encoding="utf-8").splitlines())
}
CATALOGUE = {hub_id: name for name in model_names() for hub_id in load_model(name).hub_ids}
REFUSED = {
    "stepfun-ai/Step-3.7-Flash": "it has no attention_other_setting",
}


def imported(values: dict[str, Any], **assumed: Any) -> ImportedModel:
    return import_config(json.dumps(values), "config.json", "some-model", assumed)


def labels(model: Model) -> list[tuple[str, ...]]:
    return [tuple(each.label for each in layer) for layer in model.sequence()]


def kinds(values: dict[str, Any], **assumed: Any) -> list[str]:
    return [" ".join(each) for each in labels(imported(values, **assumed).model)]


def refusal(values: dict[str, Any], **assumed: Any) -> str:
    with pytest.raises(KvcalcError) as error:
        imported(values, **assumed)
    return str(error.value)


LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 2,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "torch_dtype": "bfloat16",
}


FALCON = {"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 1, "num_attention_heads": 71}
