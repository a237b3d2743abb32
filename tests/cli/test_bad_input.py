"""Mistakes on the command line: exit code 2, nothing on stdout, one message that names the mistake and the way out."""

from __future__ import annotations

import pytest
from conftest import Kvcalc, Run

LLAMA = ("estimate", "llama-3-70b")
AD_HOC = ("estimate", "--layers", "32", "--heads", "32", "--head-dim", "128")


def assert_refused(run: Run, *fragments: str) -> None:
    assert run.code == 2
    assert run.stdout == ""
    assert run.stderr.startswith("error: ")
    assert "Traceback" not in run.stderr
    assert "a bug in kvcalc" not in run.stderr
    assert run.stderr.replace("\n", "").isprintable()
    for fragment in fragments:
        assert fragment in run.stderr


def words_of(value: object) -> str:
    return " ".join(value)[:60] if isinstance(value, tuple) else ""


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (("-b", "0"), ("--batch: must be at least 1",)),
        (("-b", "-1"), ("--batch: must be at least 1",)),
        (("-b", "nan"), ("--batch: not a number: 'nan'",)),
        (("-b", "1.5"), ("--batch", "1.5", "whole")),
        (("-b", ""), ("--batch",)),
        (("-b", "1e10"), ("--batch", "limit of 1,000,000,000")),
        (("-c", "0"), ("--context: must be at least 1",)),
        (("-c", "-8192"), ("--context: must be at least 1",)),
        (("-c", "1e18"), ("--context", "limit of 1,000,000,000,000")),
        (("-c", "inf"), ("--context: not a number",)),
        (("-c", "maximum"), ("--context: not a number",)),
        (("-c", "8192", "--input", "4096", "--output", "1"), ("--context", "--input", "--output")),
        (("--input", "4096"), ("--input", "--output")),
        (("--output", "4096"), ("--input", "--output")),
        (("--input", "0", "--output", "1"), ("--input: must be at least 1",)),
        (("--input", "1e12", "--output", "1e12"), ("--context", "limit of 1,000,000,000,000")),
        (("--cache-dtype", "fp9"), ("--cache-dtype", "'fp9'", "'fp8'")),
        (("--cache-dtype", "c_kv=fp8"), ("--cache-dtype", "'c_kv'", "k, v")),
        (("--cache-dtype", "k=fp8,k=bf16"), ("--cache-dtype", "'k'", "twice")),
        (("--cache-dtype", "fp8_ds_mla"), ("--cache-dtype", "c_kv", "k, v")),
        (("--weight-dtype", "int5"), ("--weight-dtype", "'int5'")),
        (("--weight-dtype", "fp8_per_token_head"), ("fp8_per_token_head", "weights")),
        (("--state-dtype", "fp99"), ("--state-dtype", "'fp99'")),
        (("--conv-dtype", "fp99"), ("--conv-dtype", "'fp99'")),
        (("--dtype", "fp99"), ("--dtype", "'fp99'")),
        (("--weights", "80G"), ("--weights", "80GB (80,000,000,000 bytes)", "80GiB (85,899,345,920 bytes)")),
        (("--weights", "nan"), ("--weights",)),
        (("--temporary", "-1GiB"), ("--temporary", "-1GiB")),
        (("--overhead", "1XB"), ("--overhead", "XB", "GiB")),
        (("--weights", "1e30"), ("--weights", "limit")),
        (("--reserve", "lora"), ("--reserve", "'lora'", "NAME=SIZE")),
        (("--reserve", "=2GiB"), ("--reserve", "NAME=SIZE")),
        (("--reserve", "lora="), ("--reserve", "NAME=SIZE")),
        (("--reserve", "lora=2G"), ("--reserve lora", "2GB", "2GiB")),
        (("--reserve", "lora=1GiB", "--reserve", "lora=2GiB"), ("--reserve", "'lora'", "twice")),
        (("--reserve", "\x1b[31mred=1GiB"), ("--reserve",)),
        (("--gpu", "h1000"), ("'h1000'", "'h100'")),
        (("--gpu", ""), ("gpu",)),
        (("--gpu", "../gpus/h100-sxm"), ("gpu",)),
        (("--gpu", "x" * 1000), ("gpu",)),
        (("--gpu-memory", "0"), ("--gpu-memory",)),
        (("--gpu-memory", "80G"), ("--gpu-memory", "80GB")),
        (("--gpu-memory", "1"), ("--gpu-memory",)),
        (("--gpu-memory", "80"), ("--gpu-memory: '80' has no unit", "80GB", "80B")),
        (("--weights", "140"), ("--weights: '140' has no unit", "140GB", "140B")),
        (("--utilization", "0"), ("--utilization", "'0'")),
        (("--utilization", "1.1"), ("--utilization", "'1.1'")),
        (("--utilization", "x"), ("--utilization", "'x'")),
        (("--utilization", "nan"), ("--utilization", "'nan'")),
        (("--utilization", "1e-20"), ("--utilization",)),
        (("--tp", "3"), ("tp: 3 is illegal", "1, 2, 4, 8, 16, 32, 64")),
        (("--tp", "128"), ("tp: 128 is illegal", "1, 2, 4, 8, 16, 32, 64")),
        (("--tp", "0"), ("--tp: must be at least 1",)),
        (("--tp", "x"), ("--tp: not a number: 'x'",)),
        (("--pp", "81"), ("pp: 81 is illegal", "1 to 80")),
        (("--pp", "-1"), ("--pp: must be at least 1",)),
        (("--dp", "1e9"), ("--dp", "limit")),
        (("--gpus", "0"), ("--gpus: must be at least 1",)),
        (("--gpus", "8", "--tp", "8"), ("--gpus", "--tp")),
        (("--gpus", "8", "--pp", "8"), ("--gpus", "--pp")),
        (("--gpus", "2", "--dp", "4"), ("--gpus", "4 replicas")),
        (("--engine", "vlm"), ("--engine", "'vlm'", "vllm")),
        (("--engine", "exact@1"), ("--engine", "exact", "'1'", "no versions")),
        (("--engine-option", "a=b"), ("--engine-option", "'a'", "exact")),
        (("--engine-option", "a"), ("--engine-option", "'a'", "KEY=VALUE")),
        (("--engine-option", "a_b=1", "--engine-option", "a-b=1"), ("--engine-option", "'a-b' is given twice")),
        (("--block-size", "16"), ("--block-size", "exact")),
        (("--format", "xml"), ("--format", "'xml'", "table, json, csv, markdown")),
        (("--format", "jsn"), ("--format", "'jsn'", "'json'")),
        (("--json", "--format", "csv"), ("--json", "csv")),
        (("--unit", "KG"), ("--unit", "'KG'", "KiB")),
        (("--unit", "gib"), ("--unit", "'gib'", "GiB")),
        (("--parameters", "7b"), ("--parameters", "'7b'")),
        (("--parameters", "0"), ("--parameters: must be at least 1",)),
        (("--heads", "8"), ("--heads", "'llama-3-70b'")),
        (("--window", "4096"), ("--window", "'llama-3-70b'")),
    ],
    ids=words_of,
)
def test_a_mistaken_option_is_refused(kvcalc: Kvcalc, words: tuple[str, ...], fragments: tuple[str, ...]) -> None:
    assert_refused(kvcalc(*LLAMA, *words), *fragments)


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (("estimate",), ("MODEL", "kvcalc models list", "--layers")),
        (("estimate", "--layers", "32"), ("--heads: missing",)),
        (("estimate", "--layers", "32", "--heads", "32"), ("--head-dim: missing",)),
        (("estimate", "--heads", "32", "--head-dim", "128"), ("--layers: missing",)),
        (("estimate", "--layers", "2", "--heads", "2", "--kv-lora-rank", "512"), ("--qk-rope-head-dim: missing",)),
        ((*AD_HOC, "-c", "max"), ("--context", "ad-hoc", "max_context")),
        ((*AD_HOC, "--kv-heads", "5"), ("--kv-heads", "5", "32")),
        ((*AD_HOC, "--kv-heads", "0"), ("--kv-heads: must be at least 1",)),
        ((*AD_HOC, "--kv-heads", "64"), ("--kv-heads", "64", "32")),
        ((*AD_HOC, "--qk-rope-head-dim", "64"), ("--qk-rope-head-dim", "--kv-lora-rank")),
        ((*AD_HOC, "--kv-lora-rank", "512", "--qk-rope-head-dim", "64"), ("--head-dim", "--kv-lora-rank")),
        ((*AD_HOC, "--v-head-dim", "1.5"), ("--v-head-dim", "whole")),
        ((*AD_HOC, "--window", "0"), ("--window: must be at least 1",)),
        ((*AD_HOC, "--check"), ("--check", "--weights", "--parameters")),
        (("estimate", "--layers", "10001", "--heads", "1", "--head-dim", "1"), ("--layers", "limit of 10,000")),
        (("estimate", "--layers", "1", "--heads", "1e7", "--head-dim", "1"), ("--heads", "limit of 1,000,000")),
        (("estimate", "--layers", "1", "--heads", "1", "--head-dim", "0"), ("--head-dim: must be at least 1",)),
        (("estimate", "--layers", "no", "--heads", "1", "--head-dim", "1"), ("--layers: not a number",)),
    ],
    ids=words_of,
)
def test_a_mistaken_model_of_numbers_is_refused(
    kvcalc: Kvcalc, words: tuple[str, ...], fragments: tuple[str, ...]
) -> None:
    assert_refused(kvcalc(*words), *fragments)


