"""What commands print, in every format, and the exit code they end with."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from conftest import Kvcalc, Run, texts

import kvcalc as package
from kvcalc.mechanisms import KINDS
from kvcalc.model.layers import LayerGroup, Repeat
from kvcalc.model.model import Model, WeightPart
from kvcalc.record import keys
from kvcalc.units import with_unit
from kvcalc.verbs.bounds.decode import DecodeBound, Spill
from kvcalc.verbs.bounds.drafted import Drafted
from kvcalc.verbs.estimate_result import SpillResult
from kvcalc.verbs.measured_speed import MeasuredSpeed
from kvcalc.verbs.requests.tiers import Handoff

LLAMA = ("estimate", "llama-3-70b", "-c", "8192")

KEYS = {  # of the JSON of estimate; more may be added, none may go
    "model": "name layers mechanisms source",
    "workload": "batch context",
    "deployment": "engine engine_version tp pp dp ep dcp dp_attention",
    "answer": "gpus gpu tp pp dp fits tight bytes_per_gpu headroom_bytes sequences",
    "cache": "bytes one_copy_bytes bytes_per_rank bytes_per_sequence bytes_per_token bytes_per_token_at_context "
    "state_bytes_per_sequence lower_bound terms",
    "memory": "weights_bytes cache_bytes temporary_bytes overhead_bytes reserve_bytes total_bytes temporary_low_bytes "
    "temporary_high_bytes per_rank",
    "gpus": "gpu memory_bytes utilization usable_bytes fits tight by_memory count tp pp per_rank",
}
MAY_BE_MISSING = ("decode", "prefill", "spill", "mix", "tiers", "handoff", "pools", "measured")

RANK_KEYS = (
    "weights_bytes cache_bytes temporary_bytes overhead_bytes reserve_bytes total_bytes headroom_bytes "
    "least_headroom_bytes"
)


def parsed(run: Run) -> dict[str, Any]:
    assert run.code == 0
    body: dict[str, Any] = json.loads(run.stdout)
    return body


def rows_of(run: Run) -> list[dict[str, str]]:
    assert run.code == 0
    return list(csv.DictReader(io.StringIO(run.stdout)))


def leaves_of(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every value that is no object, with its keys; lists of objects are left out."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves_of(item, (*path, key))
    elif not (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
        yield path, value


def in_csv(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list():
            return ";".join(map(str, value))
        case _:
            return str(value)


def amounts(table: str) -> dict[str, float]:
    """First column -> second column of the table of memory."""
    return {
        match[1]: float(match[2].replace(",", "").removeprefix("<"))
        for match in re.finditer(
            r"^(weights|cache|temporary|overhead|reserve|total)(?:: lora)? +(<?[\d,.]+)", table, re.MULTILINE
        )
    }


@pytest.mark.parametrize(
    "words", [(), ("-h",), ("--help",), ("estimate", "-h"), ("models",), ("gpus",), ("gpus", "-h")]
)
def test_help_is_on_stdout(kvcalc: Kvcalc, words: tuple[str, ...]) -> None:
    run = kvcalc(*words)
    assert (run.code, run.stderr) == (0, "")
    assert run.stdout.startswith("Usage: kvcalc")


def test_help_names_every_command(kvcalc: Kvcalc) -> None:
    for command in ("estimate", "compare", "capacity", "plan", "verify", "models", "gpus", "explain"):
        assert re.search(rf"^  {command} ", kvcalc("--help").stdout, re.MULTILINE)
    for command in ("list", "show", "schema"):
        assert re.search(rf"^  {command} ", kvcalc("models", "-h").stdout, re.MULTILINE)


def test_the_version_is_the_packages(kvcalc: Kvcalc) -> None:
    assert kvcalc("--version") == (0, f"kvcalc {package.__version__}\n", "")


def test_json_of_an_estimate_has_the_promised_keys(kvcalc: Kvcalc) -> None:
    body = parsed(kvcalc(*LLAMA, "--json"))
    assert set(body) == {"schema_version", "command", *KEYS, *MAY_BE_MISSING, "not_modelled", "notes"}
    assert (body["schema_version"], body["command"]) == (2, "estimate")
    for name, names in KEYS.items():
        assert set(names.split()) - set(body[name]) == set()
    for rank in (body["memory"]["per_rank"], body["gpus"]["per_rank"]):
        assert set(RANK_KEYS.split()) - set(rank) == set()
    assert list(body["cache"]["terms"][0]) == ["path", "bytes", "formula", "factors"]


def test_json_holds_integers_of_bytes(kvcalc: Kvcalc) -> None:
    body = parsed(kvcalc("estimate", "gemma-3-27b", "-b", "3", "--tp", "4", "--reserve", "x=1.5GiB", "--json"))
    sizes = {path: value for path, value in leaves_of(body) if "bytes" in path[-1]}
    assert len(sizes) > 30
    assert [path for path, value in sizes.items() if type(value) is not int] == []


def test_the_terms_of_a_cache_multiply_and_add_up_to_it(kvcalc: Kvcalc) -> None:
    cache = parsed(kvcalc("estimate", "gemma-3-27b", "-b", "3", "--tp", "4", "--json"))["cache"]
    for term in cache["terms"]:
        product = 1
        for factor in term["factors"]:
            product *= factor["value"]
        assert product == term["bytes"]
        assert term["formula"] == " x ".join(factor["name"] for factor in term["factors"])
    assert sum(term["bytes"] for term in cache["terms"]) == cache["bytes"]


@pytest.mark.parametrize("more", [(), ("--tp", "8"), ("-b", "64", "--cache-dtype", "fp8")])
def test_csv_has_the_json_paths_as_columns(kvcalc: Kvcalc, more: tuple[str, ...]) -> None:
    body = parsed(kvcalc(*LLAMA, *more, "--json"))
    (row,) = rows_of(kvcalc(*LLAMA, *more, "--format", "csv"))
    may_be_missing = (("decode", DecodeBound), ("spill", Spill), ("drafted", Drafted))
    for name, record in may_be_missing:
        within = body if name == "decode" else body["decode"]
        within[name] = within[name] or dict.fromkeys(key for key in keys(record) if key != "terms")
    body["spill"] = body["spill"] or dict.fromkeys(keys(SpillResult))
    body["handoff"] = body["handoff"] or dict.fromkeys(keys(Handoff))
    body["measured"] = body["measured"] or dict.fromkeys(keys(MeasuredSpeed))
    del body["tiers"], body["pools"]  # lists of objects
    body |= {name: list(texts(body[name])) for name in ("notes", "not_modelled")}
    wanted = {"_".join(path): in_csv(value) for path, value in leaves_of(body)}
    del wanted["schema_version"], wanted["command"]
    assert row == wanted
    assert {"cache_bytes", "cache_bytes_per_rank", "memory_total_bytes", "gpus_count"} <= set(row)


def test_csv_has_the_same_columns_whatever_the_answer(kvcalc: Kvcalc) -> None:
    fits, unknown, nothing_holds_it = (
        rows_of(kvcalc(*words, "--format", "csv"))
        for words in (
            LLAMA,
            ("estimate", "--layers", "2", "--heads", "2", "--head-dim", "64"),
            ("estimate", "llama-3-70b", "-b", "1000000"),
        )
    )
    assert list(fits[0]) == list(unknown[0]) == list(nothing_holds_it[0])


@pytest.mark.parametrize(
    "words",
    [
        LLAMA,
        (*LLAMA, "--explain"),
        ("estimate", "gemma-3-27b", "--tp", "2", "--explain"),
        ("models", "list"),
        ("gpus", "list"),
        ("gpus", "show", "h100"),
        ("explain",),
        ("explain", "q8_0"),
    ],
    ids=" ".join,
)
def test_markdown_tables_are_well_formed(kvcalc: Kvcalc, words: tuple[str, ...]) -> None:
    run = kvcalc(*words, "--format", "markdown")
    assert run.code == 0
    tables = re.findall(r"(?:^\|.*\n)+", run.stdout, re.MULTILINE)
    assert tables
    for table in tables:
        lines = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert re.fullmatch(r"\|( (---|--:) \|)+", lines[1])
        assert len(lines) > 2


def test_a_file_stands_in_markdown_as_a_fenced_block(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = "name: mine\nlayers: [{count: 1, attention: {kind: none}}]"
    path.write_text(text, encoding="utf-8")  # without a line end
    assert kvcalc("models", "show", str(path), "--format", "markdown").stdout == f"```yaml\n{text}\n```\n"


@pytest.mark.parametrize("unit", ["B", "GiB", "GB", "MiB"])
def test_a_total_is_the_sum_of_its_rows(kvcalc: Kvcalc, unit: str) -> None:
    run = kvcalc(*LLAMA, "-b", "7", "--tp", "4", "--reserve", "lora=1.5GiB", "--unit", unit)
    shown = amounts(run.stdout)
    total = shown.pop("total")
    assert set(shown) == {"weights", "cache", "temporary", "overhead", "reserve"}
    assert round(sum(shown.values()), 2) == total
    assert f"{unit} per GPU" in run.stdout
    assert f" {unit} usable" in run.stdout


def test_bytes_in_a_table_are_those_of_json(kvcalc: Kvcalc) -> None:
    shown = amounts(kvcalc(*LLAMA, "--tp", "4", "--unit", "B").stdout)
    rank = parsed(kvcalc(*LLAMA, "--tp", "4", "--json"))["memory"]["per_rank"]
    assert all(rank[f"{name}_bytes"] == size for name, size in shown.items())


def test_notes_are_on_stderr_or_in_json(kvcalc: Kvcalc) -> None:
    table, in_json = (kvcalc("estimate", "llama-3-70b", *more) for more in ((), ("--json",)))
    assert table.stderr.startswith("note: context is not given: 8,192 is used")
    assert in_json.stderr == ""
    assert [f"note: {with_unit(note, 'GiB')}" for note in texts(parsed(in_json)["notes"])] == table.stderr.splitlines()
    assert "note" not in table.stdout


@pytest.mark.parametrize(
    ("deployment", "code"),
    [(("--tp", "1"), 1), (("--tp", "2"), 1), (("--tp", "4"), 0), (("-b", "32"), 0), ((), 1), (("--gpus", "8"), 0)],
    ids=["does not fit", "tight", "fits", "the smallest fits", "the smallest is tight", "the best of 8"],
)
def test_check_tells_by_exit_code_whether_it_fits(kvcalc: Kvcalc, deployment: tuple[str, ...], code: int) -> None:
    plain, checked = (kvcalc(*LLAMA, *deployment, *more) for more in ((), ("--check",)))
    assert (plain.code, checked.code) == (0, code)
    assert plain.stdout == checked.stdout
    assert checked.stderr.startswith(plain.stderr)
    assert ("error: --check: " in checked.stderr) == bool(code)


def test_a_file_gets_the_whole_result_and_stdout_nothing(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("what was there before", encoding="utf-8")
    path.chmod(0o640)
    run = kvcalc(*LLAMA, "--json", "-o", str(path))
    assert (run.code, run.stdout) == (0, "")
    assert path.read_text(encoding="utf-8") == kvcalc(*LLAMA, "--json", "-o", "-").stdout == kvcalc(*LLAMA, "--json")[1]
    assert [each.name for each in tmp_path.iterdir()] == ["result.json"]
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("ends", "how"), [("json", "json"), ("CSV", "csv"), ("md", "markdown"), ("txt", "table")])
def test_a_file_is_written_as_its_name_ends(kvcalc: Kvcalc, tmp_path: Path, ends: str, how: str) -> None:
    path = tmp_path / f"result.{ends}"
    assert kvcalc(*LLAMA, "-o", str(path)).code == 0
    assert path.read_text(encoding="utf-8") == kvcalc(*LLAMA, "--format", how).stdout
    assert kvcalc(*LLAMA, "--format", "csv", "-o", str(path)).code == 0
    assert path.read_text(encoding="utf-8") == kvcalc(*LLAMA, "--format", "csv").stdout


@pytest.mark.parametrize("name", ["missing/result.json", ""], ids=["no such directory", "a directory"])
def test_a_file_that_cannot_be_written_is_told_and_leaves_nothing(kvcalc: Kvcalc, tmp_path: Path, name: str) -> None:
    run = kvcalc(*LLAMA, "--json", "-o", str(tmp_path / name))
    assert (run.code, run.stdout) == (3, "")
    assert run.stderr.startswith("error: -o: ")
    assert len(run.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "key", "names"),
    [
        (("models", "list"), "models", {"llama-3-70b", "deepseek-v3", "gpt-oss-120b"}),
        (("gpus", "list"), "gpus", {"h100-sxm", "mi300x", "b200"}),
        (("explain",), "topics", {"mha", "mla", "q8_0", "exact", "weights"}),
    ],
    ids=["models", "gpus", "explain"],
)
def test_lists_hold_the_same_names_in_every_format(
    kvcalc: Kvcalc, words: tuple[str, ...], key: str, names: set[str]
) -> None:
    body = parsed(kvcalc(*words, "--json"))
    assert body["command"] == " ".join(words)
    listed = [row["name"] for row in body[key]]
    assert names <= set(listed)
    assert [row["name"] for row in rows_of(kvcalc(*words, "--format", "csv"))] == listed
    for how in ("table", "markdown"):
        text = kvcalc(*words, "--format", how).stdout.replace("\\", "")
        assert [name for name in listed if name not in text] == []


def test_everything_can_be_explained_in_every_format(kvcalc: Kvcalc) -> None:
    """Each as a table and in one of the others, in turn: topics of a kind stand together and are printed alike."""
    for topic, other in zip(parsed(kvcalc("explain", "--json"))["topics"], cycle(("json", "csv", "markdown"))):
        for how in ("table", other):
            run = kvcalc("explain", topic["name"], "--format", how)
            assert (run.code, run.stderr) == (0, "")
            assert topic["name"] in run.stdout.replace("\\", "")


def test_an_accelerator_is_shown_by_its_alias(kvcalc: Kvcalc) -> None:
    card = parsed(kvcalc("gpus", "show", "h100-80gb", "--json"))["gpu"]
    assert (card["name"], card["memory_bytes"], card["memory_from"]) == ("h100-sxm", 81_082 * 2**20, "runtime")
    assert rows_of(kvcalc("gpus", "show", "h100", "--format", "csv"))[0]["memory_bytes"] == "85020639232"


@pytest.mark.parametrize("name", ["llama-3-70b", "gemma-3-27b", "deepseek-v3", "gpt-oss-120b"])
def test_a_shown_model_is_a_model_file(kvcalc: Kvcalc, tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(kvcalc("models", "show", name).stdout, encoding="utf-8")
    mine, shipped = (parsed(kvcalc("estimate", model, "-b", "3", "--tp", "2", "--json")) for model in (str(path), name))
    assert mine == shipped
    card = parsed(kvcalc("models", "show", name, "--json"))
    assert (card["model"]["name"], card["text"]) == (name, path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(card["model"]), encoding="utf-8")
    assert parsed(kvcalc("estimate", str(path), "-b", "3", "--tp", "2", "--json")) == shipped


def test_the_schema_of_model_files_names_every_field(kvcalc: Kvcalc, tmp_path: Path) -> None:
    run = kvcalc("models", "schema")
    assert (run.code, run.stderr) == (0, "")
    schema = json.loads(run.stdout)
    nouns = {noun.__name__: noun for noun in (LayerGroup, Repeat, WeightPart, *KINDS.values())}
    described = {name: noun["properties"] for name, noun in schema["$defs"].items()} | {"Model": schema["properties"]}
    for name, noun in (nouns | {"Model": Model}).items():
        assert set(described[name]) == {each.name for each in fields(noun)}
    assert set(schema["required"]) == {"name", "layers"}
    assert schema["additionalProperties"] is False
    path = tmp_path / "schema.json"
    assert kvcalc("models", "schema", "-o", str(path)) == (0, "", "")
    assert path.read_text(encoding="utf-8") == run.stdout


def test_explain_of_an_estimate_is_its_tree_of_terms(kvcalc: Kvcalc) -> None:
    run = kvcalc(*LLAMA, "--explain")
    assert "2,684,354,560" in run.stdout
    assert "k_and_v x layers x sequences x context x num_kv_heads x head_dim x bytes_per_element" in run.stdout
    rows = rows_of(kvcalc(*LLAMA, "--explain", "--format", "csv"))
    assert [int(row["bytes"]) for row in rows] == [2_684_354_560]
