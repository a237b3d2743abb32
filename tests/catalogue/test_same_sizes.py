"""Repositories that have a model's sizes: a list with one line a model, which names no repository twice."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT
from each import for_each

from kvcalc.catalogue import find_model, meant_model, model_names, shipped
from kvcalc.catalogue.same_sizes import NAME
from kvcalc.errors import KvcalcError

LINES = [line.split("\t") for line in (shipped.CONFIGS / NAME).read_text(encoding="utf-8").splitlines()]
LISTED = [(repository, model) for model, repositories in LINES for repository in repositories.split(" ")]


def test_every_line_is_of_a_model_and_every_repository_is_listed_once() -> None:
    models = [model for model, _ in LINES]
    assert models == sorted(set(models))
    assert set(models) <= set(model_names())
    lowered = [repository.lower() for repository, _ in LISTED]
    assert len(set(lowered)) == len(lowered)
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", each) for each in lowered)


def test_no_repository_is_a_model_of_its_own() -> None:
    own = {
        each.lower() for name in model_names() for each in shipped.read_model(shipped.MODELS / f"{name}.yaml").hub_ids
    }
    assert not own & {repository.lower() for repository, _ in LISTED}


NAMED_OTHERWISE = {
    "CentIo/Cent1-1B": 1720574976,
    "CMSManhattan/JiRackUltra_1b": 1777088000,
    "Salesforce/xLAM-2-1b-fc-r": 1543714304,
    "ali-arshiya/meoinGTS1.5-1.5B": 494032768,
    "samueljayasingh/DarkQwen3_5_0_8B": 852985920,
}
"""Whose names say another size than the Hub counts of their weights."""


def test_the_sizes_that_a_name_says_are_the_models() -> None:
    otherwise = set()
    for repository, model in LISTED:
        name = repository.partition("/")[2].lower()
        parameters = shipped.read_model(shipped.MODELS / f"{model}.yaml").parameters
        assert parameters is not None
        said = {float(each) for each in re.findall(r"(?<![a-z\d.])e?(\d+(?:\.\d+)?)b(?![a-z\d])", name)}
        known = {float(each) for each in re.findall(r"(\d+(?:\.\d+)?)b", model)}
        if said and not said & known and not any(abs(each * 10**9 - parameters) < 0.16 * parameters for each in said):
            otherwise.add((repository, parameters))
        active = set(re.findall(r"(?<![a-z\d])a(\d+(?:\.\d+)?)b(?![a-z\d])", name))
        assert not active or active & set(re.findall(r"-a(\d+(?:\.\d+)?)b", model)), repository
    assert otherwise == set(NAMED_OTHERWISE.items())


def test_the_document_says_how_many_they_are() -> None:
    assert f"{len(LISTED):,} fine-tunes and copies" in (ROOT / "docs/models.md").read_text(encoding="utf-8")


def test_no_copy_has_a_format_that_its_name_does_not_tell() -> None:
    told = re.compile(r"jang_|-oq\d|-ud-|-dynamic-bnb|lossytensors|elastic|mixed")
    assert not [each for each, _ in LISTED if told.search(each.lower())]


# Pruned, grown or with another number of experts for each token, by their own names or the Hub's tables.
@for_each(
    "typed",
    [
        "tengsnake/Llama-Guard-4-12B-NVFP4",
        "DavidAU/Qwen3-30B-A6B-16-Extreme",
        "LLMWildling/Nemotron-175b-A13b-Coder-NVFP4",
        "locailabs/Juno-N-Coder-25B-A3B-FP8",
        "5E1Labs/LongShuV3-Qwen3.5-122B-A10B-GameDev-MLX-4bit",
    ],
)
def test_a_model_cut_or_grown_from_another_is_not_that_one(typed: str) -> None:
    with pytest.raises(KvcalcError, match="no file, name or hub id"):
        find_model(typed)


def test_weights_are_stored_as_they_were_trained() -> None:
    plain = {"bf16", "fp16", "fp32"}
    for model, _ in LINES:
        read = shipped.read_model(shipped.MODELS / f"{model}.yaml")
        assert {part.format for part in read.weights} <= plain
        assert (read.weight_dtype or read.dtype or "bf16") in plain


# Each by its own config.json and the Hub's count of its weights, as people who made them say.
@for_each(
    ("typed", "model"),
    [
        ("instruction-pretrain/finance-Llama3-8B", "llama-3-8b"),
        ("GritLM/GritLM-8x7B-KTO", "mixtral-8x7b-v0.1"),
        ("nvidia/nemotron-terminal-8b", "qwen3-8b"),
        ("Qwen/WebWorld-8B", "qwen3-8b"),
        ("https://huggingface.co/Sao10K/L3-8B-Lunaris-v1", "llama-3-8b"),
        ("L3-8B-Lunaris-v1", "llama-3-8b"),
    ],
)
def test_a_repository_is_known_by_the_sizes_that_it_has(typed: str, model: str) -> None:
    found = find_model(typed)
    meant = meant_model(typed)
    assert meant is not None
    assert (found.model.name, meant.name) == (model, model)
    (told,) = found.notes
    assert f"has the sizes of {model} on the Hub" in told.text


@for_each(
    ("typed", "model", "stored"),
    [
        ("mlx-community/Josiefied-Qwen3-8B-abliterated-v1-4bit", "qwen3-8b", "mlx_4bit"),
        ("dangvansam/chandra-ocr-2-NVFP4", "qwen3.5-4b", "nvfp4"),
        ("Jackrong/Qwopus3.6-27B-Coder-FP8", "qwen3.6-27b", "fp8"),
    ],
)
def test_a_quantised_copy_is_stored_as_its_name_says(typed: str, model: str, stored: str) -> None:
    found = find_model(typed)
    assert (found.model.name, found.model.weight_dtype) == (model, stored)
    assert {note.code for note in found.notes} == {"model-by-name", "weights-by-name"}


def test_no_copy_is_listed_whose_format_is_not_known() -> None:
    assert not [each for each, _ in LISTED if re.search(r"gguf|exl\d|lora|bpw", each.lower())]


@for_each("bare", ["title", "zero", "pip", "fine_tuned_coder", "reasoning-finetuned-model", "grok-oss"])
def test_a_name_that_may_be_anything_needs_its_organisation(bare: str) -> None:
    assert any(repository.lower().endswith(f"/{bare}") for repository, _ in LISTED)
    with pytest.raises(KvcalcError, match="no file, name or hub id"):
        find_model(bare)


def test_a_listed_name_with_more_words_is_another() -> None:
    with pytest.raises(KvcalcError, match="no file, name or hub id"):
        find_model("GritLM/GritLM-8x7B-KTO-pruned")
