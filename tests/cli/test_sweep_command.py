"""kvcalc sweep as a process of its own kind: files whole or not at all, lines that are wrong, formats, shards."""

from __future__ import annotations

import csv
import gzip
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Kvcalc

GRID = ("sweep", "--model", "llama-3-8b,nosuch", "--batch", "1,8", "-c", "1Ki..4Ki*2", "--tp", "1,3")


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_wrong_scenario_is_a_row(kvcalc: Kvcalc) -> None:
    run = kvcalc(*GRID)
    rows = read(run.stdout)
    assert (run.code, len(rows)) == (0, 24)
    assert [row["tp"] for row in rows[:4]] == ["1", "3", "1", "3"]
    assert "tp: 3 is illegal" in rows[1]["error"]
    assert rows[0]["error"] == ""
    assert "note: 18 of 24 scenarios are wrong" in run.stderr


def test_rows_are_the_same_in_every_format(kvcalc: Kvcalc, tmp_path: Path) -> None:
    from pyarrow.parquet import read_table

    lines = [json.loads(line) for line in kvcalc(*GRID, "--format", "jsonl").stdout.splitlines()]
    target = tmp_path / "rows.parquet"
    assert kvcalc(*GRID, "-o", str(target)).code == 0
    assert read_table(target).to_pylist() == lines
    words = {None: "", True: "true", False: "false"}
    assert read(kvcalc(*GRID).stdout) == [
        {name: words[value] if value is None or isinstance(value, bool) else str(value) for name, value in row.items()}
        for row in lines
    ]


def test_fields_come_after_the_axes(kvcalc: Kvcalc) -> None:
    run = kvcalc(*GRID, "--fields", "gpus_tp,cache_bytes,answer_gpus")
    assert run.stdout.splitlines()[0] == "model,batch,context,tp,gpus_tp,cache_bytes,answer_gpus"
    assert "did you mean 'cache_bytes'" in kvcalc(*GRID, "--fields", "cache_byte").stderr
    assert "given twice" in kvcalc(*GRID, "--fields", "cache_bytes,cache_bytes").stderr


def test_strict_stops_at_the_first_that_is_wrong(kvcalc: Kvcalc, tmp_path: Path) -> None:
    run = kvcalc(*GRID, "--strict")
    assert (run.code, len(read(run.stdout))) == (2, 1)
    assert "--strict: model llama-3-8b, batch 1, context 1024, tp 3: tp: 3 is illegal" in run.stderr
    target = tmp_path / "rows.csv"
    target.write_text("before")
    assert kvcalc(*GRID, "--strict", "-o", str(target)).code == 2
    assert (target.read_text(), names_in(tmp_path)) == ("before", ["rows.csv"])


