"""Quantised checkpoints: never counted in the dtype of computing, whichever file says so and in which words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DATA, texts

from kvcalc import KvcalcError, estimate, load_model
from kvcalc.catalogue import find_model
from kvcalc.importers import import_config
from kvcalc.importers.config_json.quantisation import Quantisation, quantisation_notes

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Kvcalc

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
PARAMETERS = 8_030_261_248

TABLES = 2 * 128_256 * 4096
NORMS = (2 * 32 + 1) * 4096
MATRICES = PARAMETERS - TABLES - NORMS


def settings(key: str = "quantization_config", **values: Any) -> dict[str, Any]:
    return {key: values}


def scheme(kind: str, bits: int, ignore: tuple[str, ...] = ("lm_head",), **weights: Any) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": {"type": kind, "num_bits": bits, **weights}}
    return settings(quant_method="compressed-tensors", config_groups={"group_0": group}, ignore=list(ignore))


DECIDED: dict[str, tuple[dict[str, Any], float, int]] = {
    "fp8": (settings(quant_method="fp8", weight_block_size=[128, 128]), MATRICES * (1 + 4 / 128**2), 2),
    "fp8, no blocks": (settings(quant_method="fp8", weight_block_size=None), MATRICES, 2),
    "fp8, every norm named": (
        settings(quant_method="fp8", modules_to_not_convert=["model.vision_tower", "model.layers.0.input_layernorm"]),
        MATRICES,
        2,
    ),
    "GPTQ": (settings(quant_method="gptq", bits=4, group_size=128), MATRICES * 66.5 / 128, 2),
    "GPTQ of 8": (settings(quant_method="gptq", bits=8, group_size=128), MATRICES * 131 / 128, 2),
    "AWQ": (settings(quant_method="awq", bits=4), MATRICES * 66.5 / 128, 2),
    "AWQ of 64": (settings(quant_method="awq", bits=4, group_size=64), MATRICES * 34.5 / 64, 2),
    "bitsandbytes": (settings(load_in_4bit=True, quant_method="bitsandbytes"), MATRICES * 36 / 64, 2),
    "bitsandbytes, scales quantised in turn": (
        settings(quant_method="bitsandbytes", load_in_4bit=True, bnb_4bit_use_double_quant=True),
        MATRICES * (1 / 2 + 1 / 64 + 4 / (64 * 256)),
        2,
    ),
    "GPTQ of 8 in groups of 32": (settings(quant_method="gptq", bits=8, group_size=32), MATRICES * 35 / 32, 2),
    "GPTQ of 3": (settings(quant_method="gptq", bits=3, group_size=128), MATRICES * (3 + 19 / 128) / 8, 2),
    "GPTQ of 2 in groups of 64": (settings(quant_method="gptq", bits=2, group_size=64), MATRICES * 18.25 / 64, 2),
    "GPTQ of whole rows": (settings(quant_method="gptq", bits=4, group_size=-1), MATRICES / 2, 2),
    "HQQ": (
        settings(
            quant_method="hqq",
            quant_config={
                "weight_quant_params": {"nbits": 4, "group_size": 64, "axis": 1},
                "scale_quant_params": None,
                "zero_quant_params": None,
            },
            skip_modules=["lm_head"],
        ),
        MATRICES * (1 / 2 + 4 / 64),
        2,
    ),
    "HIGGS": (
        settings(quant_method="higgs", bits=3, group_size=256, tune_metadata={"x": "y"}, modules_to_not_convert=None),
        MATRICES * (3 / 8 + 2 / 256),
        2,
    ),
    "Metal": (settings(quant_method="metal", bits=8, group_size=64), MATRICES * (1 + 4 / 64), 2),
    "FP-Quant": (
        settings(quant_method="fp_quant", forward_dtype="mxfp4", transform_init="hadamard", store_master_weights=False),
        MATRICES * 17 / 32,
        2,
    ),
    "torchao, of 4 bits": (
        settings(quant_method="torchao", quant_type={"default": {"_type": "Int4WeightOnlyConfig", "_data": {}}}),
        MATRICES * (1 / 2 + 4 / 128),
        2,
    ),
    "torchao, of 4 bits in tiles": (
        settings(
            quant_method="torchao",
            quant_type={
                "default": {
                    "_type": "Int4WeightOnlyConfig",
                    "_data": {
                        "group_size": 64,
                        "int4_packing_format": {"_type": "Int4PackingFormat", "_data": "TILE_PACKED_TO_4D"},
                    },
                }
            },
        ),
        MATRICES * (1 / 2 + 4 / 64),
        2,
    ),
    "mxfp8": (settings(quant_method="mxfp8", ignored_layers=["lm_head"]), MATRICES * 33 / 32, 2),
    "mxfp8 by compressed-tensors": (scheme("float", 8, strategy="group", group_size=32), MATRICES * 33 / 32, 2),
    "ModelOpt, fp8 in blocks": (settings(quant_algo="FP8_PB_WO"), MATRICES * (1 + 4 / 128**2), 2),
    "AutoRound, older": (
        settings(
            quant_method="intel/auto-round", bits=4, group_size=128, sym=True, backend="auto_round:gptq:exllamav2"
        ),
        MATRICES * 66.5 / 128,
        2,
    ),
    "ModelOpt": (settings(quant_algo="NVFP4", exclude_modules=["lm_head"]), MATRICES * 9 / 16, 2),
    "FP8-dynamic": (scheme("float", 8, strategy="channel"), MATRICES, 2),
    "w4a16 in groups of 32": (
        scheme("int", 4, strategy="group", group_size=32, symmetric=True),
        MATRICES * 18 / 32,
        2,
    ),
    "w4a16": (scheme("int", 4, strategy="group", group_size=128, symmetric=True), MATRICES * 66 / 128, 2),
    "w8a8": (scheme("int", 8, ("re:.*lm_head",), strategy="channel"), MATRICES, 2),
    "w8a8, nothing sparse": (
        settings(**scheme("int", 8, strategy="channel")["quantization_config"], sparsity_config={"format": "dense"}),
        MATRICES,
        2,
    ),
    "GPTQ, what is off": (
        settings(quant_method="gptq", bits=4, lm_head=False, modules_in_block_to_quantize=None, dynamic={}),
        MATRICES * 66.5 / 128,
        2,
    ),
    "GPTQModel": (
        settings(quant_method="gptq", bits=4, group_size=128, meta={"quantizer": ["gptqmodel:1.8.1"], "mse": 0.0}),
        MATRICES * 66.5 / 128,
        2,
    ),
    "GPTQ by Optimum": (
        settings(quant_method="gptq", bits=4, group_size=128, exllama_config={"version": 1}),
        MATRICES * 66.5 / 128,
        2,
    ),
    "GPTQ by AutoRound": (
        settings(quant_method="gptq", bits=4, group_size=128, act_bits=16, act_dynamic=True, dynamic_max_gap=-1),
        MATRICES * 66.5 / 128,
        2,
    ),
    "bitsandbytes, 8 bits and a flag of 4": (
        settings(quant_method="bitsandbytes", load_in_8bit=True, bnb_4bit_use_double_quant=True),
        MATRICES,
        2,
    ),
    "mxfp4": (scheme("float", 4, strategy="group", group_size=32), MATRICES * 17 / 32, 2),
    "Marlin's own, without zeros": (
        settings(quant_method="gptq", bits=4, group_size=128, checkpoint_format="marlin"),
        MATRICES * 66 / 128,
        2,
    ),
    "AutoRound": (
        settings(quant_method="auto-round", bits=4, group_size=128, sym=True, packing_format="auto_round:auto_gptq"),
        MATRICES * 66.5 / 128,
        2,
    ),
    "EETQ": (settings(quant_method="eetq", weights="int8", modules_to_not_convert=None), MATRICES, 2),
    "FBGEMM": (settings(quant_method="fbgemm_fp8", modules_to_not_convert=["lm_head"]), MATRICES, 2),
    "torchao": (
        settings(
            quant_method="torchao",
            quant_type={
                "default": {
                    "_type": "Int8WeightOnlyConfig",
                    "_data": {
                        "group_size": None,
                        "granularity": {"_type": "PerRow", "_data": {"dim": -1}},
                        "weight_dtype": {"_type": "torch.dtype", "_data": "int8"},
                    },
                }
            },
        ),
        MATRICES,
        2,
    ),
    "Quark": (
        settings(
            quant_method="quark",
            exclude=["lm_head"],
            global_quant_config={"weight": {"dtype": "fp8_e4m3", "qscheme": "per_tensor", "group_size": None}},
            export={"kv_cache_group": []},
            layer_quant_config={},
        ),
        MATRICES,
        2,
    ),
    "BitNet": (settings(quant_method="bitnet", modules_to_not_convert=None), MATRICES / 4, 2),
}
"""What the settings decide: bytes of the layers' matrices by hand, and bytes of an element of tables and norms."""

