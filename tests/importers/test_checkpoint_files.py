"""A folder with config.json and *.safetensors: what the weights take, from headers alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from checkpoint_folders import BITS, LLAMA, PLAIN, Tensors, elements, folder, parts, write_tensors
from conftest import DATA, Kvcalc, texts
from fuzzing import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from kvcalc import KvcalcError, Model, load_model
from kvcalc.catalogue import find_model
from kvcalc.catalogue.validation import validated
from kvcalc.catalogue.yaml_reader import parse_yaml
from kvcalc.importers.model_yaml import weight_line
from kvcalc.importers.safetensors import file_header
from kvcalc.importers.tensors import StoredTensor
from kvcalc.importers.weight_parts import weights_of
from kvcalc.model.model import WeightPart


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
        model = AutoModelForCausalLM.from_config(config)

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