def test_more_lines_than_anyone_has_said_yes_to(
    kvcalc: Kvcalc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvcalc.verbs.sweeping.sweep.MAX_UNASKED", 2)
    (tmp_path / "few.csv").write_text("batch\n1\n2\n")
    (tmp_path / "many.csv").write_text("batch\n1\n2\n3\n")
    few, many, target = (str(tmp_path / name) for name in ("few.csv", "many.csv", "rows.csv"))
    line = ("sweep", "-m", "llama-3-8b", "--fields", "cache_bytes", "--from")
    assert kvcalc(*line, few).code == 0
    run = kvcalc(*line, many, "-o", target)
    assert (run.code, sorted(names_in(tmp_path))) == (2, ["few.csv", "many.csv"])
    assert "--yes: the lines of the file are more than 2; --yes makes them all" in run.stderr
    assert kvcalc(*line, many, "--yes").code == 0


def test_shards_together_are_the_whole(kvcalc: Kvcalc) -> None:
    header, *rows = kvcalc(*GRID).stdout.splitlines()
    parts = [kvcalc(*GRID, "--shard", f"{number}/3").stdout.splitlines() for number in (1, 2, 3)]
    assert all(part[0] == header for part in parts)
    assert sorted(row for part in parts for row in part[1:]) == sorted(rows)


def test_a_file_of_scenarios(kvcalc: Kvcalc, tmp_path: Path) -> None:
    listed = tmp_path / "scenarios.csv"
    listed.write_text(
        "model,users,--context,engine-option,dp-attention\n"
        "llama-3-8b,4,1Ki,,\n"
        "qwen3-8b,x,8192,,\n"
        "\n"
        "qwen3-8b,2,max,block-size=32;max-num-seqs=8,false\n"
        "qwen3-8b,2,max,,maybe\n"
        "qwen3-8b,2,max,,true,1\n"
        '"=cmd()",1,1,,\n'
    )
    rows = read(kvcalc("sweep", "--from", str(listed), "--engine", "vllm", "--fields", "cache_bytes,error").stdout)
    assert [(row["batch"], row["context"]) for row in rows] == [
        ("4", "1024"),
        ("x", "8192"),
        ("2", "40960"),
        ("2", "max"),
        ("2", "max"),
        ("1", "1"),
    ]
    assert [bool(row["cache_bytes"]) for row in rows] == [True, False, True, False, False, False]
    said = [row["error"] for row in rows]
    assert "not a number" in said[1]
    assert "neither true nor false" in said[3]
    assert "6 cells" in said[4]
    assert rows[5]["model"] == "'=cmd()"


@pytest.mark.parametrize("delimiter", ["\t", ";"])
def test_cells_may_be_parted_as_spreadsheets_part_them(kvcalc: Kvcalc, tmp_path: Path, delimiter: str) -> None:
    listed = tmp_path / "scenarios.csv"
    cells = [["model", "batch", "reserve"], ["llama-3-8b", "2", '"a=1GiB;b=2GiB"']]
    listed.write_text("".join(delimiter.join(each) + "\n" for each in cells))
    (row,) = read(kvcalc("sweep", "--from", str(listed), "--fields", "cache_bytes,memory_reserve_bytes").stdout)
    assert (row["cache_bytes"], row["memory_reserve_bytes"]) == (str(2 * 2**30), str(3 * 2**30))


def test_a_switch_is_one_in_every_format(kvcalc: Kvcalc, tmp_path: Path) -> None:
    from pyarrow.parquet import read_table

    listed, target = tmp_path / "scenarios.jsonl", tmp_path / "rows.parquet"
    listed.write_text('{"model": "llama-3-8b", "spill": true}\n{"model": "llama-3-8b", "spill": null}\n')
    words = ("sweep", "--from", str(listed), "--fields", "cache_bytes")
    assert kvcalc(*words, "-o", str(target)).code == 0
    lines = kvcalc(*words, "--format", "jsonl").stdout.splitlines()
    assert read_table(target).to_pylist() == [json.loads(line) for line in lines]
    assert [row["spill"] for row in read(kvcalc(*words).stdout)] == ["true", ""]


def test_a_file_is_what_its_name_says(kvcalc: Kvcalc, tmp_path: Path) -> None:
    words = ("sweep", "--model", "llama-3-8b", "--fields", "cache_bytes", "-o")
    run = kvcalc(*words, str(tmp_path / "rows.json"))
    assert (run.code, names_in(tmp_path)) == (2, [])
    assert "no rows are written as .json; --format csv|jsonl|parquet says how" in run.stderr
    assert kvcalc(*words, str(tmp_path / "rows.json"), "--format", "jsonl").code == 0
    assert kvcalc(*words, str(tmp_path / "rows.NDJSON")).code == 0
    assert (tmp_path / "rows.NDJSON").read_text() == (tmp_path / "rows.json").read_text()


def test_lines_of_json(kvcalc: Kvcalc, tmp_path: Path) -> None:
    listed = tmp_path / "scenarios.jsonl"
    listed.write_text(
        '{"model": "llama-3-8b", "batch": 4, "context": "1Ki", "reserve": {"adapters": "1GiB"}}\n'
        '{"model": "llama-3-8b", "batch": null, "context": 2048}\n'
        '{"model": "llama-3-8b", "tp": 2}\n'
        '{"model": ["llama-3-8b"]}\n'
        "[1]\n"
        "{not json\n"
    )
    run = kvcalc("sweep", "--from", str(listed), "--fields", "cache_bytes,error", "--format", "jsonl")
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert [row["cache_bytes"] for row in rows] == [536870912, 268435456, None, None, None, None]
    assert [row["context"] for row in rows[:2]] == [1024, 2048]
    assert "--tp: the first line has no such key" in rows[2]["error"]
    assert rows[0]["reserve"] == "adapters=1GiB"


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("", (), "the file is empty"),
        ("model,nosuch\n", (), "no option 'nosuch'"),
        ("model,batch,users\n", (), "two columns are of option --batch"),
        ("model,batch\n", ("--batch", "1"), "--batch: is a column of"),
        ("{\n", (), "the first line: the line is no JSON"),
        ("model\n", ("--tp", "1,2"), "--tp: "),
    ],
)
def test_a_file_that_cannot_be_read(
    kvcalc: Kvcalc, tmp_path: Path, text: str, words: tuple[str, ...], said: str
) -> None:
    listed = tmp_path / "scenarios"
    listed.write_text(text)
    run = kvcalc("sweep", "--from", str(listed), *words)
    assert (run.code, run.stdout) == (2, "")
    assert said in run.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "--model: missing"),
        (("--model", "llama-3-8b", "--format", "xml"), 2, "no format 'xml' of rows"),
        (("--model", "llama-3-8b", "--format", "parquet"), 2, "give -o FILE.parquet"),
        (("--model", "llama-3-8b", "--batch", "1..1e9+1"), 2, "--yes: 1,000,000,000 scenarios"),
        (("--model", "llama-3-8b", "-c", "4k,16k"), 2, "-c 4000,16000"),
        (("--model", "llama-3-8b", "--utilization", "7"), 2, "--utilization"),
        (("--model", "llama-3-8b", "-o", "/nonexistent/rows.csv"), 3, "cannot be written"),
        (("--from", "/nonexistent.csv"), 2, "cannot be read"),
    ],
)
def test_refused(kvcalc: Kvcalc, words: tuple[str, ...], code: int, said: str) -> None:
    run = kvcalc("sweep", *words)
    assert (run.code, run.stdout) == (code, "")
    assert said in run.stderr