@pytest.mark.parametrize(
    ("model", "fragments"),
    [
        ("", ("model", "kvcalc models list")),
        (" ", ("model",)),
        ("llama-3-7b", ("'llama-3-7b'", "'llama-3-8b'")),
        ("nobody/nothing", ("nobody/nothing", "kvcalc models list")),
        ("jamba", ("'jamba'", "ai21-jamba-large-1.5", "ai21-jamba-mini-1.5")),
        ("configs/models/llama-3-8b", ("'llama-3-8b'",)),
        ("../../etc/passwd", ("../../etc/passwd",)),
        ("./../models/llama-3-8b", ("cannot be read",)),
        ("missing.yaml", ("missing.yaml: cannot be read",)),
        ("config.json", ("config.json: cannot be read",)),
        ("model.gguf", ("model.gguf: cannot be read",)),
        ("/", ("/: ", "YAML")),
        (".", (".: ", "YAML")),
        ("/dev/null", ("/dev/null", "empty")),
        ("/dev/zero", ("/dev/zero", "larger than 1,000,000 bytes")),
        ("*", ("'*'",)),
        ("\x1b[31mllama\x1b[0m", ("model",)),
        ("llama\n-3-8b", ("model",)),
        ("llama-3-8b\x00", ("model",)),
        ("\x00.yaml", (".yaml",)),
        ("x" * 300, ("model",)),
        ("x" * 10_000, ("model",)),
        ("x" * 300 + ".yaml", (".yaml",)),
        ("x" * 300 + "/" + "y" * 300, ("model",)),
        ("\udcff", ("model",)),
    ],
    ids=lambda value: ascii(value)[:40] if isinstance(value, str) else "",
)
def test_what_is_no_model_is_refused(
    kvcalc: Kvcalc,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    fragments: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("folder"))
    assert_refused(kvcalc("estimate", model), *fragments)
    assert len(kvcalc("estimate", model).stderr) < 1000


