"""Every element format of kvcalc/formats/element.py: verified at full size, and allocated."""

from __future__ import annotations

import json

import pytest
from conftest import Kvcalc

from kvcalc.formats.element import FORMATS, TENSOR_FORMATS

CONTEXT = 100


def verified(kvcalc: Kvcalc, *words: str) -> None:
    """Everything holds, nothing is left out, and the cache takes what estimate says, scales included."""
    run = kvcalc("verify", *words, "-c", str(CONTEXT), "--json")
    assert (run.code, run.stderr) == (0, "")
    printed = json.loads(run.stdout)
    assert (printed["verified"], printed["unsupported"]) == (True, [])
    [whole] = [check for check in printed["checks"] if check["name"] == "cache bytes"]
    estimate = kvcalc("estimate", words[0], "-c", str(CONTEXT), *words[words.index("--cache-dtype") :], "--json")
    assert whole["measured"] == json.loads(estimate.stdout)["cache"]["bytes"]
    assert {"kept per token", "sufficient", "needed"} <= {check["name"] for check in printed["checks"]}


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("name", FORMATS)
def test_grouped_query_attention_is_verified_in(kvcalc: Kvcalc, name: str, device: str) -> None:
    verified(kvcalc, "llama-3-8b", "--device", device, "--cache-dtype", name)


@pytest.mark.parametrize("name", FORMATS)
def test_latent_attention_is_verified_in(kvcalc: Kvcalc, name: str) -> None:
    """A latent of 512 and a rotary key of 64, which blocks of 128 do not divide."""
    words = f"c_kv={name},k_rope=bf16" if name == "fp8_block128" else name
    verified(kvcalc, "deepseek-v3", "--device", "meta", "--cache-dtype", words)


@pytest.mark.parametrize("name", TENSOR_FORMATS)
def test_latent_attention_is_verified_in_a_format_for_each_tensor(kvcalc: Kvcalc, name: str) -> None:
    verified(kvcalc, "deepseek-v3", "--device", "meta", "--cache-dtype", name)


@pytest.mark.parametrize("name", FORMATS)
def test_what_each_format_costs_is_measured(kvcalc: Kvcalc, name: str) -> None:
    run = kvcalc("verify", "llama-3-8b", "-c", "4", "--device", "meta", "--cache-dtype", name, "--json")
    costs = [one for one in json.loads(run.stdout)["measurements"] if one["name"] == "round trip"]
    assert [one["subject"] for one in costs] == [name]
    assert (costs[0]["measured"] > 0) == (name != "fp32")
    assert costs[0]["measured"] < 0.15
