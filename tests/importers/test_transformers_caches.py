"""What transformers' classes keep, each of its own default shape, is what kvcalc reads of the file that it writes.

`transformers_caches.json` has runs of equal layers and the parameters of each model_type: how many layers, then
elements of keys and values a token, of an indexer's keys, of states, of a row of convolutions, rows of these, the
window. Each is of a forward pass of the class of transformers 5.24.0 on the meta device, with DynamicCache.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DATA
from each import for_each

from kvcalc.importers import import_config
from kvcalc.mechanisms import Role

if TYPE_CHECKING:
    from kvcalc.model.layers import Layer

CACHES: dict[str, Any] = json.loads((DATA / "transformers_caches.json").read_text(encoding="utf-8"))
REFUSED = {
    *(
        "deepseek_v4",
        "t5gemma2",
        "xlstm",
        "zaya",
        "unlimited_ocr",
        "seamless_m4t",
        "seamless_m4t_v2",
    ),
    *("glm4_moe", "bamba"),  # of which a default file lacks a size
}
ENCODERS = {
    *("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert"),
    *("rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl"),
}
"""Read where is_decoder is true, as it was for their pass."""


def kept(layer: tuple[Layer, ...]) -> list[int]:
    """A layer's row, as the file has them."""
    row = dict.fromkeys(("cache", "index", "state", "conv"), 0)
    rows = window = 0
    for each in (one for one in layer if one.attention.kind != "cross"):
        window = each.span.tokens if each.span else window
        for tensor in each.attention.cached():
            row[tensor.role.value] += tensor.row_elements
            if tensor.role is Role.CONV and tensor.rows is not None:
                rows = tensor.rows.value + 1  # transformers keeps one that no later token reads
    return [*row.values(), rows, window]


def runs(layers: list[list[int]]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for each in layers:
        if found and found[-1][1] == each:
            found[-1][0] += 1
        else:
            found.append([1, each])
    return found


@pytest.fixture(scope="module")
def classes() -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return CONFIG_MAPPING


@for_each("model_type", sorted(set(CACHES) - REFUSED))
@pytest.mark.torch
def test_a_class_keeps_what_is_read_of_its_file(model_type: str, classes: Any) -> None:
    text = classes[model_type]().to_json_string(use_diff=True)  # as save_pretrained writes it
    assumed = {"is_decoder": True} if model_type in ENCODERS else {}
    model = import_config(text, "config.json", "some-model", assumed).model
    assert runs([each for each in map(kept, model.sequence()) if any(each)]) == runs(
        [row for count, row in CACHES[model_type]["layers"] for _ in range(count) if any(row[:4])]
    )
    if model.parameters is not None:
        assert model.parameters == CACHES[model_type]["parameters"]