@pytest.mark.parametrize("option", [("-c", "128k"), ("--context=128k",), ("-c128k",)], ids=words_of)
def test_an_ambiguous_context_is_answered_with_the_command_line_in_both_readings(
    kvcalc: Kvcalc, option: tuple[str, ...]
) -> None:
    run = kvcalc("estimate", "llama-3-70b", *option, "--reserve", "two words=1GiB")
    assert_refused(run, "--context: '128k'", "128000", "128Ki for 131072")
    typed = "kvcalc estimate llama-3-70b {} --reserve 'two words=1GiB'"
    assert run.stderr.splitlines()[1:] == [
        f"  {typed.format(' '.join(option).replace('128k', reading))}" for reading in ("128000", "128Ki")
    ]


def test_only_the_ambiguous_word_of_a_command_line_is_mended(kvcalc: Kvcalc) -> None:
    run = kvcalc("estimate", "llama-3-70b", "-c", "8192", "-b", "2k", "--reserve", "spare2k=1GiB")
    assert_refused(run, "--batch: '2k'", "-c 8192 -b 2000 --reserve spare2k=1GiB", "-b 2Ki --reserve spare2k=1GiB")


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (("estimate", "llama-3-8b", "--nope"), "--nope"),
        (("estimate", "llama-3-8b", "--hed-dim", "3"), "--head-dim"),
        (("estimate", "llama-3-8b", "-b"), "-b"),
        (("estimate", "llama-3-8b", "llama-3-70b"), "llama-3-70b"),
        (("estimate", "llama-3-8b", "--check=yes"), "--check"),
        (("estmate", "llama-3-8b"), "estimate"),
        (("models", "lst"), "list"),
        (("models", "show"), "MODEL"),
        (("gpus", "show"), "GPU"),
        (("explain", "mla", "mha"), "mha"),
        (("--nope",), "--nope"),
        (("",), ""),
    ],
    ids=words_of,
)
def test_a_command_line_that_is_not_understood_is_refused(
    kvcalc: Kvcalc, words: tuple[str, ...], fragment: str
) -> None:
    run = kvcalc(*words)
    assert (run.code, run.stdout) == (2, "")
    assert fragment in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (("models", "show", "llama-3-7b"), ("'llama-3-8b'",)),
        (("models", "show", "missing.yaml"), ("cannot be read",)),
        (("models", "list", "--format", "xml"), ("--format", "'xml'")),
        (("gpus", "show", "h1000"), ("'h100'",)),
        (("gpus", "list", "--unit", "G"), ("--unit", "'G'")),
        (("explain", "mqa2"), ("'mqa'",)),
        (("explain", ""), ("explain",)),
        (("explain", "x" * 10_000), ("explain",)),
    ],
    ids=words_of,
)
def test_other_commands_refuse_likewise(kvcalc: Kvcalc, words: tuple[str, ...], fragments: tuple[str, ...]) -> None:
    assert_refused(kvcalc(*words), *fragments)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [("exact@", "'exact@' is not NAME or NAME@VERSION"), ("@1", "'@1' is not NAME"), ("tpu", "there are exact, vllm")],
)
def test_an_engine_that_cannot_be_read_is_refused(kvcalc: Kvcalc, text: str, fragment: str) -> None:
    result = kvcalc("estimate", "llama-3-8b", "--engine", text)
    assert (result.code, result.stdout) == (2, "")
    assert fragment in result.stderr
