"""A capacity as people and scripts read it, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from conftest import texts

import kvcalc

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Kvcalc


MODEL = """
name: mine
dtype: bf16
{}
layers:
- {{count: 1, attention: {{kind: gqa, num_heads: 4, num_kv_heads: 2, head_dim: 8}}{}}}
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(MODEL.format("parameters: 500", ""), encoding="utf-8")
    return str(path)


FIELDS = {
    "schema_version",
    "command",
    "model",
    "workload",
    "deployment",
    "gpus",
    "cache_memory_bytes",
    "cache_memory_low_bytes",
    "cache_memory_high_bytes",
    "blocks",
    "block_size",
    "tokens",
    "sequences",
    "concurrency",
    "max_context",
    "limited_by",
    "total",
    "not_modelled",
    "notes",
}


def test_json(kvcalc: Kvcalc, own: str) -> None:
    run = kvcalc("capacity", own, "--cache-memory", "10000", "-c", "50", "-b", "4", "--dp", "2", "--json")
    body: dict[str, Any] = json.loads(run.stdout)

    assert (run.code, run.stderr) == (0, "")
    assert set(body) >= FIELDS
    assert (body["schema_version"], body["command"], body["gpus"]) == (2, "capacity", None)
    assert body["workload"] == {"batch": 4, "context": 50}
    assert (body["blocks"], body["block_size"]) == (None, None)
    assert (body["sequences"], body["tokens"], body["max_context"], body["concurrency"]) == (3, 156, 78, 3.12)
    assert (body["total"], body["limited_by"]) == ({"tokens": 312, "sequences": 6}, "memory")
    assert (body["cache_memory_bytes"], body["one_more_lacks_bytes"]) == (10_000, 2800)


def test_csv_has_the_same_columns_with_and_without_an_accelerator(kvcalc: Kvcalc, own: str) -> None:
    words = ("capacity", own, "-c", "50", "--format", "csv")
    (given_room,) = csv.DictReader(io.StringIO(kvcalc(*words, "--cache-memory", "10000").stdout))
    (on_gpu,) = csv.DictReader(io.StringIO(kvcalc(*words).stdout))

    assert list(given_room) == list(on_gpu)
    assert (given_room["gpus_gpu"], on_gpu["gpus_gpu"]) == ("", "h100-sxm")
    assert (given_room["sequences"], given_room["total_tokens"], given_room["blocks"]) == ("3", "156", "")
    assert on_gpu["gpus_usable_bytes"] == "78218988093"


