"""What is typed where a model is asked for, and is something else; and the accelerators that a word names."""

from __future__ import annotations

import json

import pytest
from conftest import Kvcalc


@pytest.mark.parametrize(
    ("typed", "said", "step"),
    [
        ("h100", "is an accelerator; name a model", "gpus show h100-sxm"),
        ("RTX 3090", "is an accelerator", "gpus show rtx3090"),
        ("a100", "is an accelerator", "gpus show a100-40-pcie"),
        ("vllm@0.19", "is an engine", "explain vllm"),
        ("Q4_K", "is a format", "explain q4_k"),
        ("awq", "is a format", "explain awq"),
    ],
)
def test_something_else_is_said_to_be_that(kvcalc: Kvcalc, typed: str, said: str, step: str) -> None:
    told = kvcalc("estimate", typed)

    assert (told.code, told.stdout) == (2, "")
    assert said in told.stderr
    assert told.stderr.endswith(f"next: kvcalc {step}\n")
    assert kvcalc(*step.split()).code == 0


@pytest.mark.parametrize("typed", ["llama-h100", "someone/h100", "gemma", "m", "-"])
def test_what_may_be_a_model_is_not(kvcalc: Kvcalc, typed: str) -> None:
    told = kvcalc("estimate", "--", typed)

    assert told.code == 2
    assert "accelerator" not in told.stderr


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("h100", {"h100-94-sxm", "h100-96-sxm", "h100-nvl", "h100-pcie", "h100-sxm"}),
        ("GeForce RTX 4090", {"rtx4090", "rtx4090-d", "rtx4090-laptop"}),
        ("no such card", set()),
    ],
)
def test_accelerators_that_a_word_names(kvcalc: Kvcalc, word: str, names: set[str]) -> None:
    told = kvcalc("gpus", "list", word, "--json")

    assert told.code == 0
    assert {each["name"] for each in json.loads(told.stdout)["gpus"]} == names


def test_accelerators_of_a_vendor(kvcalc: Kvcalc) -> None:
    every, amd = (
        {each["name"] for each in json.loads(kvcalc("gpus", "list", *words, "--json").stdout)["gpus"]}
        for words in ((), ("amd",))
    )

    assert {"mi300x", "rx7900-xtx"} <= amd < every
    assert "h100-sxm" not in amd


def test_a_word_that_names_no_accelerator_is_told(kvcalc: Kvcalc) -> None:
    told = "no accelerator has that word in its name, vendor or architecture; kvcalc gpus list has all"
    assert told in kvcalc("gpus", "list", "abacus").stdout