OF_ALL = {
    "MLX": (settings("quantization", group_size=64, bits=4), (PARAMETERS - NORMS) * 36 / 64 + NORMS * 2),
    "MLX in groups of 32": (settings("quantization", group_size=32, bits=4), (PARAMETERS - NORMS) * 5 / 8 + NORMS * 2),
    "MLX, nvfp4": (
        settings("quantization", group_size=16, bits=4, mode="nvfp4"),
        (PARAMETERS - NORMS) * 9 / 16 + NORMS * 2,
    ),
    "MLX of 8": (settings("quantization", group_size=64, bits=8), (PARAMETERS - NORMS) * 68 / 64 + NORMS * 2),
}
"""MLX quantises linear layers and embeddings (mlx.nn.quantize)."""


@pytest.mark.parametrize("case", [*DECIDED, *OF_ALL])
def test_settings_that_decide_every_matrix_are_counted(case: str) -> None:
    if case in OF_ALL:
        changes, expected = OF_ALL[case]
    else:
        changes, matrices, element = DECIDED[case]
        expected = matrices + element * (TABLES + NORMS)
    found = imported(changes)
    assert sum(part.size for part in found.model.weights) == pytest.approx(expected, abs=16)
    (told,) = found.notes
    assert told.code == "quantised-weights"


