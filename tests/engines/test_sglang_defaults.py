"""SGLang's defaults against its own code, run version by version (tests/live/write_sglang_vectors.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import kvcalc
from kvcalc.engines.sglang import defaults

SAID = json.loads((Path(__file__).parents[1] / "data" / "sglang" / "defaults.json").read_text(encoding="utf-8"))
BY_VERSION = [(version, record["says"]) for record in SAID["records"] for version in record["versions"]]


@pytest.mark.parametrize(("version", "says"), BY_VERSION, ids=[version for version, _ in BY_VERSION])
def test_defaults_are_those_of_the_versions_own_code(version: str, says: list[list[Any]]) -> None:
    ours = [[*line[:5], *_defaults(version, dict(zip(SAID["order"], line, strict=True)))] for line in says]
    assert ours == says


def test_every_version_that_reserves_by_its_settings_was_asked() -> None:
    by_settings = {each for each in defaults.VERSIONS if defaults.parse_version(each) >= defaults.BY_FORMULA}
    assert by_settings == {version for version, _ in BY_VERSION}


def _defaults(text: str, case: dict[str, Any]) -> list[Any]:
    version = defaults.parse_version(text)
    chunk = defaults.chunked_prefill_size(version, case["card"])
    graphs = defaults.cuda_graph_max_bs(version, case["card"], case["tp"])
    card, tp = case["card"], case["tp"]
    server = defaults.Server(version, card, tp, 1, case["dp_attention"], case["latent"], case["prefill_graphs"])
    return [chunk, graphs, float(defaults.mem_fraction_static(server, chunk, graphs))]


def test_words_are_padded_for_the_ranks_and_columns_are_not() -> None:
    """vocab_parallel_embedding.py, padding_size *= tp_size, where vLLM asserts; linear.py, divide: 13,824 by 5."""
    asked: dict[str, Any] = {"engine": "sglang", "gpu": "h100", "context": 1024, "tp": 5}
    assert kvcalc.capacity("phi-4", **asked).tokens
    with pytest.raises(kvcalc.KvcalcError, match=r"--tp: 5 does not divide the 13,824 columns of a layer.*; --tp 4$"):
        kvcalc.capacity("llama-2-13b", **asked)
