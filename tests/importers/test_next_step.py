"""Every refusal of a file ends with a command that works when it is pasted, or says that nothing is kept."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from config_files import LLAMA, refusal
from gguf_files import LLAMA as GGUF_LLAMA
from gguf_files import write
from test_config_refusals import ELSEWHERE, REFUSALS

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Kvcalc

FILES: dict[str, dict[str, Any]] = {
    **REFUSALS,
    **{name: values for name, (values, _) in ELSEWHERE.items()},
    "encoder": {"model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "adapter": {"peft_type": "LORA", "r": 8, "base_model_name_or_path": "meta-llama/Meta-Llama-3-8B"},
    "two to decide": {**LLAMA, "sliding_window": 4096, "attention_chunk_size": 128},
    "n_kv_heads": {**{k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}, "n_kv_heads": 8},
    "no JSON": {},
}


@pytest.mark.parametrize("name", FILES)
def test_the_next_step_works(name: str, tmp_path: Path, kvcalc: Kvcalc) -> None:
    file = tmp_path / "it's a model.json"
    file.write_text(json.dumps(FILES[name]), encoding="utf-8")
    refused = kvcalc("estimate", str(file))
    assert refused.code == 2
    last = next(line for line in reversed(refused.stderr.splitlines()) if line.startswith(("next:", "error:")))
    if "keeps no cache" in refused.stderr:
        assert "next:" not in refused.stderr
        return
    assert last.startswith("next: kvcalc ")
    assert kvcalc(*shlex.split(last.removeprefix("next: kvcalc "))).code == 0


def test_a_step_takes_what_the_message_lets_a_user_assume(tmp_path: Path, kvcalc: Kvcalc) -> None:
    def step(name: str) -> str:
        file = tmp_path / "model.json"
        file.write_text(json.dumps(FILES[name]), encoding="utf-8")
        return kvcalc("estimate", str(file)).stderr.rpartition("next: ")[2].strip().replace(str(file), "FILE")

    both = "--assume attention_chunk_size=null --assume sliding_window=null"
    assert step("two to decide") == f"kvcalc estimate FILE {both}"
    assert step("n_kv_heads") == "kvcalc estimate FILE --assume num_key_value_heads=8"
    file = tmp_path / "model.json"
    file.write_text(json.dumps({**LLAMA, "layer_types": ["conv"] * 2}), encoding="utf-8")
    assert kvcalc("estimate", str(file)).stderr.endswith("next: kvcalc models schema\n")  # never layers assumed away
    assert step("adapter") == "kvcalc estimate meta-llama/Meta-Llama-3-8B"
    assert step("'step5' is a model whose indexer pools keys") == "kvcalc models schema"


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"learning_rate": 2e-4, "quantization": "none", "lora_r": 16}, "a list of settings of training"),
        ({"_from_model_config": True, "eos_token_id": 2}, "a list of settings of generation"),
        ({"word_embedding_dimension": 1024, "pooling_mode_cls_token": False}, "a file of sentence-transformers"),
        ({"version": "1.0", "truncation": None, "model": {"type": "BPE"}}, "a tokenizer's file"),
        ({"bos_token": "<s>", "tokenizer_class": "LlamaTokenizer"}, "a tokenizer's file"),
        ({"bos_token": {"content": "<s>"}}, "a list of special tokens"),
        ({"global_step": 100, "log_history": []}, "a trainer's record"),
        ({"tokenizer": "roberta-large", "size": 294, "vocab_size": 50265}, "a preprocessor's file"),
    ],
)
def test_files_that_lie_beside_a_config_are_told_apart(values: dict[str, Any], what: str) -> None:
    assert f"it is {what}; name the config.json beside it" in refusal(values)


def test_a_file_beside_a_config_leads_to_it(tmp_path: Path, kvcalc: Kvcalc) -> None:
    quantised = tmp_path / "hf_quant_config.json"
    quantised.write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}), encoding="utf-8")
    alone = kvcalc("estimate", str(quantised)).stderr
    assert "a list of what is quantised; name the config.json beside it" in alone
    assert alone.endswith("next: kvcalc models schema\n")
    (tmp_path / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    step = kvcalc("estimate", str(quantised)).stderr.rpartition("next: kvcalc ")[2]
    assert shlex.split(step) == ["estimate", str(tmp_path / "config.json")]
    assert kvcalc(*shlex.split(step)).code == 0


@pytest.mark.parametrize("broken", ["empty", "gone", "of another kind", "a shard is missing"])
def test_a_folder_whose_weights_cannot_be_read_leads_to_its_config(broken: str, tmp_path: Path, kvcalc: Kvcalc) -> None:
    folder = tmp_path / "it's a model"
    folder.mkdir()
    weights = folder / "model.safetensors"
    if broken == "gone":
        weights.symlink_to(folder / "nowhere")
    elif broken == "a shard is missing":
        index = {"weight_map": {"model.embed_tokens.weight": "a.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    else:
        weights.write_bytes(b"" if broken == "empty" else b"\x80pickled")
    (folder / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    for named in (str(folder), f"{folder}/"):
        step = kvcalc("estimate", named).stderr.rpartition("next: kvcalc ")[2]
        assert shlex.split(step) == ["estimate", str(folder / "config.json")]
        assert kvcalc(*shlex.split(step)).code == 0
    (folder / "config.json").write_text(json.dumps({**LLAMA, "num_hidden_layers": -1}), encoding="utf-8")
    assert kvcalc("estimate", str(folder)).stderr.endswith("next: kvcalc models schema\n")


@pytest.mark.parametrize(
    ("named", "family"),
    [
        ("LlamaForSequenceClassification", "llama"),
        ("LlamaModelForScore", "llama"),
        ("GPT2LMHeadCustomModel", None),
        ("TFGPT2LMHeadModel", "gpt2"),
        ("T5WithLMHeadModel", "t5"),
        ("RWForCausalLM", "falcon"),
        ("UnheardOfForCausalLM", None),
    ],
)
def test_a_file_without_a_type_is_read_by_the_class_that_it_names(named: str, family: str | None) -> None:
    said = refusal({**{k: v for k, v in LLAMA.items() if k != "model_type"}, "architectures": [named]})
    assert f"--assume model_type={family or 'NAME'} reads it as" in said


def test_a_folder_or_weights_lead_to_what_can_be_read(tmp_path: Path, kvcalc: Kvcalc) -> None:
    def step(name: Path) -> str:
        refused = kvcalc("estimate", str(name))
        assert refused.code == 2
        return refused.stderr.rpartition("next: kvcalc ")[2].strip()

    folder = tmp_path / "a folder"
    folder.mkdir()
    assert step(folder) == "models schema"
    (folder / "a-mmproj.gguf").touch()
    file = write(folder / "b.gguf", "llama", GGUF_LLAMA)
    assert shlex.split(step(folder)) == ["estimate", str(file)]
    assert kvcalc(*shlex.split(step(folder))).code == 0
    weights = folder / "model.safetensors"
    assert step(weights) == "models list"
    weights.touch()
    assert step(weights) == "models schema"
    (folder / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    assert shlex.split(step(weights)) == ["estimate", str(folder / "config.json")]