QUANTISED: dict[str, tuple[dict[str, Any], str]] = {
    "fp8 of other blocks": (settings(quant_method="fp8", weight_block_size=[1, 128]), "fp8"),
    "a part left": (settings(quant_method="fp8", modules_to_not_convert=["model.layers.0.self_attn.qkv_proj"]), "fp8"),
    "a part left that is not there": (settings(quant_method="fp8", modules_to_not_convert=["layers.32.mlp"]), "fp8"),
    "GPTQ of 5": (settings(quant_method="gptq", bits=5, group_size=128), "gptq"),
    "GPTQ of several": (settings(quant_method="gptq", bits=4, group_size=128, dynamic={"+:x": {"bits": 8}}), "gptq"),
    "bitsandbytes, without flags": (settings(quant_method="bitsandbytes"), "bitsandbytes"),
    "two groups": (settings(quant_method="compressed-tensors", config_groups={"a": {}, "b": {}}), "compressed-tensors"),
    "groups of 256": (scheme("int", 4, strategy="group", group_size=256), "compressed-tensors"),
    "ModelOpt of several": (settings(quant_algo="MIXED_PRECISION"), "MIXED_PRECISION"),
    "older compressed-tensors": ({"compression_config": {"quant_method": "sparseml"}}, "sparseml"),
    "MLX without groups": ({"quantization": {"bits": 4}, "quantization_config": None}, "4 bits"),
    "MLX, a module of its own": (settings("quantization", bits=4, group_size=64, lm_head={"bits": 8}), "4 bits"),
    "GPTQ, with the output head": (settings(quant_method="gptq", bits=4, lm_head=True), "gptq"),
    "GPTQ with a low-rank part": (
        settings(quant_method="gptq", bits=4, adapter={"rank": 64}, meta={"quantizer": "gptqmodel:1.9.0"}),
        "gptq",
    ),
    "GPTQ of some modules": (
        settings(quant_method="gptq", bits=4, modules_in_block_to_quantize=[["self_attn.q_proj"]]),
        "gptq",
    ),
    "bitsandbytes, with the output head": (
        settings(quant_method="bitsandbytes", load_in_4bit=True, llm_int8_skip_modules=["vision_tower"]),
        "bitsandbytes",
    ),
    "HQQ of 3": (settings(quant_method="hqq", quant_config={"weight_quant_params": {"nbits": 3}}), "hqq"),
    "HQQ, scales quantised in turn": (
        settings(
            quant_method="hqq",
            quant_config={
                "weight_quant_params": {"nbits": 4, "group_size": 64},
                "scale_quant_params": {"nbits": 8, "group_size": 256},
            },
        ),
        "hqq",
    ),
    "AutoRound, packed otherwise": (
        settings(quant_method="intel/auto-round", bits=4, group_size=128, backend="auto_round:marlin"),
        "intel/auto-round",
    ),
    "FP-Quant in training": (settings(quant_method="fp_quant", store_master_weights=True), "fp_quant"),
    "the output head not left": (scheme("float", 8, (), strategy="channel"), "compressed-tensors"),
    "half of the elements": (
        settings(**scheme("float", 8)["quantization_config"], sparsity_config={"format": "sparse-24-bitmask"}),
        "compressed-tensors",
    ),
    "dense": (settings(**scheme("int", 8)["quantization_config"], format="dense"), "compressed-tensors"),
    "marlin-24": (settings(**scheme("int", 8)["quantization_config"], format="marlin-24"), "compressed-tensors"),
    "rotated": (settings(**scheme("int", 8)["quantization_config"], transform_config={"R1": {}}), "compressed-tensors"),
    "experts of their own": (settings(quant_method="fp8", expert_dtype="fp4"), "fp8"),
    "GPTQ, packed otherwise": (settings(quant_method="gptq", bits=4, checkpoint_format="bitblas"), "gptq"),
    "Marlin's own, of 8": (settings(quant_method="gptq", bits=8, is_marlin_format=True), "gptq"),
    "AutoRound of floats": (
        settings(quant_method="auto-round", bits=4, group_size=32, data_type="mx_fp"),
        "auto-round",
    ),
    "AutoRound of several": (
        settings(quant_method="auto-round", bits=4, group_size=128, extra_config={"lm_head": {"bits": 8}}),
        "auto-round",
    ),
    "Quark, wide scales": (
        settings(
            quant_method="quark",
            exclude=["lm_head"],
            global_quant_config={
                "weight": {"dtype": "fp4", "qscheme": "per_group", "group_size": 32, "scale_format": "float32"}
            },
        ),
        "quark",
    ),
    "EETQ with the output head": (settings(quant_method="eetq", modules_to_not_convert=["x.norm"]), "eetq"),
    "FBGEMM, some layers left": (
        settings(quant_method="fbgemm_fp8", modules_to_not_convert=["lm_head", "model.layers.0.mlp.w3"]),
        "fbgemm_fp8",
    ),
    "torchao, of a type that is none": (
        settings(quant_method="torchao", quant_type={"default": {"_type": "X", "_data": {"layout": {"_type": [1]}}}}),
        "torchao",
    ),
    "torchao, of 4 bits in words": (
        settings(
            quant_method="torchao",
            quant_type={"default": {"_type": "Int4WeightOnlyConfig", "_data": {"int4_packing_format": "plain_int32"}}},
        ),
        "torchao",
    ),
    **{
        f"torchao, {each}": (
            settings(quant_method="torchao", quant_type={"default": {"_type": "Int8WeightOnlyConfig", "_data": data}}),
            "torchao",
        )
        for each, data in {
            "in groups": {"group_size": 32},
            "in groups by another name": {"granularity": {"_type": "PerGroup", "_data": {"group_size": 32}}},
            "of half the elements": {"layout": {"_type": "SemiSparseLayout", "_data": {}}},
            "packed otherwise": {"packing_format": {"_type": "Float8PackingFormat", "_data": "SPARSE_CUTLASS"}},
        }.items()
    },
    "torchao, with tables": (
        settings(
            quant_method="torchao",
            quant_type={"default": {"_type": "Int8WeightOnlyConfig"}},
            include_input_output_embeddings=True,
        ),
        "torchao",
    ),
    "BitNet in training": (settings(quant_method="bitnet", quantization_mode="online"), "bitnet"),
    "MLX, floats of other groups": (settings("quantization", group_size=64, bits=4, mode="mxfp4"), "4 bits"),
    "HQQ": (settings(quant_method="hqq", quant_config={"weight_quant_params": {"nbits": 4}}), "hqq"),
    "AQLM": (settings(quant_method="aqlm", in_group_size=8, nbits_per_codebook=16), "aqlm"),
    "a key of other code": ({"quantization_bit": 4}, "a method without a name"),
    "a flag of nobody's": ({"is_quantized": True}, "a method without a name"),
    "a flag of other code": ({"load_in_4bit": True}, "a method without a name"),
    "a key of nobody's": ({"weight_quantization": {"bits": 4}}, "a method without a name"),
    "hostile lists": (settings(quant_method="fp8", modules_to_not_convert=[[1], {}], ignore=7), "fp8"),
    "hostile numbers": (scheme("int", 4, strategy="group", group_size=[128]), "compressed-tensors"),
    "hostile bits": (settings("quantization", bits=[4], group_size=64), "a method without a name"),
    "a mark": ({"quantization": True}, "a method without a name"),
    "a list": ({"quantization_config": ["fp8"]}, "a method without a name"),
    "a method that ends a line": ({"quantization": {"quant_method": "x\nerror: y"}}, "a method without a name"),
}


