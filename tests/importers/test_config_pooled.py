"""Families whose indexer pools its keys: what their files say in each of the forms that are published."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pooled_index_files import GLM, QWEN, glm, qwen

from kvcalc.errors import KvcalcError
from kvcalc.importers import import_config
from kvcalc.mechanisms import GQA, KDA, MLA, GatedDeltaNet, ShortConv
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


def test_qwen_is_heads_with_averaged_keys_beside_gated_delta_networks_and_n_grams() -> None:
    model = read(qwen())
    kinds = [[cache.attention for cache in layer] for layer in model.layout.layers]
    delta = GatedDeltaNet(
        num_k_heads=16, num_v_heads=48, k_head_dim=128, v_head_dim=128, conv_kernel=4, state_dtype="fp32"
    )
    index: dict[str, Any] = {"index_head_dim": 128, "index_n_heads": 4, "index_kpool": 4, "index_topk": 2048}
    heads = GQA(num_heads=24, num_kv_heads=2, head_dim=256, **index)
    assert kinds[0] == [delta]
    assert kinds[1] == [delta, ShortConv(hidden_size=4 * 2560, conv_kernel=4, dilation=3, whole=True)]
    assert [each == [heads] for each in kinds] == [(number + 1) % 4 == 0 for number in range(48)]
    assert (model.mtp_layers, model.num_experts, model.max_context) == (1, 512, 262_144)


def test_what_drafts_of_qwen_mixes_streams_too() -> None:
    """Each matrix as vLLM 0.33's vllm/models/qwen4_exp/nvidia/mtp.py has it, and norms."""
    attention = 2560 * 24 * 512 + 2 * 2560 * 512 + 24 * 256 * 2560 + 2 * 256 + 2560 * 5 * 128 + 2 * 128
    experts = 2560 * 512 + 513 * 3 * 2560 * 640 + 2560
    down, end = 10_240 * (1 + 320 + 4) + 320 * 10_240, 10_240 * (1 + 320) + 320 * 10_240
    joining = 2 * 2560 * 2560 + 2560 + 10_240
    assert read(qwen()).mtp_parameters == attention + experts + 2 * down + end + joining == 2_607_150_848


def test_other_forms_of_its_file_are_the_same() -> None:
    layers = read(qwen()).layers
    assert read({**QWEN, "dtype": "bfloat16"}).layers == layers
    assert read(qwen(layer_types=None)).layers == layers
    types = ["indexed_attention" if each == "full_attention" else each for each in QWEN["layer_types"]]
    assert read(qwen(layer_types=types)).layers == layers
    assert read(qwen(ple_layer_ids=[2, 2])).ngram_parameters == read(qwen()).ngram_parameters == 51_200_245_760
    assert len(read(qwen(ple_layer_ids=None)).layout.kinds) == len(read(qwen()).layout.kinds) - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indexer_kv_heads": 2}, "indexer_kv_heads is 2, and the class takes 1"),
        ({"indexer_compress_ratio": 5}, "does not divide indexer_budget 2048"),
        ({"ple_layer_ids": [4]}, "ple_layer_ids has layers without linear attention"),
        ({"ple_layer_ids": [49]}, "ple_layer_ids has layers without linear attention"),
        ({"ple_embed_dim": 2500}, "ple_embed_dim is 2500, which does not divide over 16 heads of n-grams"),
        ({"ngram_size": 1}, "ngram_size"),
        ({"num_key_value_heads": 1}, "num_key_value_heads is 1 or num_attention_heads"),
        ({"layer_types": ["sliding_attention"] * 48}, "layer_types has 'sliding_attention'"),
    ],
)
def test_what_is_not_understood_of_it_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(KvcalcError, match=message):
        read(qwen(**change))


@pytest.mark.torch
def test_parameters_of_qwen_s_text_model_are_those_of_the_class() -> None:
    """The tables: 16 primes from 20,000,000 on, together a multiple of 128, of 160 elements each."""
    from built_classes import built_parameters

    model = read({**QWEN, "dtype": "bfloat16"})
    assert model.parameters == built_parameters(QWEN) == 176_943_899_520
    assert model.ngram_parameters == built_parameters(QWEN, "ngram_embedding") == 51_200_245_760
    streams = built_parameters(QWEN, r"hyper_connection|ple\.(key|value)_proj|ple\.norm")
    assert model.stream_parameters == streams == 673_423_360
    without = read({**QWEN, "dtype": "bfloat16", "ple_layer_ids": None})
    assert (
        without.parameters
        == built_parameters({**QWEN, "ple_layer_ids": None})
        == 176_943_899_520 - 51_200_245_760 - 2560 * 5 * 2560 - 7 * 10_240
    )


@pytest.mark.torch
def test_parameters_of_the_text_model_are_those_of_the_class() -> None:
    from built_classes import built_parameters

    model = read({**GLM, "dtype": "bfloat16"})
    assert model.parameters == built_parameters({**GLM, "architectures": None}) == 313_326_799_870
    assert model.stream_parameters == built_parameters(GLM, r"_hc\.|hyper_connection") == 35_391_870
