"""Mistakes in a model file: exit code 2, nothing on stdout, the place of the mistake and the field named."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Kvcalc, Run

GQA = "{kind: gqa, num_heads: 64, num_kv_heads: 8, head_dim: 128}"
MLA = "{kind: mla, num_heads: 4, kv_lora_rank: 512, qk_rope_head_dim: 64, qk_nope_head_dim: 128, v_head_dim: 128}"


def model(head: str = "", attention: str = GQA, group: str = "") -> str:
    """A model file with further lines from line 2 on, another attention, or further keys of its layers."""
    return f"name: mine\n{head}layers:\n  - {{count: 2, attention: {attention}{group}}}\n"


def gqa(**fields: str) -> str:
    values = {"num_heads": "64", "num_kv_heads": "8", "head_dim": "128"} | fields
    return model(attention="{kind: gqa, " + ", ".join(f"{key}: {value}" for key, value in values.items()) + "}")


def nested_repeats(depth: int) -> str:
    return f"{{count: 1, attention: {GQA}}}" if depth == 0 else f"{{repeat: 2, of: [{nested_repeats(depth - 1)}]}}"


def estimate(kvcalc: Kvcalc, folder: Path, text: str) -> Run:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return kvcalc("estimate", str(path), "-c", "8192", "--weights", "1GiB")


# What is wrong: the file, the line, what the caret is under, words of the message.
CASES: dict[str, tuple[str, int, str, list[str]]] = {
    "a key of the model": (model("hiden_size: 8\n"), 2, "hiden_size", ["'hiden_size'", "'hidden_size'"]),
    "a key far from all": (model("zzz: 8\n"), 2, "zzz", ["'zzz'", "max_context"]),
    "a key of a group": (model(group=", windw: 8"), 3, "windw", ["'windw'", "'window'"]),
    "a key of attention": (gqa(num_kv_head="8"), 3, "num_kv_head: 8}", ["'num_kv_head'", "'num_kv_heads'"]),
    "a key of a repeat": (
        f"name: x\nlayers: [{{repeat: 2, off: 1, of: [{{count: 1, attention: {GQA}}}]}}]",
        2,
        "off",
        ["'off'", "'of'"],
    ),
    "a key of weights": (
        model("weights: [{part: a, parameter: 8, format: bf16}]\n"),
        2,
        "parameter:",
        ["'parameters'"],
    ),
    "mha with num_kv_heads": (
        model(attention="{kind: mha, num_heads: 64, num_kv_heads: 8, head_dim: 128}"),
        3,
        "num_kv_heads",
        ["'num_kv_heads'"],
    ),
    "mqa with num_kv_heads": (
        model(attention="{kind: mqa, num_heads: 64, num_kv_heads: 1, head_dim: 128}"),
        3,
        "num_kv_heads",
        ["'num_kv_heads'"],
    ),
    "gqa with kv_lora_rank": (gqa(kv_lora_rank="8"), 3, "kv_lora_rank", ["'kv_lora_rank'", "mla"]),
    "num_kv_heads that does not divide": (gqa(num_kv_heads="6"), 3, "{kind", ["num_kv_heads", "6", "64"]),
    "num_kv_heads above num_heads": (gqa(num_kv_heads="128"), 3, "{kind", ["num_kv_heads", "128", "64"]),
    "zero": (gqa(head_dim="0"), 3, "0}", ["head_dim: must be at least 1, not 0"]),
    "negative": (gqa(head_dim="-1"), 3, "-1}", ["head_dim: must be at least 1, not -1"]),
    "a fraction": (gqa(head_dim="1.5"), 3, "1.5}", ["head_dim: expected a whole number, not 1.5"]),
    "a whole fraction": (gqa(head_dim="128.0"), 3, "128.0}", ["head_dim: expected a whole number, not 128.0"]),
    "a word": (gqa(head_dim="big"), 3, "big}", ["head_dim: expected a whole number, not 'big'"]),
    "a quoted number": (gqa(head_dim="'128'"), 3, "'128'", ["head_dim: expected a whole number, not '128'"]),
    "true": (gqa(head_dim="true"), 3, "true", ["head_dim: expected a whole number, not True"]),
    "nothing": (gqa(head_dim=""), 3, "}}", ["head_dim: expected a whole number, not nothing"]),
    "a list": (gqa(head_dim="[128]"), 3, "[128]", ["head_dim: expected a whole number"]),
    "not a number": (gqa(head_dim=".nan"), 3, ".nan", ["'.nan' is not a finite number"]),
    "10^18": (gqa(head_dim="1e18"), 3, "1e18", ["head_dim: must be at most 1,000,000, not 1000000000000000000"]),
    "10^40": (gqa(head_dim="1e40"), 3, "1e40", ["head_dim", "1,000,000"]),
    "num_heads 10^6 + 1": (gqa(num_heads="1000001"), 3, "1000001", ["num_heads: must be at most 1,000,000"]),
    "num_kv_heads zero": (gqa(num_kv_heads="0"), 3, "0,", ["num_kv_heads: must be at least 1, not 0"]),
    "kv_lora_rank zero": (model(attention=MLA.replace("512", "0")), 3, "0,", ["kv_lora_rank: must be at least 1"]),
    "no kv_lora_rank": (model(attention=MLA.replace("kv_lora_rank: 512, ", "")), 3, "{kind", ["'kv_lora_rank'"]),
    "hidden_size zero": (model("hidden_size: 0\n"), 2, "0", ["hidden_size: must be at least 1"]),
    "vocab_size a fraction": (model("vocab_size: 0.5\n"), 2, "0.5", ["vocab_size: expected a whole number"]),
    "max_context negative": (model("max_context: -1\n"), 2, "-1", ["max_context: must be at least 1"]),
    "max_context too large": (model("max_context: 1e13\n"), 2, "1e13", ["max_context", "1,000,000,000,000"]),
    "parameters a word": (model("parameters: 70b\n"), 2, "70b", ["parameters: expected a whole number, not '70b'"]),
    "parameters too many": (model("parameters: 1e30\n"), 2, "1e30", ["parameters: must be at most"]),
    "tie_word_embeddings no": (model("tie_word_embeddings: no\n"), 2, "no", ["tie_word_embeddings", "true or false"]),
    "hub_ids a word": (model("hub_ids: mine\n"), 2, "mine", ["hub_ids: expected a list, not 'mine'"]),
    "hub_ids numbers": (model("hub_ids: [1]\n"), 2, "1]", ["hub_ids[0]: expected a word"]),
    "name a number": (model().replace("mine", "17"), 1, "17", ["name: expected a word, not 17"]),
    "name empty": (model().replace("mine", "''"), 1, "''", ["name: must not be empty"]),
    "name too long": (model().replace("mine", "m" * 101), 1, "mmm", ["name: longer than 100 characters"]),
    "name with an escape": (model().replace("mine", '"a\\e[31m"'), 1, '"a', ["name", "control characters"]),
    "name missing": (model().replace("name: mine\n", ""), 1, "layers", ["missing key 'name'"]),
    "layers missing": ("name: mine\n", 1, "name", ["missing key 'layers'"]),
    "layers empty": ("name: mine\nlayers: []\n", 2, "[]", ["layers: must not be empty"]),
    "layers nothing": ("name: mine\nlayers: ~\n", 2, "~", ["layers: expected a list, not nothing"]),
    "layers a number": ("name: mine\nlayers: 80\n", 2, "80", ["layers: expected a list, not 80"]),
    "layers of numbers": ("name: mine\nlayers: [80]\n", 2, "80]", ["layers[0]: expected keys and values, not 80"]),
    "a repeat of nothing": ("name: mine\nlayers: [{repeat: 2, of: []}]\n", 2, "[]", ["of: must not be empty"]),
    "repeat zero": (f"name: x\nlayers: [{{repeat: 0, of: [{{count: 1, attention: {GQA}}}]}}]", 2, "0,", ["repeat"]),
    "repeat nested 5 deep": (f"name: x\nlayers: [{nested_repeats(5)}]", 2, "layers", ["'repeat'", "more than 4 deep"]),
    "count missing": (f"name: x\nlayers: [{{attention: {GQA}}}]", 2, "{attention", ["missing key 'count'"]),
    "attention missing": ("name: x\nlayers: [{count: 1}]", 2, "{count", ["missing key 'attention'"]),
    "count zero": (model().replace("count: 2", "count: 0"), 3, "0,", ["count: must be at least 1"]),
    "10,001 layers": (model().replace("count: 2", "count: 10001"), 3, "10001", ["count: must be at most 10,000"]),
    "10,001 layers repeated": (
        f"name: x\nlayers: [{{repeat: 73, of: [{{count: 137, attention: {GQA}}}]}}]",
        2,
        "layers",
        ["layers: 10,001 layers", "10,000"],
    ),
    "10^16 layers repeated": (
        "name: x\nlayers: [" + nested_repeats(4).replace("repeat: 2", "repeat: 10000") + "]",
        2,
        "layers",
        ["layers", "10,000"],
    ),
    "kind missing": (model(attention="{num_heads: 64, head_dim: 128}"), 3, "{num_heads", ["missing key 'kind'", "gqa"]),
    "kind unknown": (gqa().replace("kind: gqa", "kind: gqqa"), 3, "{kind", ["unknown kind 'gqqa'", "'gqa'"]),
    "kind a list": (gqa().replace("kind: gqa", "kind: [gqa]"), 3, "{kind", ["kind"]),
    "attention a word": (model(attention="gqa"), 3, "gqa}", ["attention", "expected keys and values"]),
    "window zero": (model(group=", window: 0"), 3, "0}", ["window: must be at least 1"]),
    "window on shared": (model(attention="{kind: shared}", group=", window: 8"), 3, "{count", ["window", "'shared'"]),
    "window on none": (model(attention="{kind: none}", group=", window: 8"), 3, "{count", ["window", "'none'"]),
    "chunk zero": (model(group=", chunk: 0"), 3, "0}", ["chunk: must be at least 1"]),
    "chunks": (model(group=", chunks: 8192"), 3, "chunks", ["'chunks'", "'chunk'"]),
    "chunk on shared": (model(attention="{kind: shared}", group=", chunk: 8"), 3, "{count", ["chunk", "'shared'"]),
    "dtype unknown": (model("dtype: bf17\n"), 2, "dtype", ["dtype", "'bf17'", "'bf16'"]),
    "weight_dtype unknown": (model("weight_dtype: q9_0\n"), 2, "weight_dtype", ["weight_dtype", "'q9_0'", "'q8_0'"]),
    "cache_dtype unknown": (model(group=", cache_dtype: fp9"), 3, "cache_dtype", ["cache_dtype", "'fp9'", "'fp8'"]),
    "dtype a number": (model("dtype: 16\n"), 2, "16", ["dtype: expected a word, not 16"]),
    "weights without format": (model("weights: [{part: a, parameters: 8}]\n"), 2, "{part", ["missing key 'format'"]),
    "weights of numbers": (model("weights: [8]\n"), 2, "8]", ["weights[0]: expected keys and values, not 8"]),
    "weights a mapping": (model("weights: {part: a}\n"), 2, "{part", ["weights: expected a list"]),
    "weights split wrongly": (
        model("weights: [{part: a, parameters: 8, format: bf16, split: pp}]\n"),
        2,
        "pp}",
        ["split: expected 'tp', 'ep', 'stage' or 'all', not 'pp'"],
    ),
    "weights in no format": (model("weights: [{part: a, parameters: 8, format: b}]\n"), 2, "format", ["format", "'b'"]),
    "weights without part": (
        model("weights: [{parameters: 8, format: bf16}]\n"),
        2,
        "{parameters",
        ["missing key 'part'"],
    ),
    "a duplicate key": (model("dtype: bf16\ndtype: fp16\n"), 3, "dtype", ["duplicate key 'dtype' (first at line 2)"]),
    "an alias": (model("dtype: *x\n"), 2, "*x", ["an alias"]),
    "a tab": (model("\tdtype: bf16\n"), 2, "\t", ["not valid YAML"]),
    "a list of models": ("- name: mine\n", 1, "- name", ["expected keys and values"]),
    "a word alone": ("llama\n", 1, "llama", ["expected keys and values"]),
    "nothing but ---": ("---\n", 1, "---", ["expected keys and values"]),
    "a config.json": (
        '{"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 32}',
        1,
        '"architectures"',
        ["architectures"],
    ),
}


@pytest.mark.parametrize(("text", "line", "pointed", "fragments"), CASES.values(), ids=list(CASES))
def test_a_mistake_is_told_with_its_place(
    kvcalc: Kvcalc, tmp_path: Path, text: str, line: int, pointed: str, fragments: list[str]
) -> None:
    run = estimate(kvcalc, tmp_path, text)
    assert (run.code, run.stdout) == (2, "")
    assert run.stderr.startswith("error: ")
    assert "Traceback" not in run.stderr
    assert "a bug in kvcalc" not in run.stderr
    first = run.stderr.splitlines()[0]
    assert [fragment for fragment in fragments if fragment not in first] == []
    column = text.splitlines()[line - 1].index(pointed) + 1
    assert first.startswith(f"error: {tmp_path}/mine.yaml:{line}:{column}: ")


def test_every_mistake_is_told_at_once(kvcalc: Kvcalc, tmp_path: Path) -> None:
    run = estimate(kvcalc, tmp_path, model("hiden_size: 8\nvocab_size: 0\n", group=", window: 0"))
    assert [part in run.stderr for part in ("mine.yaml:2:1: ", "mine.yaml:3:13: ", "mine.yaml:5:")] == [True] * 3


def test_many_mistakes_are_told_in_part(kvcalc: Kvcalc, tmp_path: Path) -> None:
    run = estimate(kvcalc, tmp_path, model("".join(f"unknown_{n}: 1\n" for n in range(1000))))
    assert run.code == 2
    assert "... and 995 more" in run.stderr
    assert len(run.stderr.splitlines()) < 20


def test_the_caret_stands_below_the_mistake(kvcalc: Kvcalc, tmp_path: Path) -> None:
    shown, caret = estimate(kvcalc, tmp_path, gqa(head_dim="big")).stderr.splitlines()[1:3]
    assert shown[caret.index("^") :].startswith("big}")


@pytest.mark.parametrize("data", [b"a: \xff", b"name: \x00", b"", "\ufeff".encode(), b"\x1f\x8b\x08", b"9" * 2_000_000])
def test_a_file_that_is_no_text_of_a_model_is_refused(kvcalc: Kvcalc, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(data)
    run = kvcalc("estimate", str(path))
    assert (run.code, run.stdout) == (2, "")
    assert run.stderr.startswith(f"error: {path}:")


def test_a_folder_and_a_missing_file_are_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    for name in ("folder.yaml", "missing.yaml", "missing/mine.yml"):
        run = kvcalc("estimate", str(tmp_path / name))
        assert (run.code, run.stdout) == (2, "")
        assert name in run.stderr


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "f32", "f16", "half", "BF16"])
def test_every_spelling_of_a_format_is_accepted_in_a_file(kvcalc: Kvcalc, tmp_path: Path, dtype: str) -> None:
    run = estimate(kvcalc, tmp_path, model(f"dtype: {dtype}\nweight_dtype: {dtype}\n", group=f", cache_dtype: {dtype}"))
    assert run.code == 0
    assert "dtype" not in run.stderr


def test_a_format_that_a_row_does_not_fill_is_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    run = estimate(kvcalc, tmp_path, gqa(num_kv_heads="1", head_dim="80").replace("}}", "}, cache_dtype: q8_0}"))
    assert (run.code, run.stdout) == (2, "")
    assert "blocks of 32 elements, and a row here has 80" in run.stderr


def test_notes_hold_no_escape_of_a_file_name(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m.yaml"
    path.write_text(model(), encoding="utf-8")
    run = kvcalc("estimate", str(path))
    assert run.code == 0
    assert "\x1b" not in run.stdout + run.stderr


def test_a_file_of_ones_own_is_shown_although_the_catalogue_has_one_of_its_path(
    kvcalc: Kvcalc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "configs" / "models" / "llama-3-70b.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(model(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert kvcalc("models", "show", "configs/models/llama-3-70b.yaml").stdout == model()
    assert "next: kvcalc estimate llama-3-70b" not in kvcalc("estimate", "configs/models/llama-3-70b.yaml").stdout