def test_csv_of_what_has_no_end_is_empty(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(MODEL.format("", ", window: 20"), encoding="utf-8")
    run = kvcalc("capacity", str(path), "--cache-memory", "10000", "-c", "50", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(run.stdout))
    assert (row["sequences"], row["tokens"], row["max_context"], row["limited_by"]) == ("7", "", "", "none")


def test_the_table_and_markdown(kvcalc: Kvcalc, own: str) -> None:
    words = ("capacity", own, "--cache-memory", "10000", "-c", "50", "--dp", "2", "--unit", "B")
    table, markdown = kvcalc(*words), kvcalc(*words, "--format", "markdown")

    assert (table.code, markdown.code) == (0, 0)
    lines = [" ".join(line.split()) for line in table.stdout.splitlines()]
    for line in (
        "holds at most a replica 2 replicas",
        "sequences 3 6 of 50 tokens",
        "tokens 156 312 in sequences of at most 50",
        "longest context 156 of 1 sequence",
        "concurrency 3.12 headroom / one sequence",
        "cache 9,600 2 x 1 layer x 3 sequences x 50 tokens x 2 heads x 8 x 2 bytes",
        "total 9,600 400 free",
        "for the cache: 10,000 bytes of a GPU",
        "limited by memory: one sequence more lacks 2,800 bytes on a GPU",
    ):
        assert line in lines
    assert "GiB" not in table.stdout
    assert "| sequences | 3 | 6 | of 50 tokens |\n" in markdown.stdout


def test_what_has_no_end_in_a_table(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(MODEL.format("", ", window: 20"), encoding="utf-8")
    lines = kvcalc("capacity", str(path), "--cache-memory", "10000", "-c", "50").stdout.splitlines()
    assert any(line.split()[:3] == ["tokens", "unbounded", "in"] for line in lines)
    assert any(line.split()[:3] == ["longest", "context", "unbounded"] for line in lines)


def test_the_explanation_is_the_tree_of_terms(kvcalc: Kvcalc, own: str) -> None:
    shown = kvcalc("capacity", own, "--cache-memory", "10000", "-c", "50", "--explain").stdout
    assert "k_and_v x layers x sequences x context x num_kv_heads x head_dim x bytes_per_element" in shown
    assert "next:" not in shown


def test_a_context_beyond_the_models_is_computed_with_a_note(kvcalc: Kvcalc) -> None:
    run = kvcalc("capacity", "llama-3-8b", "--tp", "1", "-c", "10000")
    assert run.code == 0
    assert "note: context 10,000 is above the model's max_context of 8,192\n" in run.stderr
    assert "note: the longest context by memory is above the model's max_context of 8,192\n" in run.stderr
    longest = kvcalc("capacity", "llama-3-8b", "--tp", "1", "-c", "max", "-b", "56")
    assert (longest.code, longest.stderr) == (0, "")


def test_the_longest_context_of_the_model(kvcalc: Kvcalc) -> None:
    body = json.loads(kvcalc("capacity", "gemma-3-27b", "--cache-memory", "20GiB", "-c", "max", "--json").stdout)
    assert body["workload"]["context"] == 131_072


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "llama-3-8b --cache-memory 0 -c 8192",
            "does not fit: a rank lacks 1,073,741,824 bytes (1.00 GiB); --cache-memory 1073741824 holds it\n",
        ),
        (
            "llama-3-8b --cache-memory 1GiB -c 8193",
            "one sequence does not fit: a rank lacks 131,072 bytes; --cache-memory 1073872896 holds it\n",
        ),
        ("llama-3-70b --tp 1 -c 8192", "a rank lacks 68,042,385,653 bytes (63.37 GiB); 2 GPUs hold it (tp 2)\n"),
        # 2 GPUs would be tight: with the usual temporary memory they do not hold it
        ("llama-3-70b --tp 1 -c 32Ki", "a rank lacks 76,095,449,333 bytes (70.87 GiB); 4 GPUs hold it (tp 4)\n"),
        ("llama-3-70b --tp 2 -c 32Ki", "a rank lacks 602,530,447 bytes (0.56 GiB); 4 GPUs hold it (tp 4)\n"),
        ("llama-3-8b --tp 1 -b 1e6 -c 1", "the batch, even of one token each, does not fit; 2 GPUs hold it (tp 2)\n"),
        ("llama-3-8b --cache-memory 1 -c 1", "a rank lacks 131,071 bytes; --cache-memory 131072 holds it\n"),
        (
            "llama-3-8b --cache-memory 1MiB -b 9 -c 1",
            "the batch, even of one token each, does not fit in --cache-memory\n",
        ),
        ("llama-3-8b --gpu-memory 2B -c 1", "a rank lacks 18,530,259,761 bytes (17.26 GiB)\n"),
    ],
)
def test_what_does_not_fit_ends_with_1_and_the_nearest_miss(words: str, message: str, kvcalc: Kvcalc) -> None:
    run = kvcalc("capacity", *words.split())
    assert run.code == 1
    assert "holds at most\n" in run.stdout
    assert run.stderr.splitlines()[-1].startswith("error: capacity: ")
    assert run.stderr.endswith(message)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--gpu", "h100-sxm"), "--gpu plays"),
        (("--weights", "5GB", "--gpu", "a100-80gb"), "--gpu and --weights play"),
        (
            ("--temporary", "1GB", "--overhead", "0", "--reserve", "x=1"),
            "--temporary and --overhead and --reserve play",
        ),
        (("--gpu-memory", "1TB", "--utilization", "0.5"), "--gpu-memory and --utilization play"),
        (("--weight-dtype", "fp8", "--parameters", "7e9"), "--weight-dtype and --parameters play"),
        (("--lora", "16", "--max-loras", "4"), "--lora and --max-loras play"),
    ],
)
def test_what_plays_no_part_beside_the_memory_that_is_given_is_told(
    kvcalc: Kvcalc, more: tuple[str, ...], named: str
) -> None:
    words = ("capacity", "llama-3-8b", "-c", "8192", "--cache-memory", "10GiB")
    plain, run = kvcalc(*words), kvcalc(*words, *more)
    assert f"note: --cache-memory is all that a rank has for the cache: {named} no part\n" in run.stderr
    assert "no part" not in plain.stderr
    assert "no part" not in kvcalc("capacity", "llama-3-8b", *more).stderr
    held = [line for line in plain.stdout.splitlines() if line.startswith(("sequences", "tokens", "longest"))]
    assert held == [line for line in run.stdout.splitlines() if line.startswith(("sequences", "tokens", "longest"))]