def imported(changes: dict[str, Any]) -> Any:
    return import_config(json.dumps({**LLAMA, **changes}), "config.json", "some-model")


@pytest.mark.parametrize("case", QUANTISED)
def test_a_quantised_checkpoint_is_not_counted(case: str) -> None:
    changes, name = QUANTISED[case]
    found = imported(changes)
    assert found.model.parameters is None
    assert f"the checkpoint is quantised ({name})" in texts(found.notes)[0]
    assert f"--weights SIZE, or --parameters {PARAMETERS} --weight-dtype FORMAT" in texts(found.notes)[0]


def test_modules_of_single_layers_stay_as_they_were() -> None:
    """As Unsloth's dynamic files name them, and ModelOpt's; a module within another is not counted twice."""
    one, attention = 4096 * 14_336, 2 * 4096 * (4096 + 1024)
    dynamic = ["lm_head", "model.layers.3.self_attn", "model.layers.3.self_attn.q_proj", "model.layers.5.mlp.down_proj"]
    dynamic += ["language_model.model.layers.31.mlp"]
    nf4 = settings(quant_method="bitsandbytes", load_in_4bit=True, llm_int8_skip_modules=dynamic)
    nvfp4 = settings(quant_algo="NVFP4", exclude_modules=["lm_head", "model.layers.*.self_attn*"])
    for changes, left, bits in ((nf4, attention + 4 * one, 4.5), (nvfp4, 32 * attention, 4.5)):
        model = imported(changes).model
        expected = 2 * (TABLES + NORMS + left) + (MATRICES - left) * bits / 8
        assert sum(part.size for part in model.weights) == expected
        assert model.parameters == sum(part.parameters for part in model.weights)


