"""Words and articles: complete, findable, and judged by what the commands print."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

import pytest
from conftest import Kvcalc

from kvcalc.catalogue.articles import VERDICTS, articles
from kvcalc.catalogue.words import words
from kvcalc.engines import ENGINES
from kvcalc.errors import KvcalcError
from kvcalc.verbs.explain import explain, topics

if TYPE_CHECKING:
    from collections.abc import Iterator

ARTICLES = articles()
NAMES = {each.name for each in topics().topics}
SHOWN_BY = sorted({saying.shown_by for saying in ARTICLES.sayings if saying.shown_by})
SERVERS = {"vllm", "sglang", "llama-cpp", "tensorrt-llm", "lmdeploy", "transformers", "mlx"}

CELLS = {
    "chen": {
        "mha": "Highest Best Baseline",
        "mqa": "Lowest Good Fastest",
        "gqa": "Medium Better Fast",
        "mla": "Lowest Best Fast",
    },
    "code": {
        "mha": "High Per Head",
        "mqa": "Single Low",
        "gqa": "Per Group Medium",
        "mla": "Compressed Very Low Moderate",
    },
    "evolution": {
        "mha": "None Full Storage 2 H d_h Best (Benchmark) Limited",
        "gqa": "Head Sharing 2 G d_h High (Slight Loss) Medium 87.5% 1.5x 2x",
        "mla": "Low-Rank d_c d_R Very High Very Strong (Supports 128K+) 4.3% 6.7% 128",
        "mqa": "1/H 93.75%",
        "kv-cache": "O(N^2) O(N) 80,000",
        "by-memory": "99 GB 659 GB 70%",
    },
    "notes": {"mha": "slowest Best", "gqa": "Near MHA falls", "mqa": "fastest lowest Lower than GQA/MHA"},
    "deepseek-v2": {"mha": "Strong", "gqa": "Moderate", "mqa": "Weak", "mla": "Stronger 2.25"},
}
"""Words and figures of the tables, by article and what they are said of."""


def test_names_and_spellings_are_of_one_word_each() -> None:
    known: dict[str, str] = {}
    for each in topics().topics:
        for spelling in (each.name, *each.also):
            plain = spelling.lower().replace("_", "-").replace(" ", "-")
            assert known.setdefault(plain, each.name) == each.name, spelling


def test_every_word_that_a_word_names_can_be_explained() -> None:
    for word in words():
        assert set(word.see) <= NAMES, word.name
        assert {flag.engine for flag in word.flags} <= SERVERS, word.name
    assert set(ENGINES) - {"exact"} <= SERVERS
    assert {saying.mechanism for saying in ARTICLES.sayings} <= NAMES


def keys_of(schema: object) -> Iterator[str]:
    """Every key that a JSON Schema describes."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        yield from properties if isinstance(properties, dict) else ()
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from keys_of(inner)


def test_every_key_of_a_model_file_can_be_explained(kvcalc: Kvcalc) -> None:
    keys = set(keys_of(json.loads(kvcalc("models", "schema").stdout)))
    assert len(keys) >= 80
    for key in keys:
        assert explain(key).keeps, key


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("KV cache", "kv-cache"),
        ("kv_cache", "kv-cache"),
        ("Tensor parallelism", "tp"),
        ("--tensor-parallel-size", "tp"),
        ("by_memory", "by-memory"),
        ("multi-head latent attention", "mla"),
        ("num_key_value_heads", "num_kv_heads"),
        ("max-num-seqs", "batch"),
        ("float16", "fp16"),
        ("tokens/s", "decode"),
    ],
)
def test_words_are_found_as_people_write_them(typed: str, name: str) -> None:
    assert explain(typed).name == name


def test_a_verdict_has_its_reason_unless_no_formula_tells() -> None:
    for saying in ARTICLES.sayings:
        assert saying.verdict in VERDICTS
        assert bool(saying.because) == (saying.verdict != "untold"), saying
        assert bool(saying.shown_by) == bool(saying.figures), saying


