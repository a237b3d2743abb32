"""Repositories that have a model's sizes: a list with one line a model, which names no repository twice."""

from __future__ import annotations

import re

import pytest
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


def test_a_listed_name_with_more_words_is_another() -> None:
    with pytest.raises(KvcalcError, match="no file, name or hub id"):
        find_model("GritLM/GritLM-8x7B-KTO-pruned")