def test_modules_of_layers_with_other_matrices_are_not_counted() -> None:
    changes = settings(quant_method="fp8", modules_to_not_convert=["model.layers.0.mlp"])
    experts = {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
    assert imported({**experts, **settings(quant_method="fp8")}).model.weights
    assert not imported({**experts, **changes}).model.weights


def test_mlx_leaves_matrices_whose_rows_its_groups_do_not_fill() -> None:
    """mlx_lm's quantize_model asks for weight.shape[-1] % group_size == 0."""
    for group, filled in ((64, True), (128, False)):
        found = imported({**settings("quantization", group_size=group, bits=4), "intermediate_size": 14_400})
        assert bool(found.model.weights) is filled


def test_the_note_names_what_is_quantised() -> None:
    oss = settings(quant_method="mxfp4")["quantization_config"]
    for asked, stored, named in (
        (Quantisation(oss, None, weights=True), "mxfp4", "matrices of its experts are counted in mxfp4"),
        (Quantisation({"bits": 4}, None, weights=True), "mlx_4bit", "tables and matrices of layers are counted in"),
        (Quantisation({"quant_method": "awq"}, None, weights=True), "int4", "matrices of its layers are counted in"),
    ):
        (told,) = quantisation_notes(asked, PARAMETERS, stored, unknown=True)
        assert named in told.text


def test_rows_that_a_quantiser_fills_up_are_not_counted() -> None:
    """torchao's tiles are 1,024 wide; scales of what computes in fp32 are wider than a group's 16 bits."""
    int4 = settings(quant_method="torchao", quant_type={"default": {"_type": "Int4WeightOnlyConfig", "_data": {}}})
    metal = settings(quant_method="metal", bits=4, group_size=64)
    for changes, more in ((int4, {"intermediate_size": 11_008}), (metal, {"torch_dtype": "float32"})):
        assert imported(changes).model.weights
        assert not imported({**changes, **more}).model.weights


def test_vllm_has_scales_of_bitsandbytes_in_fp32_and_divides_layers_alone() -> None:
    """Half a byte an element and 4 bytes per 64, whatever the checkpoint has."""
    changes = settings(quant_method="bitsandbytes", load_in_4bit=True, bnb_4bit_use_double_quant=True)
    model = imported({**changes, "max_position_embeddings": 8192}).model
    for pp in (1, 2):
        doubly = estimate(model, engine="vllm@0.19.0", pp=pp).memory.per_rank.weights_bytes
        once = estimate("llama-3-8b", weight_dtype="nf4", engine="vllm@0.19.0", pp=pp).memory.per_rank.weights_bytes
        assert doubly == pytest.approx(once, abs=4096)
    assert estimate(model, tp=2).memory.weights_bytes > sum(part.size for part in model.weights)
    for engine in ("vllm", "sglang"):
        with pytest.raises(KvcalcError, match=rf"--tp: {engine} divides no weights.*--pp N divides layers"):
            estimate(model, engine=engine, tp=2)
    assert estimate("llama-3-8b", weight_dtype="nf4", engine="vllm", tp=2).memory.weights_bytes


REGISTRIES = {
    "vllm": "awq gptq fp8 fbgemm_fp8 fp_quant modelopt mxfp8 compressed-tensors quark torchao inc mxfp4",
    "sglang": "awq gptq fp8 mxfp8 modelopt compressed-tensors bitsandbytes quark auto-round mxfp4",
    "lmdeploy": "awq gptq fp8 mxfp4 compressed-tensors smooth_quant",
}
"""vLLM 0.33.0's and SGLang 0.5.23's QUANTIZATION_METHODS, as far as files name them, and what LMDeploy 0.18.0's
converter asks for; SGLang's gptq is gptq_marlin."""
UNDER_OTHER_NAMES = {
    "vllm": {"auto-round", "intel/auto-round", "bitsandbytes", "fp8_pb_wo", "nvfp4"},  # inc, a plugin, modelopt's
    "sglang": {"fp8_pb_wo", "nvfp4"},
    "lmdeploy": set(),
}


@pytest.mark.parametrize("engine", REGISTRIES)
def test_an_engine_refuses_what_its_registry_has_not(engine: str) -> None:
    loaded, refused = {*REGISTRIES[engine].split(), *UNDER_OTHER_NAMES[engine]}, set()
    for changes, *_ in DECIDED.values():
        model = imported({**changes, "max_position_embeddings": 8192}).model
        method = model.quant_method
        few_bits = any(part.format.startswith(("int2", "int3")) for part in model.weights)
        if method in loaded and (not few_bits or engine == "lmdeploy"):
            assert estimate(model, engine=engine).memory.weights_bytes
        elif method is not None:
            with pytest.raises(KvcalcError, match=rf"(?i)--engine: {engine} loads"):
                estimate(model, engine=engine)
            refused.add(method)
    assert {"hqq", "higgs", "metal", "eetq", "bitnet"} <= refused


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_mlx_and_few_bits_are_refused_by_name(engine: str) -> None:
    with pytest.raises(KvcalcError, match=rf"{engine} loads no weights in MLX's formats .*--engine mlx"):
        estimate("llama-3-8b", engine=engine, weight_dtype="mlx_4bit")
    with pytest.raises(KvcalcError, match=r"GPTQ in 4 and 8 bits alone"):
        estimate("llama-3-8b", engine=engine, weight_dtype="int3")


@pytest.mark.parametrize("engine", ["tensorrt-llm", "lmdeploy"])
def test_files_of_other_programs_are_refused_by_name(engine: str) -> None:
    for stored, instead in (("mlx_4bit", "mlx"), ("q4_k_m", "llama-cpp")):
        with pytest.raises(KvcalcError, match=rf"(?i){engine} loads no .*--engine {instead} counts them"):
            estimate("llama-3-8b", engine=engine, weight_dtype=stored)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_eight_bits_of_bitsandbytes_are_not_divided_over_ranks(engine: str) -> None:
    changes = settings(quant_method="bitsandbytes", load_in_8bit=True)
    model = imported({**changes, "max_position_embeddings": 8192}).model
    with pytest.raises(KvcalcError, match=rf"--tp: {engine} divides no weights"):
        estimate(model, engine=engine, tp=2)
    assert estimate(model, engine=engine).memory.weights_bytes


def test_published_files_are_as_large_as_their_settings_say() -> None:
    """By pages or an index: randmaru/Mellum-4b-base-mlx-mxfp4, and in 4 bits; openai/gpt-oss-20b; with scales quantised
    in turn Pot-l/mistral-7b-bnb-4bit-full-QA and unsloth/QwQ-32B-bnb-4bit; of whole rows
    TheBloke/Wizard-Vicuna-30B-Uncensored-GPTQ and Genz-70b-GPTQ.
    """
    mellum = {"model_type": "llama", "hidden_size": 3072, "intermediate_size": 8256, "num_hidden_layers": 30}
    mellum |= {"num_attention_heads": 24, "vocab_size": 98_304, "torch_dtype": "bfloat16"}
    floats, integers = {"group_size": 32, "bits": 4, "mode": "mxfp4"}, {"group_size": 64, "bits": 4}
    for stated, published in ((floats, 2_135_555_369), (integers, 2_261_175_474)):
        model = import_config(json.dumps({**mellum, "quantization": stated}), "config.json", "m").model
        assert 0 < published - sum(part.size for part in model.weights) < 100_000  # the file's header
    mistral = {**LLAMA, "model_type": "mistral", "vocab_size": 32_000, "sliding_window": None}
    qwen = {**LLAMA, "model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 27_648, "vocab_size": 152_064}
    qwen |= {"num_hidden_layers": 64, "num_attention_heads": 40}
    doubly = settings(quant_method="bitsandbytes", load_in_4bit=True, bnb_4bit_use_double_quant=True)
    for stated, published, rounded in ((mistral, 4_125_687_000, 1000), (qwen, 19_210_000_000, 20_000_000)):
        model = import_config(json.dumps({**stated, **doubly}), "config.json", "m").model
        size = sum(part.size for part in model.weights)
        assert -rounded < published - size < 600_000 + rounded  # headers, and tables of 16 and 256 levels a matrix
    vicuna = {**LLAMA, "hidden_size": 6656, "intermediate_size": 17_920, "vocab_size": 32_000}
    vicuna |= {"num_hidden_layers": 60, "num_attention_heads": 52, "num_key_value_heads": 52}
    genz = {**LLAMA, "hidden_size": 8192, "intermediate_size": 28_672, "vocab_size": 32_000, "num_hidden_layers": 80}
    genz |= {"num_attention_heads": 64}
    for stated, bits, published in ((vicuna, 4, 16_940_128_464), (genz, 3, 26_774_982_616)):
        rows = settings(quant_method="gptq", bits=bits, group_size=-1)
        model = import_config(json.dumps({**stated, **rows}), "config.json", "m").model
        assert 0.9975 * published < sum(part.size for part in model.weights) < published  # indexes of groups, scales
    oss = {"model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 24}
    oss |= {"num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 201_088}
    oss |= {"num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window": 128, "torch_dtype": "bfloat16"}
    oss |= {"layer_types": ["sliding_attention", "full_attention"] * 12}
    left = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    for named, size in ((left, 13_761_264_768), (left[1:], 0)):
        stated = settings(quant_method="mxfp4", modules_to_not_convert=named)
        model = import_config(json.dumps({**oss, **stated}), "config.json", "m").model
        assert sum(part.size for part in model.weights) == size


@pytest.mark.parametrize("nothing", [None, {}, [], "", False, "none", {"quant_algo": None}])
def test_what_says_that_nothing_is_quantised_is_counted(nothing: Any) -> None:
    for key in ("quantization_config", "quantization", "compression_config"):
        found = imported({key: nothing, "quantization_bit": 0, "load_in_4bit": False})
        assert (found.model.parameters, found.notes) == (PARAMETERS, ())


def test_a_cache_alone_may_be_quantised() -> None:
    found = imported({"quantization_config": {"quant_algo": None, "kv_cache_quant_algo": "FP8"}})
    assert found.model.parameters == PARAMETERS
    assert texts(found.notes) == ("the checkpoint asks for a cache in fp8: --cache-dtype fp8",)


BESIDE = {
    "hf_quant_config.json": {
        "producer": {"name": "modelopt", "version": "0.29.0"},
        "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16},
    },
    "quantize_config.json": {"bits": 4, "group_size": 128, "desc_act": False, "sym": True},
    "quant_config.json": {"zero_point": True, "q_group_size": 128, "w_bit": 4, "version": "GEMM"},
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_config_json_reads_what_its_folder_reads(kvcalc: Kvcalc, tmp_path: Path, name: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**LLAMA, "quantization_config": None}))
    assert load_model(config).parameters == PARAMETERS
    (tmp_path / name).write_text(json.dumps(BESIDE[name]))
    by_file, by_folder = find_model(str(config)), find_model(str(tmp_path))
    assert by_file.model == by_folder.model
    assert by_file.notes == by_folder.notes
    assert "quantised (NVFP4)" in texts(by_file.notes)[0] or "quantised (4 bits)" in texts(by_file.notes)[0]
    taken = json.loads(kvcalc("estimate", str(config), "--json").stdout)["memory"]["weights_bytes"]
    assert taken == pytest.approx(MATRICES * (9 / 16 if name.startswith("hf_") else 66.5 / 128) + 2 * (TABLES + NORMS))


def test_a_file_beside_may_tell_of_the_cache_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "quantization_config": {"quant_method": "fp8"}}))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(BESIDE["hf_quant_config.json"]))
    notes = texts(find_model(str(tmp_path / "config.json")).notes)
    assert "quantised (fp8)" in notes[0]
    assert "the checkpoint asks for a cache in fp8: --cache-dtype fp8" in notes


def test_a_config_json_of_another_name_has_no_folder(tmp_path: Path) -> None:
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(BESIDE["hf_quant_config.json"]))
    (tmp_path / "other.json").write_text(json.dumps(LLAMA))
    assert load_model(tmp_path / "other.json").parameters == PARAMETERS


def test_bitsandbytes_with_both_flags_false_leaves_weights_as_they_are() -> None:
    neither = {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": False}
    assert imported({"quantization_config": neither}).model.parameters == PARAMETERS
    assert len(imported({"quantization_config": {**neither, "load_in_8bit": True}}).model.weights) > 1


def test_layers_that_contradict_themselves_are_refused_also_where_the_file_is_quantised() -> None:
    published = json.loads((DATA / "configs.json").read_text(encoding="utf-8"))["Qwen/Qwen3.6-27B"]
    values = {**published, **settings(quant_method="fp8", weight_block_size=[128, 128])}
    values.get("text_config", values)["linear_num_key_heads"] = 100
    with pytest.raises(KvcalcError, match="num_k_heads must divide num_v_heads, and 100 does not divide 48"):
        import_config(json.dumps(values), "config.json", "some-model", {})