@pytest.mark.parametrize("command", SHOWN_BY)
def test_a_command_shows_what_a_verdict_rests_on(command: str, kvcalc: Kvcalc) -> None:
    run = kvcalc(*command.split()[1:])
    printed = re.sub(r"\s+", " ", run.stdout + run.stderr)
    assert run.code == 0
    for saying in ARTICLES.sayings:
        if saying.shown_by == command:
            for figure in saying.figures:
                assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d])", printed), (saying.because, figure)


@pytest.mark.parametrize(("number", "key"), list(enumerate(CELLS)))
def test_what_the_tables_say_is_there(number: int, key: str) -> None:
    source = ARTICLES.sources[number]
    for word, said in CELLS[key].items():
        told = " ".join(saying.words for saying in ARTICLES.of(word) if saying.source == source)
        missing = [each for each in said.split() if each.strip("()") not in told]
        assert not missing, (key, word, told)


def test_every_source_is_cited_and_every_contradiction_names_who_says_so() -> None:
    assert {saying.source for saying in ARTICLES.sayings} == set(ARTICLES.sources)
    assert all(each.said for each in ARTICLES.contradictions)


def test_figures_of_the_contradictions() -> None:
    figures = " ".join(each.figure or "" for each in ARTICLES.contradictions)

    for figure in (2 * 128, 512 + 64, 2 * 128 * 128, 2 * 32 * 32 * 64 * 80_000 * 2, 2 * 32 * 4 * 64 * 80_000 * 2):
        assert f"{figure:,}" in figures
    assert f"{2 * 32 * 64 * 80_000 * 2:,}" in figures
    assert f"{100 * 576 / 32_768:.2f} %" in figures
    assert f"{100 * (1 - 1 / 32)} %" in figures
    assert Fraction(512 + 64, 2 * 128) == Fraction("2.25")


def test_figures_of_absorption() -> None:
    """DeepSeek-V3's dims: multiply-adds of a cached token and head, and operations for each byte of its latent."""
    told = explain("absorption").example
    assert f"{512 + 64 + 512:,}" in told
    assert f"{128 + 64 + 128}" in told
    assert f"{512 * (128 + 128):,}" in told
    speed = " ".join(saying.because for saying in ARTICLES.of("mla") if saying.topic == "speed")
    assert f"{round(2 * 128 * (576 + 512) / (576 * 2))} a byte" in speed


@pytest.mark.parametrize(("cache", "gigabytes", "gpus"), [("80GB", 99, 2), ("640GB", 659, 9)])
def test_gpus_by_memory_of_the_worked_example(cache: str, gigabytes: int, gpus: int, kvcalc: Kvcalc) -> None:
    """The cache stands as a reserve: of the model, one token of one layer is left, 4 bytes."""
    assert f"{gigabytes} GB: {gpus}" in explain("by_memory").example
    assert ceil(gigabytes / 80) == gpus

    words = f"--layers 1 --heads 1 --head-dim 1 -c 1 --reserve kv={cache} --gpu-memory 80GB --utilization 1"
    sizes = "--weights 14GB --temporary 4999999996B --overhead 0B"
    answer = json.loads(kvcalc("estimate", *words.split(), *sizes.split(), "--json").stdout)
    assert answer["gpus"]["by_memory"] == gpus
    assert answer["memory"]["total_bytes"] == gigabytes * 10**9


@pytest.mark.parametrize(
    "word", ["null block", "padding page", "max batch", "limited by", "slot", "given GPUs", "too much"]
)
def test_words_that_screens_have_are_explained(word: str) -> None:
    assert explain(word).keeps


def test_a_word_that_nothing_is_near_leads_to_the_list() -> None:
    with pytest.raises(KvcalcError, match=r"^explain: no 'wwwww'; kvcalc explain lists all that there is$"):
        explain("wwwww")


def test_a_format_written_by_hand_is_explained() -> None:
    assert explain("q4_g64_s4").formula.startswith("36 bytes for 64 elements")


def test_formats_of_one_engines_tensors_are_explained() -> None:
    """vLLM, quantization/turboquant/config.py: 8-bit keys, and values of four bits with 4 bytes beside them."""
    found = explain("turboquant_k8v4")
    assert found.formula.startswith("k: 1 byte an element; v: 1 byte for 2 elements + 4 bytes")
    assert "turboquant/config.py" in found.source
