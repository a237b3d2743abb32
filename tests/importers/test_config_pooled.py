"""Families whose indexer pools its keys: what their files say in each of the forms that are published."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pooled_index_files import GLM, glm

from kvcalc.errors import KvcalcError
from kvcalc.importers import import_config
from kvcalc.mechanisms import KDA, MLA
from kvcalc.model.model import Model


def read(values: dict[str, Any]) -> Model:
    return import_config(json.dumps(values), "config.json", "some-model").model


def test_glm_is_latents_with_pooled_keys_beside_kimi_delta_attention() -> None:
    model = read(glm())
    kinds = [[cache.attention for cache in layer] for layer in model.layout.layers]
    assert [isinstance(each[0], MLA) for each in kinds] == [(index + 1) % 4 == 0 for index in range(45)]
    assert kinds[0] == [KDA(num_heads=64, head_dim=128, conv_kernel=4)]
    latent = kinds[3][0]
    assert isinstance(latent, MLA)
    assert (latent.kv_lora_rank, latent.qk_rope_head_dim, latent.index_kpool, latent.index_topk) == (512, 0, 4, 2048)
    assert (model.mtp_layers, model.num_experts, model.first_k_dense, model.max_context) == (1, 288, 3, 1_048_576)


def test_the_text_model_alone_and_other_names_of_its_layers_are_the_same() -> None:
    layers = read(glm()).layers
    assert read({**GLM, "dtype": "bfloat16"}).layers == layers
    for name in ("indexed_attention", "full_attention"):
        types = [name if each != "linear_attention" else each for each in GLM["layer_types"]]
        assert read(glm(layer_types=types)).layers == layers
    flat = {"linear_num_heads": 64, "linear_head_dim": 128, "linear_conv_kernel_dim": 4}
    assert read(glm(linear_attn_config=None, **flat)).layers == layers
    assert read(glm(layer_types=None)).layers == layers


def test_a_pool_that_the_file_leaves_out_is_the_class_s() -> None:
    values = glm()
    del values["text_config"]["index_kpool"]
    latent = read(values).layout.layers[3][0].attention
    assert isinstance(latent, MLA)
    assert latent.index_kpool == 16


def test_layers_that_share_a_choice_have_no_indexer() -> None:
    shared = ["full" if index < 4 else "shared" for index in range(45)]
    kinds = [layer[0].attention for layer in read(glm(indexer_types=shared)).layout.layers]
    assert [each.index_kpool for each in kinds if isinstance(each, MLA)] == [4, *[None] * 10]
    assert {each.index_topk for each in kinds if isinstance(each, MLA)} == {2048}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index_kpool": 1}, "index_kpool"),
        ({"index_kpool": 5}, "does not divide index_topk 2048"),
        ({"index_kpool_compress": False}, "index_kpool_compress is false"),
        ({"qk_rope_head_dim": 64}, "this family's class rotates nothing"),
        (
            {"linear_attn_config": {"num_heads": 64, "head_dim": 128, "kda_layers": [1, 2]}},
            "kda_layers and layer_types do not name the same layers",
        ),
        ({"layer_types": ["sliding_attention"] * 45}, "layer_types has 'sliding_attention'"),
    ],
)
def test_what_is_not_understood_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(KvcalcError, match=message):
        read(glm(**change))


@pytest.mark.torch
def test_parameters_of_the_text_model_are_those_of_the_class() -> None:
    from built_classes import built_parameters  # noqa: PLC0415  # slow to import

    model = read({**GLM, "dtype": "bfloat16"})
    assert model.parameters == built_parameters({**GLM, "architectures": None}) == 313_326_799_870