def test_so_from_python() -> None:
    result = kvcalc.capacity("llama-3-8b", cache_memory="10GiB", gpu="h200", weights=5)
    assert "--cache-memory is all that a rank has for the cache: --gpu and --weights play no part" in texts(
        result.notes
    )


def test_gpus_cannot_be_chosen_without_their_memory(kvcalc: Kvcalc) -> None:
    run = kvcalc("capacity", "llama-3-8b", "--cache-memory", "10GiB", "--gpus", "4")
    assert (run.code, run.stdout) == (2, "")
    assert "--gpus: chooses a deployment by the memory of its GPUs, and --cache-memory leaves that out" in run.stderr


def test_what_does_not_fit_is_still_told_as_json(kvcalc: Kvcalc) -> None:
    run = kvcalc("capacity", "llama-3-8b", "--cache-memory", "0", "-c", "8192", "--json")
    assert run.code == 1
    body = json.loads(run.stdout)
    assert (body["sequences"], body["tokens"], body["max_context"], body["concurrency"]) == (0, 0, 0, 0.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "MODEL: missing"),
        ("llama-3-8bb", "did you mean 'llama-3-8b'"),
        ("llama-3-70b --tp 3", "tp: 3 is illegal for this model; legal are 1, 2, 4, 8, 16, 32, 64 ("),
        ("llama-3-8b --cache-memory 10G", "--cache-memory: '10G' could mean two sizes"),
        ("llama-3-8b --cache-memory -1", "--cache-memory: must not be negative"),
        ("llama-3-8b --cache-memory 1e19", "--cache-memory: '1e19' is beyond the limit"),
        ("llama-3-8b -c 128k", "kvcalc capacity llama-3-8b -c 128Ki\n"),
        ("llama-3-8b -c 1e13", "--context: 10,000,000,000,000 is beyond the limit of 1,000,000,000,000"),
        ("llama-3-8b -b 1e10", "--batch: 10,000,000,000 is beyond the limit of 1,000,000,000"),
        ("llama-3-8b --gpu-memory 0", "--gpu-memory: must be at least 1 byte"),
        (
            "--layers 2 --heads 2 --head-dim 8",
            "the command line lacks 'parameters'; give --weights SIZE or --parameters N",
        ),
    ],
)
def test_bad_input_ends_with_2_and_nothing_on_stdout(words: str, message: str, kvcalc: Kvcalc) -> None:
    run = kvcalc("capacity", *words.split())
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr


def test_a_file_without_parameters_is_named(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(MODEL.format("", ""), encoding="utf-8")
    run = kvcalc("capacity", str(path))
    assert (run.code, run.stdout) == (2, "")
    assert f"needs the weights: {path} lacks 'parameters'; give --weights SIZE or --parameters N" in run.stderr
    assert kvcalc("capacity", str(path), "--weights", "1GB").code == 0
    assert kvcalc("capacity", str(path), "--parameters", "1e9").code == 0
    assert kvcalc("capacity", str(path), "--cache-memory", "1GB").code == 0


def test_memory_for_the_cache_leaves_all_else_out(kvcalc: Kvcalc, own: str) -> None:
    words = ("capacity", own, "--cache-memory", "10000", "-c", "50", "--json")
    plain = json.loads(kvcalc(*words).stdout)
    beside = (
        "--weights",
        "1TB",
        "--temporary",
        "1TB",
        "--overhead",
        "1TB",
        "--reserve",
        "x=1TB",
        "--utilization",
        "0.1",
    )
    found = json.loads(kvcalc(*words, *beside).stdout)
    assert {**found, "notes": []} == {**plain, "notes": []}
    assert not any("LoRA" in words for words in texts(plain["not_modelled"]))


def test_the_result_goes_to_a_file(kvcalc: Kvcalc, own: str, tmp_path: Path) -> None:
    words = ("capacity", own, "--cache-memory", "10000", "-c", "50")
    run = kvcalc(*words, "-o", str(tmp_path / "out.txt"))
    assert (run.code, run.stdout) == (0, "")
    shown = kvcalc(*words).stdout.splitlines()
    written = (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()
    assert written[:-1] == shown[:-1]  # the last line is the next command, which has the options that were typed
