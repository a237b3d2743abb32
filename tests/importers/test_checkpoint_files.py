"""A folder with config.json and *.safetensors: what the weights take, from headers alone."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import DATA, Kvcalc, texts
from fuzzing import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from kvcalc import KvcalcError, Model, load_model
from kvcalc.catalogue import find_model
from kvcalc.catalogue.validation import validated
from kvcalc.catalogue.yaml_reader import parse_yaml
from kvcalc.importers import safetensors
from kvcalc.importers import tensors as tensors_module
from kvcalc.importers.json_text import parse_mapping
from kvcalc.importers.model_yaml import weight_line
from kvcalc.importers.safetensors import file_header, folder_headers
from kvcalc.importers.tensors import StoredTensor
from kvcalc.importers.weight_parts import weights_of
from kvcalc.model.model import WeightPart

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "I32": 32}
BITS |= {"U8": 8, "I8": 8, "I64": 64, "BOOL": 8, "F6_E2M3": 6}

Tensors = dict[str, tuple[str, list[int]]]


def header(tensors: Tensors) -> tuple[dict[str, Any], int]:
    told, at = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = BITS[dtype]
        for length in shape:
            size *= length
        told[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size // 8]}
        at += size // 8
    return told, at


def write_tensors(path: Path, tensors: Tensors, *, cut: int = 0) -> int:
    told, size = header(tensors)
    text = json.dumps({"__metadata__": {"format": "pt"}, **told}).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size - cut)
    return size


def folder(
    tmp_path: Path, files: dict[str, Tensors], config: dict[str, Any] | None = None, *, index: bool = True
) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config or LLAMA), encoding="utf-8")
    for name, tensors in files.items():
        write_tensors(tmp_path / name, tensors)
    if index and len(files) > 1:
        places = {tensor: name for name, tensors in files.items() for tensor in tensors}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    return tmp_path


def parts(model: Model) -> dict[str, tuple[int, int, str, str, bool]]:
    return {each.part: (each.parameters, each.size, each.split, each.place, each.scales) for each in model.weights}


PLAIN: Tensors = {
    "model.embed_tokens.weight": ("BF16", [100, 64]),
    "model.layers.0.self_attn.q_proj.weight": ("BF16", [64, 64]),
    "model.layers.0.self_attn.k_proj.weight": ("BF16", [32, 64]),
    "model.layers.0.self_attn.v_proj.weight": ("BF16", [32, 64]),
    "model.layers.0.self_attn.o_proj.weight": ("BF16", [64, 64]),
    "model.layers.0.mlp.gate_proj.weight": ("BF16", [128, 64]),
    "model.layers.0.mlp.up_proj.weight": ("BF16", [128, 64]),
    "model.layers.0.mlp.down_proj.weight": ("BF16", [64, 128]),
    "model.layers.0.input_layernorm.weight": ("BF16", [64]),
    "model.layers.0.post_attention_layernorm.weight": ("BF16", [64]),
    "model.norm.weight": ("BF16", [64]),
    "lm_head.weight": ("BF16", [100, 64]),
}


def elements(tensors: Tensors) -> int:
    total = 0
    for _, shape in tensors.values():
        product = 1
        for length in shape:
            product *= length
        total += product
    return total


def test_every_byte_of_one_file_is_a_weight(kvcalc: Kvcalc, tmp_path: Path) -> None:
    where = folder(tmp_path, {"model.safetensors": PLAIN})
    model = load_model(where)
    assert sum(part.size for part in model.weights) == 2 * elements(PLAIN)
    assert model.parameters == elements(PLAIN)  # counted from config.json
    assert parts(model)["embedding, bf16"] == (6400, 12800, "tp", "embedding", False)
    assert parts(model)["output head, bf16"] == (6400, 12800, "tp", "head", False)
    found = json.loads(kvcalc("estimate", str(where), "-c", "16", "--json").stdout)
    assert found["memory"]["weights_bytes"] == 2 * elements(PLAIN)
    assert not any("files hold" in note for note in texts(found["notes"]))


def test_a_config_json_reads_the_files_of_its_folder(tmp_path: Path) -> None:
    where = Path(folder(tmp_path, {"model.safetensors": PLAIN}))
    assert load_model(where / "config.json") == load_model(where)
    assert load_model(where / "config.json").weights
    (where / "config.json").rename(where / "other.json")
    assert load_model(where / "other.json").weights == ()


def test_shards_with_an_index(tmp_path: Path) -> None:
    names = list(PLAIN)
    files = {
        "model-00001-of-00002.safetensors": {name: PLAIN[name] for name in names[:5]},
        "model-00002-of-00002.safetensors": {name: PLAIN[name] for name in names[5:]},
    }
    for index in (True, False):
        where = folder(tmp_path, files, index=index)
        assert sum(part.size for part in load_model(where).weights) == 2 * elements(PLAIN)


def test_what_an_import_writes_has_the_same_weights(tmp_path: Path) -> None:
    found = find_model(str(folder(tmp_path, {"model.safetensors": PLAIN})))
    again = validated(Model, parse_yaml(found.text, "written.yaml"))
    assert again.weights == found.model.weights
    assert "# 12,800 bytes, from the tensors' names and dtypes" in found.text


def test_quantised_files_tell_what_config_json_does_not(kvcalc: Kvcalc, tmp_path: Path) -> None:
    config = {**LLAMA, "model_type": "deepseek_v3", "n_routed_experts": 2, "num_experts_per_tok": 1}
    config |= {"kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16, "q_lora_rank": None}
    config |= {
        "moe_intermediate_size": 64,
        "num_nextn_predict_layers": 1,
        "n_shared_experts": 1,
        "first_k_dense_replace": 0,
    }
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    tensors: Tensors = {
        "model.embed_tokens.weight": ("BF16", [100, 64]),
        "model.layers.0.mlp.experts.0.up_proj.weight": ("F8_E4M3", [64, 64]),
        "model.layers.0.mlp.experts.0.up_proj.weight_scale_inv": ("F32", [1, 1]),
        "model.layers.0.mlp.shared_experts.up_proj.weight": ("F8_E4M3", [64, 64]),
        "model.layers.1.mlp.experts.0.up_proj.weight": ("F8_E4M3", [64, 64]),
        "model.layers.1.eh_proj.weight": ("BF16", [64, 128]),
        "lm_head.weight": ("BF16", [100, 64]),
    }
    where = folder(tmp_path, {"model.safetensors": tensors}, config)
    assert parts(load_model(where)) == {
        "embedding, bf16": (6400, 12800, "tp", "embedding", False),
        "experts, fp8": (4096, 4096, "ep", "layers", False),
        "scales of experts, fp32": (1, 4, "ep", "layers", True),
        "layers, fp8": (4096, 4096, "tp", "layers", False),
        "output head, bf16": (6400, 12800, "tp", "head", False),
    }
    blocks = {part.part: part.weight_block_size for part in load_model(where).weights}
    assert blocks["experts, fp8"] == blocks["layers, fp8"] == 128
    assert {blocks[part] for part in blocks if "fp8" not in part} == {None}
    assert "weight_block_size: 128" in find_model(str(where)).text
    notes = texts(json.loads(kvcalc("estimate", str(where), "-c", "16", "--json").stdout)["notes"])
    assert "20,480 bytes of layers that predict further tokens are left out of the weights" in notes
    assert not any("does not say what each tensor takes" in note for note in notes)


def test_words_and_towers_and_tied_heads(tmp_path: Path) -> None:
    tensors: Tensors = {
        **{name: about for name, about in PLAIN.items() if "q_proj" not in name},
        "model.layers.0.self_attn.q_proj.qweight": ("I32", [8, 64]),
        "model.layers.0.self_attn.q_proj.scales": ("F16", [1, 64]),
        "model.layers.0.self_attn.q_proj.g_idx": ("I32", [64]),
        "model.layers.0.mlp.experts.down_proj_blocks": ("U8", [2, 64, 16]),
        "vision_tower.layers.7.weight": ("BF16", [10, 10]),
        "model.visual.blocks.3.weight": ("F32", [10]),
        "empty": ("F32", [0]),
    }
    found = load_model(folder(tmp_path, {"model.safetensors": tensors}, {**LLAMA, "tie_word_embeddings": True}))
    told = parts(found)
    assert told["layers, int32"] == (512, 2048, "tp", "layers", False)
    assert told["scales of layers, fp16"] == (64, 128, "tp", "layers", True)
    assert told["scales of layers, int32"] == (64, 256, "tp", "layers", True)
    assert told["experts, uint8"] == (2048, 2048, "ep", "layers", False)
    assert told["towers for images or sound, bf16"] == (100, 200, "tp", "embedding", False)
    assert told["towers for images or sound, fp32"] == (10, 40, "tp", "embedding", False)
    assert not any("head" in part for part in told)
    assert next(iter(told)).startswith("embedding")
    notes = {each.code: each for each in find_model(str(tmp_path)).notes}
    assert notes["weights-left-out"].text.startswith("12,800 bytes of an output head that is the embedding again")
    assert notes["weights-left-out"].data == {"part": "output head", "bytes": 12_800}
    assert "config.json describes" in notes["elements-differ"].text


def fp8_tensors(values: dict[str, Any]) -> Iterator[StoredTensor]:
    """A checkpoint as DeepSeek publishes them: projections in blocks of 128 x 128 fp8 values and a scale, others bf16.

    Shapes are those of transformers' class, whose experts are one tensor where files have one for each.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    own = {
        key: value for key, value in values.items() if key not in {"model_type", "quantization_config", "torch_dtype"}
    }
    config = CONFIG_MAPPING[values["model_type"]](**own)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]  # untyped there

    def quantised(name: str, rows: int, columns: int) -> Iterator[StoredTensor]:
        yield StoredTensor(f"{name}.weight", "fp8", rows * columns, rows * columns)
        scales = -(-rows // 128) * -(-columns // 128)
        yield StoredTensor(f"{name}.weight_scale_inv", "fp32", scales, 4 * scales)

    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        if len(shape) == 3:
            for expert in range(shape[0]):
                for part in ("gate", "up") if "gate_up" in name else ("down",):
                    rows = shape[1] // 2 if "gate_up" in name else shape[1]
                    yield from quantised(f"{name}.{expert}.{part}", rows, shape[2])
        elif len(shape) == 2 and not name.endswith(("embed_tokens.weight", "lm_head.weight", "gate.weight")):
            yield from quantised(name.removesuffix(".weight"), shape[0], shape[1])
        else:
            yield StoredTensor(name, "bf16", parameter.numel(), 2 * parameter.numel())


@pytest.mark.parametrize("hub_id", ["deepseek-ai/DeepSeek-V3", "MiniMaxAI/MiniMax-M2.5"])
@pytest.mark.torch
def test_a_checkpoint_s_tensors_give_the_parts_that_the_catalogue_has(hub_id: str) -> None:
    configs = json.loads((DATA / "configs.json").read_text(encoding="utf-8"))
    catalogue = load_model(hub_id)
    found = weights_of(fp8_tensors(configs[hub_id]), catalogue.num_layers, head="own", shown="x", block=128)

    assert summed(found.parts) == summed(catalogue.weights)


def summed(parts: Iterable[WeightPart]) -> dict[tuple[str, str, str, bool, int | None], int]:
    """Parameters of parts that are alike; names of tensors do not tell what tensor-parallel ranks copy of a stage."""
    totals: dict[tuple[str, str, str, bool, int | None], int] = {}
    for part in parts:
        split = "tp" if part.split == "stage" else part.split
        key = part.format, split, part.place, part.scales, part.weight_block_size
        totals[key] = totals.get(key, 0) + part.parameters
    return totals


ROLES = {
    "transformer.wte.weight": "embedding",
    "gpt_neox.embed_in.weight": "embedding",
    "backbone.embeddings.weight": "embedding",
    "transformer.embedding.word_embeddings.weight": "embedding",
    "transformer.word_embeddings.weight": "embedding",
    "word_embeddings_layernorm.weight": "layers",
    "transformer.wpe.weight": "layers",
    "lm_head.linear.weight": "output head",
    "embed_out.weight": "output head",
    "output.weight": "output head",
    "transformer.output_layer.weight": "output head",
    "model.layers.0.self_attn.output.weight_norm": "layers",
    "blk.0.attn_output.weight": "layers",
    "model.layers.0.block_sparse_moe.experts.7.w1.weight": "experts",
    "model.layers.0.block_sparse_moe.input_linear.weight": "experts",
    "model.layers.0.mlp.shared_experts.up_proj.weight": "layers",
    "blk.0.ffn_up_exps.weight": "experts",
    "blk.0.ffn_up_shexp.weight": "layers",
    "model.layers.0.mlp.gate.weight": "layers",
    "model.vision_tower.encoder.layers.26.mlp.weight": "towers for images or sound",
    "visual.blocks.31.attn.proj.weight": "towers for images or sound",
    "model.layers.1.mlp.up_proj.weight": "",
    "model.mtp.layers.0.mlp.up_proj.weight": "",
    "mtp.fc.weight": "",
    "model.language_model.layers.0.ple.ple_embedding.ngram_embedding.shard_7.weight": "tables of n-grams",
    "layers.0.engram.embed.weight": "tables of n-grams",
    "layers.0.engram.wk.weight": "layers",
}


@pytest.mark.parametrize("name", ROLES)
def test_a_tensor_s_name_says_where_it_belongs(name: str) -> None:
    found = weights_of([StoredTensor(name, "bf16", 8, 16)], 1, head="own", shown="x")
    assert [part.part for part in found.parts] == ([f"{ROLES[name]}, bf16"] if ROLES[name] else [])
    assert [part.ngrams for part in found.parts] == [each.startswith("tables") for each in filter(None, [ROLES[name]])]
    assert all(part.ngrams == ("ngrams: true" in weight_line(part)) for part in found.parts)


@pytest.mark.torch
def test_the_format_s_own_library_writes_what_is_read(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    kinds = [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int8]
    kinds += [torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool, torch.float64]
    tensors = {str(kind): torch.zeros(3, 5, dtype=kind) for kind in kinds}
    save_file(tensors, tmp_path / "mine.safetensors")
    found = {tensor.name: tensor.size for tensor in file_header(tmp_path / "mine.safetensors", "mine")}
    assert found == {name: tensor.numel() * tensor.element_size() for name, tensor in tensors.items()}


def broken(tmp_path: Path, case: str) -> None:
    path = tmp_path / "model.safetensors"
    if case == "cut off":
        write_tensors(path, PLAIN, cut=1)
    elif case == "a pointer":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", encoding="utf-8")
    elif case == "empty":
        path.write_bytes(b"")
    elif case == "a header of 2^63 bytes":
        path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    elif case == "a header longer than the file":
        path.write_bytes((10**7).to_bytes(8, "little") + b"{}")
    else:
        text = TEXTS[case].encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text)


TEXTS = {
    "no JSON": "{nothing",
    "a list": "[]",
    "a name twice": '{"a": {}, "a": {}}',
    "an unknown dtype": '{"a": {"dtype": "F3", "shape": [1], "data_offsets": [0, 1]}}',
    "no dtype": '{"a": 5}',
    "a shape of words": '{"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}',
    "a negative length": '{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
    "other bytes than its shape": '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
    "a length beyond all": '{"a": {"dtype": "F32", "shape": [9999999999999], "data_offsets": [0, 4]}}',
    "a hundred dims": '{"a": {"dtype": "F32", "shape": [' + ",".join(["9"] * 100) + '], "data_offsets": [0, 4]}}',
    "one offset": '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4]}}',
}
MESSAGES = {
    "cut off": "cut off, or not whole",
    "a pointer": "a Git LFS pointer: the file itself was not downloaded",
    "empty": "not a safetensors file",
    "a header of 2^63 bytes": "not a safetensors file",
    "a header longer than the file": "cut off, or not whole",
    "no JSON": "not JSON",
    "a list": "expected keys and values",
    "a name twice": "key 'a' is given twice",
    "an unknown dtype": "tensor 'a': dtype F3 is not known",
    "no dtype": "dtype None is not known",
    "a shape of words": "no shape and data_offsets",
    "a negative length": "no shape and data_offsets",
    "other bytes than its shape": "4 bytes, and its shape in F32 takes 8",
    "a length beyond all": "a shape that no tensor has",
    "a hundred dims": "a shape that no tensor has",
    "one offset": "no shape and data_offsets",
}


@pytest.mark.parametrize("case", MESSAGES)
def test_a_broken_file_is_refused(kvcalc: Kvcalc, tmp_path: Path, case: str) -> None:
    folder(tmp_path, {})
    broken(tmp_path, case)
    run = kvcalc("estimate", str(tmp_path))
    assert (run.code, run.stdout) == (2, "")
    assert MESSAGES[case] in run.stderr
    alone = kvcalc("estimate", str(tmp_path / "config.json"), "-c", "16")  # without the files
    assert alone.code == 0
    assert f"its *.safetensors files are not read: {tmp_path}" in alone.stderr
    assert "files-not-read" in {each.code for each in find_model(str(tmp_path / "config.json")).notes}


def test_an_index_names_files_that_are_there(kvcalc: Kvcalc, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside.safetensors"
    write_tensors(outside, PLAIN)
    folder(tmp_path, {"model.safetensors": PLAIN})
    index = tmp_path / "model.safetensors.index.json"
    for name in ("../outside.safetensors", str(outside), "nowhere.safetensors"):
        index.write_text(json.dumps({"weight_map": {"a": name}}), encoding="utf-8")
        run = kvcalc("estimate", str(tmp_path))
        assert run.code == 2
        assert "which is not there (1 of 1 files are missing)" in run.stderr
    for text in ("{}", '{"weight_map": {}}', '{"weight_map": {"a": 5}}'):
        index.write_text(text, encoding="utf-8")
        assert "it has no weight_map" in kvcalc("estimate", str(tmp_path)).stderr


def test_several_checkpoints_in_one_folder_are_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    folder(tmp_path, {"one.safetensors": PLAIN, "two.safetensors": PLAIN}, index=False)
    assert "which belong together" in kvcalc("estimate", str(tmp_path)).stderr
    folder(tmp_path, {"model.safetensors": PLAIN})
    assert kvcalc("estimate", str(tmp_path), "-c", "16").code == 0


def test_a_part_of_the_files_is_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    folder(tmp_path, {"model-00001-of-00002.safetensors": PLAIN})
    assert "1 of 2 *.safetensors files; the others are not there" in kvcalc("estimate", str(tmp_path)).stderr
    write_tensors(tmp_path / "model-00003-of-00002.safetensors", PLAIN)
    assert "the others are not there" in kvcalc("estimate", str(tmp_path)).stderr


def test_files_without_some_layers_are_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    folder(tmp_path, {"model.safetensors": PLAIN}, {**LLAMA, "num_hidden_layers": 3})
    run = kvcalc("estimate", str(tmp_path), "-c", "16")
    assert (run.code, run.stdout) == (2, "")
    assert "no tensors of 2 of its 3 layers (the first is layer 1)" in run.stderr
    other = {name.replace("model.layers.0", "blocks.0"): form for name, form in PLAIN.items()}
    tower: Tensors = {"vision_tower.layers.0.weight": ("BF16", [8, 8]), "vision_tower.layers.7.weight": ("BF16", [8])}
    write_tensors(tmp_path / "model.safetensors", {**other, **tower})  # names that do not tell
    assert kvcalc("estimate", str(tmp_path), "-c", "16").code == 0


def test_an_output_head_that_the_class_lacks_is_not_loaded(tmp_path: Path) -> None:
    config = {**LLAMA, "architectures": ["LlamaForSequenceClassification"], "num_labels": 1}
    where = folder(tmp_path, {"model.safetensors": {**PLAIN, "score.weight": ("BF16", [1, 64])}}, config)
    found = find_model(str(where))
    assert sum(part.size for part in found.model.weights) == 2 * (elements(PLAIN) - 6400 + 64)
    assert "12,800 bytes of an output head that its class does not have are left out of the weights" in texts(
        found.notes
    )
    assert not any("config.json describes" in note for note in texts(found.notes))


def test_a_draft_has_an_output_head_of_its_own(tmp_path: Path) -> None:
    config = {**LLAMA, "architectures": ["Eagle3LlamaForCausalLM"], "tie_word_embeddings": True, "draft_vocab_size": 50}
    tensors: Tensors = {
        "fc.weight": ("BF16", [64, 192]),
        "midlayer.self_attn.q_proj.weight": ("BF16", [64, 128]),
        "midlayer.self_attn.k_proj.weight": ("BF16", [32, 128]),
        "midlayer.self_attn.v_proj.weight": ("BF16", [32, 128]),
        "midlayer.self_attn.o_proj.weight": ("BF16", [64, 64]),
        "midlayer.mlp.gate_proj.weight": ("BF16", [128, 64]),
        "midlayer.mlp.up_proj.weight": ("BF16", [128, 64]),
        "midlayer.mlp.down_proj.weight": ("BF16", [64, 128]),
        "midlayer.input_layernorm.weight": ("BF16", [64]),
        "midlayer.hidden_norm.weight": ("BF16", [64]),
        "midlayer.post_attention_layernorm.weight": ("BF16", [64]),
        "norm.weight": ("BF16", [64]),
        "lm_head.weight": ("BF16", [50, 64]),
    }
    found = find_model(str(folder(tmp_path, {"model.safetensors": tensors}, config)))
    assert sum(part.size for part in found.model.weights) == 2 * elements(tensors)
    assert found.model.parameters == elements(tensors)


def test_an_adapter_is_no_checkpoint(tmp_path: Path) -> None:
    where = folder(tmp_path, {"adapter_model.safetensors": {"lora": ("BF16", [8, 8])}})
    assert load_model(where).weights == ()
    write_tensors(tmp_path / "model.safetensors", PLAIN)
    assert sum(part.size for part in load_model(where).weights) == 2 * elements(PLAIN)


def test_a_scale_s_block_that_cannot_be_is_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    for sizes in (7, [], ["x"], [128, 0], [True]):
        config = {**LLAMA, "quantization_config": {"quant_method": "fp8", "weight_block_size": sizes}}
        run = kvcalc("estimate", str(folder(tmp_path, {"model.safetensors": PLAIN}, config)))
        assert (run.code, run.stdout) == (2, "")
        assert "weight_block_size is" in run.stderr


def test_a_tensor_in_two_files_is_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    files = {f"model-0000{number}-of-00002.safetensors": PLAIN for number in (1, 2)}
    folder(tmp_path, files, index=False)
    assert "is there twice" in kvcalc("estimate", str(tmp_path)).stderr


@examples(200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.one_of(st.text(max_size=12), st.sampled_from(list(PLAIN))),
        st.tuples(st.sampled_from(sorted(BITS)), st.lists(st.integers(0, 40).map(lambda n: 8 * n), max_size=3)),
        max_size=6,
    )
)
def test_any_tensors_are_counted_to_the_byte(tmp_path: Path, tensors: Tensors) -> None:
    tensors = {name: (dtype, [8, *shape]) for name, (dtype, shape) in tensors.items() if name != "__metadata__"}
    size = write_tensors(tmp_path / "any.safetensors", tensors)
    assert sum(tensor.size for tensor in file_header(tmp_path / "any.safetensors", "any")) == size


@examples(300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 40))
def test_any_bytes_are_a_refusal_or_tensors(tmp_path: Path, noise: bytes, at: int) -> None:
    path = tmp_path / "noise.safetensors"
    write_tensors(path, {"a": ("F32", [2])})
    whole = path.read_bytes()
    for data in (noise, whole[:at] + noise + whole[at:], whole[:at] + noise + whole[at + len(noise) :]):
        path.write_bytes(data)
        with suppress(KvcalcError):
            file_header(path, "noise")


