"""A config.json on the command line, and `kvcalc models import`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Kvcalc, texts

import kvcalc as api

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path, LLAMA)


def written(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_a_config_and_its_folder_are_the_same_question(kvcalc: Kvcalc, config: Path) -> None:
    answers = [json.loads(kvcalc("estimate", str(each), "--json").stdout) for each in (config, config.parent)]
    assert [each["cache"]["bytes"] for each in answers] == [2 * 32 * 8192 * 8 * 128 * 2] * 2


def test_a_file_by_another_name_is_read_too(kvcalc: Kvcalc, config: Path) -> None:
    other = config.rename(config.with_name("My Model.json"))
    assert kvcalc("models", "import", str(other)).stdout.splitlines()[1].startswith('name: "my-model"  # ')


def test_import_writes_a_file_that_estimate_reads(kvcalc: Kvcalc, config: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    run = kvcalc("models", "import", str(config), "-o", str(target))
    assert (run.code, run.stdout) == (0, "")
    first, second = (json.loads(kvcalc("estimate", str(each), "--json").stdout) for each in (config, target))
    assert first["cache"] == second["cache"]
    assert "num_kv_heads: 8  # num_key_value_heads" in target.read_text(encoding="utf-8")


def test_import_writes_an_entry_of_a_catalogue(kvcalc: Kvcalc, config: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    told = ("--hub-id", "org/Mine-Instruct", "--hub-id", "org/Mine", "--source", "https://example.org/config.json")
    assert kvcalc("models", "import", str(config), *told, "-o", str(target)).code == 0
    model = api.load_model(target)
    assert (model.name, model.hub_ids) == ("mine", ("org/Mine-Instruct", "org/Mine"))
    assert model.source == "https://example.org/config.json"


def test_import_of_a_model_file_is_refused(kvcalc: Kvcalc) -> None:
    run = kvcalc("models", "import", "llama-3-8b")
    assert (run.code, run.stdout) == (2, "")
    assert "is a model file already" in run.stderr


@pytest.mark.parametrize("command", ["estimate", "capacity", "compare", "models import"])
def test_the_model_that_is_read_is_not_written_over(kvcalc: Kvcalc, config: Path, command: str) -> None:
    before = config.read_bytes()
    for model in (config, config.parent):
        for target in (config, config.parent / "x" / ".." / "config.json"):
            run = kvcalc(*command.split(), str(model), "-o", str(target))
            assert (run.code, run.stdout) == (2, "")
            assert "is the model that is read" in run.stderr
    assert config.read_bytes() == before


def test_show_prints_what_import_writes(kvcalc: Kvcalc, config: Path) -> None:
    assert kvcalc("models", "show", str(config)).stdout == kvcalc("models", "import", str(config)).stdout


@pytest.mark.parametrize(
    "command", ["estimate", "capacity", "compare", "plan", pytest.param("verify", marks=pytest.mark.torch)]
)
def test_every_command_takes_assumptions(kvcalc: Kvcalc, tmp_path: Path, command: str) -> None:
    config = written(tmp_path, {**LLAMA, "model_type": "my_llama", "num_hidden_layers": 2})
    more = {"verify": ("--device", "meta"), "plan": ("--weights", "1GiB"), "capacity": ("--weights", "1GiB")}
    words = (command, str(config), *more.get(command, ()))
    refused = kvcalc(*words)
    assert refused.code == 2
    assert "model_type 'my_llama' is not known" in refused.stderr
    assert "--assume model_type=NAME" in refused.stderr
    assert kvcalc(*words, "--assume", "model_type=llama").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--assume", "head_dim"), "--assume: 'head_dim' is not KEY=VALUE"),
        (("--assume", "head_dim=1", "--assume", "head_dim=2"), "--assume: 'head_dim' is given twice"),
        (("--assume", "head_dimm=64"), "--assume head_dimm: nothing of llama depends on it; did you mean 'head_dim'?"),
        (("--assume", "head_dim=wide"), 'head_dim is "wide", not a whole number'),
        (("--assume", "head_dim=[1,2]"), "head_dim is [1, 2], not a whole number"),
        (("--assume", "model_type=7"), "has no model_type"),
    ],
)
def test_assumptions_that_cannot_be(kvcalc: Kvcalc, config: Path, words: tuple[str, ...], message: str) -> None:
    run = kvcalc("estimate", str(config), *words)
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr


@pytest.mark.parametrize("model", [("llama-3-8b",), ("--layers", "2", "--heads", "2", "--head-dim", "64")])
def test_there_is_nothing_to_assume_of_a_model_file(kvcalc: Kvcalc, model: tuple[str, ...]) -> None:
    run = kvcalc("estimate", *model, "--assume", "head_dim=64")
    assert (run.code, run.stdout) == (2, "")
    assert run.stderr.startswith("error: --assume: decides what an imported file does not say")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{\0}\0", "not UTF-8 text: it is UTF-16; save it as UTF-8, as iconv"),
        (b"\xff\xfe\0\0{\0\0\0", "not UTF-8 text: it is UTF-32"),
        (b"\x1f\x8b\x08", "not UTF-8 text: it is compressed"),
        (b"PK\x03\x04", "not UTF-8 text: it is a zip archive"),
        (b"{\xff}", "not UTF-8 text (byte 1)"),
        (b" " * 4_000_001, "larger than 4,000,000 bytes"),
        (b"[]", "expected keys and values"),
        (b'{"model_type": "\\u001b[31mllama"}', "is not known"),
    ],
)
def test_a_file_that_is_no_config_is_refused(kvcalc: Kvcalc, config: Path, content: bytes, message: str) -> None:
    config.write_bytes(content)
    run = kvcalc("estimate", str(config))
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr
    assert run.stderr.replace("\n", "").isprintable()


def test_a_config_without_the_suffix_is_no_model_file(kvcalc: Kvcalc, config: Path) -> None:
    other = config.rename(config.with_name("config"))
    run = kvcalc("estimate", str(other))
    assert (run.code, run.stdout) == (2, "")
    assert "it looks like a config.json, and is read as one where its name ends in .json" in run.stderr


def test_a_name_of_the_catalogue_that_is_also_a_path_is_refused(
    kvcalc: Kvcalc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, other in (("qwen3-8b", "Qwen/Qwen3-8B"), ("Qwen/Qwen3-8B", "qwen3-8b")):
        Path(name).mkdir(parents=True)
        assert kvcalc("estimate", name).code == 0  # a folder without a model
        written(Path(name), {**LLAMA, "num_hidden_layers": 1})
        run = kvcalc("estimate", name)
        assert (run.code, run.stdout) == (2, "")
        assert f"./{name} is the path, {other} the catalogue's model" in run.stderr
        assert json.loads(kvcalc("estimate", f"./{name}", "--json").stdout)["model"]["layers"] == 1
        (Path(name) / "config.json").unlink()


def test_a_folder_without_a_config_is_said_to_be_one(
    kvcalc: Kvcalc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    assert "mine: only YAML model files" in kvcalc("estimate", "mine").stderr
    Path("mine/b.gguf").touch()
    assert "it has no config.json, but b.gguf can be named" in kvcalc("estimate", "mine").stderr


def test_a_folder_in_place_of_config_json_is_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    for each in (tmp_path, tmp_path / "config.json"):
        run = kvcalc("estimate", str(each))
        assert (run.code, run.stdout) == (2, "")


def test_from_python(config: Path) -> None:
    assert api.load_model(config).num_layers == 32
    assert api.load_model(config, assume={"num_hidden_layers": 3}).num_layers == 3
    assert api.estimate(config, assume={"head_dim": 64}).cache.bytes == 2 * 32 * 8192 * 8 * 64 * 2


def test_notes_of_an_import_are_told(kvcalc: Kvcalc, tmp_path: Path) -> None:
    config = written(tmp_path, {**LLAMA, "quantization_config": {"quant_method": "fp8"}})
    run = kvcalc("estimate", str(config))
    assert "note: the checkpoint is quantised (fp8)" in run.stderr
    assert "quantised" not in kvcalc("estimate", str(written(tmp_path, {**LLAMA, "quantization_config": {}}))).stderr
    written(tmp_path, {**LLAMA, "quantization_config": {"quant_method": "fp8"}})
    assert any(
        "quantised (fp8)" in note
        for note in texts(json.loads(kvcalc("estimate", str(config), "--json").stdout)["notes"])
    )
    assert kvcalc("models", "import", str(config)).stdout.splitlines()[1].startswith("# the checkpoint is quantised")


def test_quantisation_may_stand_beside_config_json(kvcalc: Kvcalc, config: Path) -> None:
    beside = config.with_name("hf_quant_config.json")
    told = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}}
    beside.write_text(json.dumps(told), encoding="utf-8")
    notes = texts(json.loads(kvcalc("estimate", str(config.parent), "--json").stdout)["notes"])
    assert any("is quantised (NVFP4)" in note for note in notes)
    assert "the checkpoint asks for a cache in fp8: --cache-dtype fp8" in notes
    beside.write_text("[]", encoding="utf-8")
    assert kvcalc("estimate", str(config.parent)).code == 2


def test_assumptions_are_of_one_model(kvcalc: Kvcalc, config: Path) -> None:
    run = kvcalc("compare", str(config), "llama-3-8b", "--assume", "head_dim=64")
    assert (run.code, run.stdout) == (2, "")
    assert "--assume: is of one model, and 2 are given" in run.stderr


def test_an_entry_of_the_catalogue_says_what_it_lacks(kvcalc: Kvcalc, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**LLAMA, "architectures": ["LlamaForSomething"]}))
    told = kvcalc("models", "import", str(config), "--hub-id", "org/name", "-o", str(tmp_path / "name.yaml"))
    assert told.code == 0
    assert "an entry of the catalogue has more: source," in told.stderr
    assert "parameters" in told.stderr
