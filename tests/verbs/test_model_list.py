"""kvcalc models list: by word, by kind, in an order, and those that an accelerator holds."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from conftest import Kvcalc

import kvcalc as package
from kvcalc.render.screens.listing import short


def listed(kvcalc: Kvcalc, *words: str) -> list[dict[str, Any]]:
    told = kvcalc("models", "list", *words, "--json")
    assert told.code == 0
    models: list[dict[str, Any]] = json.loads(told.stdout)["models"]
    return models


def names(models: list[dict[str, Any]]) -> list[str]:
    return [each["name"] for each in models]


def test_a_word_is_looked_for_in_every_name(kvcalc: Kvcalc) -> None:
    assert set(names(listed(kvcalc, "gpt-oss"))) >= {"gpt-oss-20b", "gpt-oss-120b"}
    assert "deepseek-v3" in names(listed(kvcalc, "deepseek-r1"))  # a name of it on the Hub
    assert names(listed(kvcalc, "Falcon 7B"))[0] == "falcon-7b"
    assert listed(kvcalc, "no such model") == []
    assert "qwen2.5-32b" not in names(listed(kvcalc, "qwen3"))  # qwen-32b without what stands between


def test_a_word_of_no_name_is_told_what_may_be_meant(kvcalc: Kvcalc) -> None:
    (note,) = json.loads(kvcalc("models", "list", "qwem3-8b", "--json").stdout)["notes"]
    assert (note["code"], note["data"]["names"][0]) == ("no-model-named", "qwen3-8b")
    assert note["text"].startswith("no model has 'qwem3-8b' in one of its names; did you mean 'qwen3-8b' or ")


def test_sizes_are_rounded_to_their_unit() -> None:
    """Gemma 3 1B has 999,885,952 parameters."""
    assert [short(each) for each in (999_885_952, 999_400_000, 1_026_000_000_000)] == ["1B", "999M", "1.03T"]


def test_kinds_are_of_any_layer(kvcalc: Kvcalc) -> None:
    found = listed(kvcalc, "--kind", "mla,kda")
    assert {"deepseek-v3", "kimi-linear-48b-a3b"} <= set(names(found))
    assert all({"mla", "kda"} & set(each["mechanisms"]) for each in found)
    assert "did you mean 'mla'" in kvcalc("models", "list", "--kind", "mlla").stderr


def test_orders(kvcalc: Kvcalc) -> None:
    models = listed(kvcalc, "llama-3", "--sort", "parameters")
    assert names(models)[:2] == ["llama-3.1-405b-awq-int4", "llama-3.1-405b"]  # the first has KV heads twice
    cached = [each["bytes_per_token"] for each in listed(kvcalc, "gemma", "--sort", "cache")]
    assert cached == sorted(cached)
    assert kvcalc("models", "list", "--sort", "nam").code == 2
    assert "--fits GPU names it" in kvcalc("models", "list", "--sort", "headroom").stderr


def test_what_fits_is_what_estimate_says(kvcalc: Kvcalc) -> None:
    found = listed(kvcalc, "qwen3", "--fits", "rtx4090", "-c", "16Ki", "--weight-dtype", "awq", "--kind", "gqa")
    assert "qwen3-14b" in names(found)
    assert "qwen3-235b-a22b" not in names(found)
    assert not any(each["name"].endswith(("-fp8", "-awq")) for each in found)
    for each in found[::4]:
        alone = package.estimate(each["name"], gpu="rtx4090", context="16Ki", weight_dtype="awq", tp=1)
        rank = alone.memory.per_rank
        assert (rank.total_bytes, rank.least_headroom_bytes) == (each["bytes_per_gpu"], each["headroom_bytes"])
        assert alone.gpus.fits is not each["tight"]
        assert alone.answer.sequences == each["sequences"] >= 1


def test_every_model_is_listed_or_counted(kvcalc: Kvcalc) -> None:
    told = json.loads(kvcalc("models", "list", "phi", "--fits", "l4", "-c", "32Ki", "--json").stdout)
    (note,) = told["notes"]
    assert note["code"] == "models-left-out"
    assert sum(note["data"].values()) + len(told["models"]) == len(listed(kvcalc, "phi"))
    assert note["data"]["context_too_short"] > 0


def test_as_rows(kvcalc: Kvcalc) -> None:
    told = kvcalc("models", "list", "falcon", "--fits", "h100", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(told)))
    assert {"name", "bytes_per_gpu", "sequences"} <= set(rows[0])
    assert "falcon-7b" in [row["name"] for row in rows]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-c", "8192"), "--fits GPU"),
        (("--fits", "h1000"), "did you mean"),
        (("--fits", "h100", "-c", "32k"), "32Ki"),
        (("--fits", "h100", "--weight-dtype", "int44"), "--weight-dtype"),
    ],
)
def test_what_cannot_be(kvcalc: Kvcalc, words: tuple[str, ...], told: str) -> None:
    run = kvcalc("models", "list", "qwen2", *words)
    assert (run.code, run.stdout) == (2, "")
    assert told in run.stderr