def test_a_checkpoint_of_many_tensors_takes_little_memory(tmp_path: Path) -> None:
    shards, each = 16, 500
    name = "model.layers.{}.block_sparse_moe.experts.{}.w1.weight_packed"
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "num_hidden_layers": shards}), encoding="utf-8")
    places: dict[str, str] = {}
    for number in range(shards):
        told: Tensors = {name.format(number, expert): ("BF16", [8]) for expert in range(each)}
        write_tensors(tmp_path / f"{number}.safetensors", told)
        places |= dict.fromkeys(told, f"{number}.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    tracemalloc.start()
    headers = folder_headers(tmp_path, "x")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert headers is not None
    assert (sum(tensor.size for tensor in headers.tensors), len(headers.tensors)) == (shards * each * 16, shards)
    assert most < 2_500_000  # of 8,000 tensors; an index of 0.75 MB and one header are among them


def refusal_of(place: Path) -> str:
    with pytest.raises(KvcalcError) as refused:
        load_model(place)
    return str(refused.value)


def test_a_header_that_is_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder(tmp_path, {})
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write((90_000_000).to_bytes(8, "little"))
        file.truncate(90_000_008)
    tracemalloc.start()
    message = refusal_of(tmp_path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "model.safetensors: a header of 90,000,000 bytes is beyond the limit of 16,000,000" in message
    assert most < 5_000_000


def test_headers_that_are_too_long_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(PLAIN)
    files = {f"model-0000{at + 1}-of-00002.safetensors": {name: PLAIN[name] for name in names[at::2]} for at in (0, 1)}
    folder(tmp_path, files)
    monkeypatch.setattr(safetensors, "MAX_HEADERS", 1_000)
    assert "headers of more than 1,000 bytes in all" in refusal_of(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(tensors_module, "MAX_TENSORS", 11)
    assert "more than 11 tensors" in refusal_of(tmp_path)


def test_a_text_of_many_values_is_refused_before_it_is_read() -> None:
    text = '{"a": [' + "[]," * 1_500_000 + "1]}"
    tracemalloc.start()
    with pytest.raises(KvcalcError, match="more than 1,500,000 values"):
        parse_mapping(text, "x")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1_000_000


INDEXES = {
    '{"weight_map": {"t": "model.safetensors"}}': None,
    '{"a": {"weight_map": {}}, "weight_map": {"t": "a"}}': "it has no weight_map of a file for each tensor",
    ' {"metadata": {"x": "{\\"weight_map\\": {"},\n"weight_map" : { "\\u0074" :\t"model.s\\u0061fetensors" } }\n': None,
    '{"weight_map": {"t": "model.safetensors", }}': "it has no weight_map of a file for each tensor",
    '{"weight_map": {"t": 1}}': "it has no weight_map of a file for each tensor",
    '{"weight_map": {}}': "it has no weight_map of a file for each tensor",
    '{"weight_map": {"t": "model.safetensors"': "it has no weight_map of a file for each tensor",
    '{"weight_map": {"t": "\\q"}}': "not JSON",
    '{"weight_map": {"t": "model.safetensors"}': "not JSON",
    '{"weight_map": {"t": "model.safetensors"}, "weight_map": {"t": "b"}}': "key 'weight_map' is given twice",
    '{"x": {"weight_map": {"t": "model.safetensors"}}}': "it has no weight_map",
    '["weight_map"]': "it has no weight_map",
    "": "it has no weight_map",
}


@pytest.mark.parametrize("text", INDEXES)
def test_an_index_is_read_or_refused(tmp_path: Path, text: str) -> None:
    folder(tmp_path, {"model.safetensors": PLAIN})
    (tmp_path / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    message = INDEXES[text]
    if message is None:
        assert sum(part.size for part in load_model(tmp_path).weights) == 2 * elements(PLAIN)
    else:
        assert message in refusal_of(tmp_path)


def test_an_index_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, {"a.safetensors": PLAIN, "b.safetensors": {}})
    monkeypatch.setattr(safetensors, "MAX_FILES", 0)
    assert "more than 0 files" in refusal_of(tmp_path)
    monkeypatch.setattr(safetensors, "MAX_INDEX", 10)
    assert "larger than 10 bytes" in refusal_of(tmp_path)