def test_a_figure_that_parquet_does_not_hold_is_an_error(kvcalc: Kvcalc, tmp_path: Path) -> None:
    from pyarrow.parquet import read_table

    target = tmp_path / "rows.parquet"
    run = kvcalc("sweep", "--model", "llama-3-8b", "--batch", "1,1e9", "-c", "1e12", "-o", str(target))
    rows = read_table(target).to_pylist()
    assert (run.code, [row["cache_bytes"] for row in rows]) == (0, [131072 * 10**12, None])
    assert "beyond 9,223,372,036,854,775,807" in rows[1]["error"]


def test_a_file_keeps_its_permissions_and_its_links(kvcalc: Kvcalc, tmp_path: Path) -> None:
    target, link, hard = tmp_path / "rows.csv", tmp_path / "link.csv", tmp_path / "hard.csv"
    target.write_text("before" * 10_000)
    target.chmod(0o640)
    link.symlink_to(target)
    hard.hardlink_to(target)
    assert kvcalc(*GRID, "-o", str(link)).code == 0
    assert target.read_text() == hard.read_text() == kvcalc(*GRID).stdout
    assert (target.stat().st_mode & 0o777, link.is_symlink()) == (0o640, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """By Ctrl-C, or by a scheduler of jobs."""
    words = ("sweep", "--model", "llama-3-70b", "--batch", "1..100000+1", "-c", "1..1000+1")
    process = subprocess.Popen(
        [sys.executable, "-m", "kvcalc", *words, "-o", str(tmp_path / "rows.csv")], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 30
    while not names_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    try:
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()  # 10^8 rows, where this test was started with interrupts ignored
    assert (process.returncode, stderr, names_in(tmp_path)) == (128 + number, b"", [])


def test_a_closed_pipe_is_quiet() -> None:
    words = ("sweep", "--model", "llama-3-70b", "--batch", "1..100000+1", "-c", "1..1000+1")
    process = subprocess.Popen([sys.executable, "-m", "kvcalc", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"model,batch,context")
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == -signal.SIGPIPE


@pytest.mark.parametrize("stdin", [False, True], ids=["a file", "stdin"])
def test_a_list_that_is_no_text_is_told_how_to_be_read(
    kvcalc: Kvcalc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stdin: bool
) -> None:
    listed, text = tmp_path / "list.csv", "model,batch\nllama-3-8b,2\n"
    for written, told in (
        (text.encode("utf-16"), "is UTF-16: iconv"),
        (gzip.compress(text.encode()), "is compressed: gzip -dc FILE | kvcalc sweep --from - reads it"),
        (b"PK\x03\x04" + bytes(30), "is a workbook or a zip archive; save its sheet as CSV"),
    ):
        listed.write_bytes(written)
        with listed.open(encoding="utf-8") as opened:
            monkeypatch.setattr("sys.stdin", opened)
            run = kvcalc("sweep", "--from", "-" if stdin else str(listed))
        assert (run.code, told in run.stderr) == (2, True), run.stderr


def test_a_line_without_an_end_is_no_list(kvcalc: Kvcalc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvcalc.scenario.listed.MOST_SKIPPED", 200_000)
    file = tmp_path / "list.csv"
    file.write_text("model" + "x" * 400_000, encoding="utf-8")
    run = kvcalc("sweep", "--from", str(file))
    assert (run.code, run.stdout) == (2, "")
    assert run.stderr == "error: --from: a line of more than 200,000 characters: no list of scenarios\n"
