"""A plan as people and scripts read it, its next command, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

import kvcalc

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Kvcalc


PLAN = ("plan", "llama-3-70b", "-b", "32", "-c", "8192")
ROW_FIELDS = (
    *("gpu", "count", "tp", "pp", "dp", "ep", "dcp", "dp_attention", "spare"),
    *("bytes_per_rank", "usable_bytes", "headroom_bytes", "tight"),
    *("max_batch", "max_context", "tokens_per_second", "usd_per_hour"),
    *("usd_per_month", "usd_per_million_tokens", "nodes"),
)


def test_json(kvcalc: Kvcalc) -> None:
    run = kvcalc(*PLAN, "--price", "h100=2.5", "--json")
    body: dict[str, Any] = json.loads(run.stdout)

    assert (run.code, run.stderr) == (0, "")
    assert (body["schema_version"], body["command"]) == (2, "plan")
    assert body["workload"] == {"batch": 32, "context": 8192}
    first = body["deployments"][0]
    assert set(first) >= set(ROW_FIELDS)
    assert (first["gpu"], first["count"], first["tp"], first["usd_per_hour"]) == ("h100-sxm", 4, 4, 10.0)
    assert (first["max_batch"], first["max_context"], first["tight"]) == (58, 15_070, False)
    assert first["bytes_per_rank"] + first["headroom_bytes"] == first["usable_bytes"] == 78_218_988_093
    assert [(row["tp"], row["pp"]) for row in body["rejected"]] == [(1, 1), (2, 1), (3, 1)]
    assert all(set(row) >= {"tp", "pp", "reason"} for row in body["rejected"])
    assert body["nearest"] is None


def test_csv_has_its_header_without_rows_too(kvcalc: Kvcalc) -> None:
    some = kvcalc(*PLAN, "--format", "csv")
    none = kvcalc(*PLAN, "--max-gpus", "3", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(some.stdout)))

    assert (some.code, none.code) == (0, 1)
    assert none.stdout == ",".join((*ROW_FIELDS, "batch", "context")) + "\n"
    assert some.stdout.startswith(none.stdout)
    assert [(row["count"], row["tp"], row["dp"], row["tight"]) for row in rows] == [
        ("4", "4", "1", "false"),
        ("8", "8", "1", "false"),
    ]
    assert rows[0]["usd_per_hour"] == ""


def test_the_table_and_markdown(kvcalc: Kvcalc) -> None:
    table, markdown = kvcalc(*PLAN), kvcalc(*PLAN, "--format", "markdown")
    lines = [" ".join(line.split()) for line in table.stdout.splitlines()]

    assert (table.code, markdown.code) == (0, 0)
    assert "GPUs deployment GiB per GPU free max batch max context tokens/s <=" in lines
    assert any(line.startswith("4 tp 4 fits 56.05 16.80 58 15,070 ") for line in lines)
    alone = [" ".join(line.split()) for line in kvcalc(*PLAN, "--tp", "2", "--pp", "1").stdout.splitlines()]
    assert any(line.startswith("16 tp 2 x dp 8 tight 73.41 -0.56 24 7,272 ") for line in alone)
    assert (
        "with the usual temporary memory it holds 24 sequences of that context, or 7,272 tokens of that batch" in alone
    )
    assert "tp 2 a replica holds 4 sequences, so 32 need 8 replicas: 16 GPUs" in lines
    assert "tp 3 illegal: 64 query heads do not divide by 3" in lines
    assert "| 4 | tp 4 | fits | 56.05 | 16.80 | 58 | 15,070 |" in markdown.stdout


def test_spares_are_told(kvcalc: Kvcalc) -> None:
    run = kvcalc("plan", "llama-3-70b", "-c", "8192", "--spare", "2")
    lines = [" ".join(line.split()) for line in run.stdout.splitlines()]
    assert any(line.startswith("GPUs of them spare deployment ") for line in lines)
    assert any(line.startswith("6 4 tp 2 tight ") for line in lines)
    # two GPUs with two spare replicas are six, so that nothing but one GPU is smaller
    assert [line for line in lines if line.endswith(" for one sequence")] == [
        "tp 1 a GPU lacks 66,667,996,118 bytes (62.09 GiB) for one sequence"
    ]
    assert not any("spare it is" in line for line in lines)


def test_long_lists_of_what_is_smaller_are_cut(kvcalc: Kvcalc) -> None:
    words = ("plan", "llama-3-70b", "-c", "8192", "-b", "1e6", "--node-size", "64", "--max-gpus", "64", "--allow-pp")
    run = kvcalc(*words)
    lines = [" ".join(line.split()) for line in run.stdout.splitlines()]
    assert run.code == 1
    assert "tp 9 to 15 illegal: the heads do not spread over them" in lines
    assert any(re.fullmatch(r"\.\.\. \d+ lines? more: --json has all", line) for line in lines)
    rejected = json.loads(kvcalc(*words, "--json").stdout)["rejected"]
    assert {row["tp"] for row in rejected} == set(range(1, 65))


def test_sizes_that_the_engine_refuses_have_its_words(kvcalc: Kvcalc) -> None:
    """2 and 4 divide the 64 query heads and 8 key-value heads of llama-3-70b; the engine uses neither."""
    words = ("plan", "llama-3-70b", "--engine", "llama-cpp", "--gpu", "rtx4090", "-c", "8192", "-b", "4")
    refused = "not served: llama.cpp puts whole layers on a card (--split-mode layer); give --pp"
    rejected = json.loads(kvcalc(*words, "--json").stdout)["rejected"]
    told = {row["tp"]: (row["legal"], row["reason"]) for row in rejected if row["tp"] > 1}
    assert told[2] == told[4] == (True, refused)
    assert told[3] == (False, "illegal: 64 query heads do not divide by 3")
    lines = [" ".join(line.split()) for line in kvcalc(*words).stdout.splitlines()]
    assert f"tp 2 {refused}" in lines
    assert f"tp 4 {refused}" in lines
    assert "tp 5, 6 illegal: the heads do not spread over them" in lines
    asked = kvcalc(*words, "--tp", "2,4")
    assert (asked.code, asked.stderr.removeprefix("error: ")) == (2, f"--tp: {refused.partition(': ')[2]}\n")


def test_defaults_of_every_accelerator_are_told(kvcalc: Kvcalc) -> None:
    """vLLM has other defaults on cards below 70 GiB (EngineArgs.get_batch_defaults)."""
    words = ("--engine", "vllm", "-c", "32Ki", "-b", "4", "--gpu", "l40s,h100,rtx4090")
    notes = json.loads(kvcalc("plan", "gemma-3-27b", *words, "--json").stdout)["notes"]
    told = {each["data"]["gpu"]: each["data"]["max_num_seqs"] for each in notes if each["code"] == "engine-defaults"}
    assert told == {"h100-sxm": 1024, "l40s": 256, "rtx4090": 256}


def next_command(stdout: str) -> list[str]:
    (line,) = (line for line in stdout.splitlines() if line.startswith("next: "))
    return line.removeprefix("next: kvcalc ").split()


@pytest.mark.parametrize(
    "words",
    [
        "llama-3-70b -b 32 -c 8192",
        "deepseek-v3 -b 24 -c 131072 --gpu h200 --max-gpus 8 --tp 4 --pp 1",
        "deepseek-v3 --rps 2 --latency 6 -c 131072 --gpu h200 --max-gpus 8 --cache-dtype fp8 --reserve x=1GiB",
        "--layers 32 --heads 32 --kv-heads 8 --head-dim 128 --weights 14GB -b 70 --input 8000 --output 192 --pp 2",
        "llama-3-8b --gpu b200,h100 -b 500 -c 8192 --spare 1 --price b200=1 --utilization 0.5 --shared-prefix 1000",
        "llama-3-8b --gpu h100 --gpu-memory 40GiB --overhead 0 --temporary 2GiB -c 8192",
    ],
)
def test_the_next_command_estimates_the_first_deployment(words: str, kvcalc: Kvcalc) -> None:
    """The same model, formats and memory: an estimate that says the same of a rank."""
    run = kvcalc("plan", *words.split())
    first = json.loads(kvcalc("plan", *words.split(), "--json").stdout)["deployments"][0]
    body = json.loads(kvcalc(*next_command(run.stdout), "--json").stdout)

    assert body["memory"]["per_rank"]["total_bytes"] == first["bytes_per_rank"]
    assert body["gpus"]["usable_bytes"] == first["usable_bytes"]
    assert body["gpus"]["fits"] is not first["tight"]
    assert {name: body["deployment"][name] for name in ("tp", "pp", "dp", "ep", "dcp", "dp_attention")} == {
        name: first[name] for name in ("tp", "pp", "dp", "ep", "dcp", "dp_attention")
    }


def test_the_next_command_names_the_file(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    layer = "{count: 2, attention: {kind: mha, num_heads: 2, head_dim: 8}}"
    path.write_text(f"name: other\nparameters: 1000000\nlayers:\n- {layer}\n", encoding="utf-8")
    command = next_command(kvcalc("plan", str(path)).stdout)
    assert command[:2] == ["estimate", str(path)]
    assert kvcalc(*command).code == 0


@pytest.mark.parametrize(
    ("words", "asked", "nearest"),
    [
        (
            "llama-3-70b -b 32 -c 8192 --gpus 3",
            "3 GPUs holds 32 x 8,192 tokens",
            "nearest: 2 x h100-sxm (tp 2) holds 4; 4 x h100-sxm would (tp 4)",
        ),
        (
            "llama-3-70b -c 8192 --max-gpus 1",
            "1 GPU holds 1 x 8,192 tokens",
            "lacks 66,667,996,118 bytes (62.09 GiB) a GPU for one; 2 x h100-sxm would (tp 2)",
        ),
        (
            "llama-3-70b -c 8192 -b 4 --spare 1 --max-gpus 3",
            "3 GPUs holds 4 x 8,192 tokens and 1 spare",
            "lacks 66,667,996,118 bytes (62.09 GiB) a GPU for one; 4 x h100-sxm would (tp 2 and 1 spare)",
        ),
        (
            "llama-3-8b -c 8192 --tp 4 --pp 2 --max-gpus 4",
            "4 GPUs holds 1 x 8,192 tokens",
            "without --tp 4 and --pp 2, 1 x h100-sxm would (tp 1)",
        ),
        (
            "llama-3-8b -c 8192 -b 2000 --tp 8 --pp 1 --max-gpus 24",
            "24 GPUs holds 2,000 x 8,192 tokens",
            "(tp 8 x dp 3) holds 1,644; without --tp 8 and --pp 1, 32 x h100-sxm would (tp 8 x pp 4)",
        ),
        (
            "llama-3-8b -c 1e12 -b 1e9",
            "1,024 GPUs holds 1,000,000,000 x 1,000,000,000,000 tokens",
            "nearest: 256 x h100-sxm (tp 8 x pp 32) lacks 511,927,249,683,856 bytes (476,769.40 GiB) a GPU for one",
        ),
    ],
)
def test_nothing_that_holds_it_ends_with_1_and_the_nearest_miss(
    words: str, asked: str, nearest: str, kvcalc: Kvcalc
) -> None:
    run = kvcalc("plan", *words.split())
    assert run.code == 1
    assert "holds it\n" in run.stdout
    assert "next:" not in run.stdout
    assert run.stderr.splitlines()[-1].startswith(f"error: plan: nothing legal of at most {asked}; ")
    assert run.stderr.endswith(f"{nearest}\n")


def test_nothing_that_holds_it_is_still_told_as_json(kvcalc: Kvcalc) -> None:
    run = kvcalc(*PLAN, "--max-gpus", "3", "--json")
    body = json.loads(run.stdout)
    assert (run.code, body["deployments"]) == (1, [])
    assert run.stderr == f"error: plan: {body['nearest']}\n"


def test_a_batch_beyond_any_fleet_is_an_answer(kvcalc: Kvcalc) -> None:
    """Reasons count more replicas than a deployment can have."""
    body = json.loads(kvcalc("plan", "llama-3-8b", "-b", "1e9", "-c", "8192", "--json").stdout)
    assert body["rejected"][0]["reason"] == (
        "a replica holds 56 sequences, so 1,000,000,000 need 17,857,143 replicas: 17,857,143 GPUs"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "MODEL: missing"),
        ("llama-3-70b --tp 3", "tp: 3 is illegal for this model; legal are 1, 2, 4, 8, 16, 32, 64 ("),
        ("llama-3-70b --pp 81", "pp: 81 is illegal for this model; legal are 1 to 80"),
        ("llama-3-8b --gpu nosuch", "gpu: no accelerator 'nosuch'"),
        ("llama-3-8b --gpu h1000", "did you mean 'h100'"),
        ("llama-3-8b --gpu all,nosuch", "gpu: no accelerator 'nosuch'"),
        ("llama-3-8b --gpu ,", "gpu: no accelerator ''"),
        ("llama-3-8b --gpu=", "gpu: no accelerator ''"),
        ("llama-3-8b --gpu h100,b200 --gpu-memory 10GB", "--gpu-memory: is of one accelerator, and several are given"),
        ("llama-3-8b --price nosuch=1", "--price: no accelerator 'nosuch'"),
        ("llama-3-8b --price b200=1", "--price: b200 is not among the accelerators of --gpu"),
        ("llama-3-8b --price h100=abc", "--price h100: not a number: 'abc'"),
        ("llama-3-8b --price h100=0", "--price h100: '0' is not a number above 0"),
        ("llama-3-8b --price h100=-1", "--price h100: must be above 0: '-1'"),
        ("llama-3-8b --price h100", "--price: 'h100' is not NAME=USD_PER_HOUR"),
        ("llama-3-8b --price h100=1 --price h100=2", "--price: 'h100' is given twice"),
        ("llama-3-8b --price h100=1 --price h100-sxm=2", "--price: h100-sxm has two prices"),
        ("llama-3-8b --spare -1", "--spare: must be at least 0: '-1'"),
        ("llama-3-8b --spare 1e7", "--spare: 10,000,000 is beyond the limit of 1,000,000"),
        ("llama-3-8b --limit 0", "--limit: must be at least 1, not 0"),
        ("llama-3-8b --limit 1001", "--limit: 1,001 is beyond the limit of 1,000"),
        ("llama-3-8b --max-gpus 0", "--max-gpus: must be at least 1, not 0"),
        ("llama-3-8b --max-gpus 1e7", "--max-gpus: 10,000,000 is beyond the limit of 1,000,000"),
        ("llama-3-8b --node-size 0", "--node-size: must be at least 1, not 0"),
        (
            "llama-3-8b --tokens 100 -b 4",
            "--tokens: says how many sequences are held, as --batch does; give one of them",
        ),
        ("llama-3-8b -b 4 --rps 1 --latency 1", "--rps: says how many sequences are held, as --batch does"),
        ("llama-3-8b --tokens 9 --rps 1 --latency 1", "--rps: says how many sequences are held, as --tokens does"),
        ("llama-3-8b --rps 1", "--rps: goes with --latency: requests a second x seconds each takes"),
        ("llama-3-8b --latency 1", "--latency: goes with --rps"),
        ("llama-3-8b --rps 0 --latency 1", "--rps: '0' is not a number above 0"),
        ("llama-3-8b --rps 1 --latency -1", "--latency: must be above 0: '-1'"),
        (
            "llama-3-8b --rps 1e9 --latency 2",
            "--rps: 2,000,000,000 sequences at a time are beyond the limit of 1,000,000,000",
        ),
        ("llama-3-8b --tokens 1e10 -c 1", "--tokens: 10,000,000,000 sequences at a time are beyond the limit"),
        ("llama-3-8b --tokens 1e13", "--tokens: 10,000,000,000,000 is beyond the limit of 1,000,000,000,000"),
        ("llama-3-8b -b 128k", "kvcalc plan llama-3-8b -b 128Ki\n"),
        ("llama-3-8b --input 5", "--input and --output go together"),
        ("llama-3-8b -c 5 --shared-prefix 6", "--shared-prefix: 6 tokens are more than the context of 5"),
        (
            "--layers 2 --heads 2 --head-dim 8",
            "the command line lacks 'parameters'; give --weights SIZE or --parameters N",
        ),
        (
            "--layers 2 --heads 8 --head-dim 32 --kv-heads 8 --tp 8 --cache-dtype q8_0 --weights 1GB -c 8 -b 0",
            "--batch",
        ),
    ],
)
def test_bad_input_ends_with_2_and_nothing_on_stdout(words: str, message: str, kvcalc: Kvcalc) -> None:
    run = kvcalc("plan", *words.split())
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr


def test_an_accelerator_without_any_figure_needs_its_memory() -> None:
    unmeasured = kvcalc.Gpu(name="of-a-colleague")
    with pytest.raises(kvcalc.KvcalcError, match="give what its runtime reports with --gpu-memory SIZE"):
        kvcalc.plan("llama-3-8b", gpu=unmeasured)
    assert kvcalc.plan("llama-3-8b", gpu=unmeasured, gpu_memory="80GB").deployments


def test_no_accelerator_at_all() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="--gpu: names no accelerator"):
        kvcalc.plan("llama-3-8b", gpu=[])


@pytest.mark.parametrize("gpus", ["h100", "h100-sxm", "h100,h100-sxm", " H100 , h100-80gb "])
def test_one_accelerator_under_several_names_is_one(gpus: str, kvcalc: Kvcalc) -> None:
    words = ("plan", "llama-3-8b", "-c", "8192", "--gpu-memory", "80GB", "--format", "csv")
    assert kvcalc(*words, "--gpu", gpus).stdout == kvcalc(*words).stdout
    assert kvcalc(*words, "--gpu", gpus, "--gpu", gpus).stdout == kvcalc(*words).stdout


def test_a_split_that_the_format_cannot_store_is_rejected(kvcalc: Kvcalc) -> None:
    """8 heads of 80 over 8 ranks are rows of 80 elements, which blocks of 32 do not fill; over 4 ranks they do."""
    words = (
        "plan",
        "--layers",
        "32",
        "--heads",
        "8",
        "--head-dim",
        "80",
        "--weights",
        "100GB",
        "--cache-dtype",
        "q8_0",
    )
    body = json.loads(kvcalc(*words, "-b", "2000", "-c", "8192", "--max-gpus", "8", "--json").stdout)
    reasons = {row["tp"]: row["reason"] for row in body["rejected"]}
    assert reasons[8] == "illegal: the format of the cache cannot store a rank's share of a row"
    assert reasons[3] == "illegal: 8 query heads do not divide by 3"
    assert kvcalc(*words, "--tp", "8").code == 2
