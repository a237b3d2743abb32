"""What is no checkpoint that can be counted is refused: files that are broken, of others, missing or too large."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from checkpoint_folders import LLAMA, PLAIN, Tensors, elements, folder, write_tensors
from conftest import Kvcalc

from kvcalc import KvcalcError, load_model
from kvcalc.catalogue import find_model
from kvcalc.importers import safetensors
from kvcalc.importers import tensors as tensors_module
from kvcalc.importers.json_text import parse_mapping
from kvcalc.importers.safetensors import folder_headers


def broken(tmp_path: Path, case: str) -> None:
    path = tmp_path / "model.safetensors"
    if case == "cut off":
        write_tensors(path, PLAIN, cut=1)
    elif case == "a pointer":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", encoding="utf-8")
    elif case == "empty":
        path.write_bytes(b"")
    elif case == "a header of 2^63 bytes":
        path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    elif case == "a header longer than the file":
        path.write_bytes((10**7).to_bytes(8, "little") + b"{}")
    else:
        text = TEXTS[case].encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text)


TEXTS = {
    "no JSON": "{nothing",
    "a list": "[]",
    "a name twice": '{"a": {}, "a": {}}',
    "an unknown dtype": '{"a": {"dtype": "F3", "shape": [1], "data_offsets": [0, 1]}}',
    "no dtype": '{"a": 5}',
    "a shape of words": '{"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}',
    "a negative length": '{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
    "other bytes than its shape": '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
    "a length beyond all": '{"a": {"dtype": "F32", "shape": [9999999999999], "data_offsets": [0, 4]}}',
    "a hundred dims": '{"a": {"dtype": "F32", "shape": [' + ",".join(["9"] * 100) + '], "data_offsets": [0, 4]}}',
    "one offset": '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4]}}',
}
MESSAGES = {
    "cut off": "cut off, or not whole",
    "a pointer": "a Git LFS pointer: the file itself was not downloaded",
    "empty": "not a safetensors file",
    "a header of 2^63 bytes": "not a safetensors file",
    "a header longer than the file": "cut off, or not whole",
    "no JSON": "not JSON",
    "a list": "expected keys and values",
    "a name twice": "key 'a' is given twice",
    "an unknown dtype": "tensor 'a': dtype F3 is not known",
    "no dtype": "dtype None is not known",
    "a shape of words": "no shape and data_offsets",
    "a negative length": "no shape and data_offsets",
    "other bytes than its shape": "4 bytes, and its shape in F32 takes 8",
    "a length beyond all": "a shape that no tensor has",
    "a hundred dims": "a shape that no tensor has",
    "one offset": "no shape and data_offsets",
}


@pytest.mark.parametrize("case", MESSAGES)
def test_a_broken_file_is_refused(kvcalc: Kvcalc, tmp_path: Path, case: str) -> None:
    folder(tmp_path, {})
    broken(tmp_path, case)
    run = kvcalc("estimate", str(tmp_path))
    assert (run.code, run.stdout) == (2, "")
    assert MESSAGES[case] in run.stderr
    alone = kvcalc("estimate", str(tmp_path / "config.json"), "-c", "16")  # without the files
    assert alone.code == 0
    assert f"its *.safetensors files are not read: {tmp_path}" in alone.stderr
    assert "files-not-read" in {each.code for each in find_model(str(tmp_path / "config.json")).notes}


def test_an_index_names_files_that_are_there(kvcalc: Kvcalc, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside.safetensors"
    write_tensors(outside, PLAIN)
    folder(tmp_path, {"model.safetensors": PLAIN})
    index = tmp_path / "model.safetensors.index.json"
    for name in ("../outside.safetensors", str(outside), "nowhere.safetensors"):
        index.write_text(json.dumps({"weight_map": {"a": name}}), encoding="utf-8")
        run = kvcalc("estimate", str(tmp_path))
        assert run.code == 2
        assert "which is not there (1 of 1 files are missing)" in run.stderr
    for text in ("{}", '{"weight_map": {}}', '{"weight_map": {"a": 5}}'):
        index.write_text(text, encoding="utf-8")
        assert "it has no weight_map" in kvcalc("estimate", str(tmp_path)).stderr


def test_several_checkpoints_in_one_folder_are_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    folder(tmp_path, {"one.safetensors": PLAIN, "two.safetensors": PLAIN}, index=False)
    assert "which belong together" in kvcalc("estimate", str(tmp_path)).stderr
    folder(tmp_path, {"model.safetensors": PLAIN})
    assert kvcalc("estimate", str(tmp_path), "-c", "16").code == 0


def test_a_part_of_the_files_is_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    folder(tmp_path, {"model-00001-of-00002.safetensors": PLAIN})
    assert "1 of 2 *.safetensors files; the others are not there" in kvcalc("estimate", str(tmp_path)).stderr
    write_tensors(tmp_path / "model-00003-of-00002.safetensors", PLAIN)
    assert "the others are not there" in kvcalc("estimate", str(tmp_path)).stderr


def test_files_without_some_layers_are_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    folder(tmp_path, {"model.safetensors": PLAIN}, {**LLAMA, "num_hidden_layers": 3})
    run = kvcalc("estimate", str(tmp_path), "-c", "16")
    assert (run.code, run.stdout) == (2, "")
    assert "no tensors of 2 of its 3 layers (the first is layer 1)" in run.stderr
    other = {name.replace("model.layers.0", "blocks.0"): form for name, form in PLAIN.items()}
    tower: Tensors = {"vision_tower.layers.0.weight": ("BF16", [8, 8]), "vision_tower.layers.7.weight": ("BF16", [8])}
    write_tensors(tmp_path / "model.safetensors", {**other, **tower})  # names that do not tell
    assert kvcalc("estimate", str(tmp_path), "-c", "16").code == 0


def test_an_adapter_is_no_checkpoint(tmp_path: Path) -> None:
    where = folder(tmp_path, {"adapter_model.safetensors": {"lora": ("BF16", [8, 8])}})
    assert load_model(where).weights == ()
    write_tensors(tmp_path / "model.safetensors", PLAIN)
    assert sum(part.size for part in load_model(where).weights) == 2 * elements(PLAIN)


def test_a_scale_s_block_that_cannot_be_is_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    for sizes in (7, [], ["x"], [128, 0], [True]):
        config = {**LLAMA, "quantization_config": {"quant_method": "fp8", "weight_block_size": sizes}}
        run = kvcalc("estimate", str(folder(tmp_path, {"model.safetensors": PLAIN}, config)))
        assert (run.code, run.stdout) == (2, "")
        assert "weight_block_size is" in run.stderr


def test_a_tensor_in_two_files_is_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    files = {f"model-0000{number}-of-00002.safetensors": PLAIN for number in (1, 2)}
    folder(tmp_path, files, index=False)
    assert "is there twice" in kvcalc("estimate", str(tmp_path)).stderr


def test_a_checkpoint_of_many_tensors_takes_little_memory(tmp_path: Path) -> None:
    shards, each = 16, 500
    name = "model.layers.{}.block_sparse_moe.experts.{}.w1.weight_packed"
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "num_hidden_layers": shards}), encoding="utf-8")
    places: dict[str, str] = {}
    for number in range(shards):
        told: Tensors = {name.format(number, expert): ("BF16", [8]) for expert in range(each)}
        write_tensors(tmp_path / f"{number}.safetensors", told)
        places |= dict.fromkeys(told, f"{number}.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    tracemalloc.start()
    headers = folder_headers(tmp_path, "x")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert headers is not None
    assert (sum(tensor.size for tensor in headers.tensors), len(headers.tensors)) == (shards * each * 16, shards)
    assert most < 2_500_000  # of 8,000 tensors; an index of 0.75 MB and one header are among them


def refusal_of(place: Path) -> str:
    with pytest.raises(KvcalcError) as refused:
        load_model(place)
    return str(refused.value)


def test_a_header_that_is_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder(tmp_path, {})
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write((90_000_000).to_bytes(8, "little"))
        file.truncate(90_000_008)
    tracemalloc.start()
    message = refusal_of(tmp_path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "model.safetensors: a header of 90,000,000 bytes is beyond the limit of 16,000,000" in message
    assert most < 5_000_000


def test_headers_that_are_too_long_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(PLAIN)
    files = {f"model-0000{at + 1}-of-00002.safetensors": {name: PLAIN[name] for name in names[at::2]} for at in (0, 1)}
    folder(tmp_path, files)
    monkeypatch.setattr(safetensors, "MAX_HEADERS", 1_000)
    assert "headers of more than 1,000 bytes in all" in refusal_of(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(tensors_module, "MAX_TENSORS", 11)
    assert "more than 11 tensors" in refusal_of(tmp_path)


def test_a_text_of_many_values_is_refused_before_it_is_read() -> None:
    text = '{"a": [' + "[]," * 1_500_000 + "1]}"
    tracemalloc.start()
    with pytest.raises(KvcalcError, match="more than 1,500,000 values"):
        parse_mapping(text, "x")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1_000_000


INDEXES = {
    '{"weight_map": {"t": "model.safetensors"}}': None,
    '{"a": {"weight_map": {}}, "weight_map": {"t": "a"}}': "it has no weight_map of a file for each tensor",
    ' {"metadata": {"x": "{\\"weight_map\\": {"},\n"weight_map" : { "\\u0074" :\t"model.s\\u0061fetensors" } }\n': None,
    '{"weight_map": {"t": "model.safetensors", }}': "it has no weight_map of a file for each tensor",
    '{"weight_map": {"t": 1}}': "it has no weight_map of a file for each tensor",
    '{"weight_map": {}}': "it has no weight_map of a file for each tensor",
    '{"weight_map": {"t": "model.safetensors"': "it has no weight_map of a file for each tensor",
    '{"weight_map": {"t": "\\q"}}': "not JSON",
    '{"weight_map": {"t": "model.safetensors"}': "not JSON",
    '{"weight_map": {"t": "model.safetensors"}, "weight_map": {"t": "b"}}': "key 'weight_map' is given twice",
    '{"x": {"weight_map": {"t": "model.safetensors"}}}': "it has no weight_map",
    '["weight_map"]': "it has no weight_map",
    "": "it has no weight_map",
}


@pytest.mark.parametrize("text", INDEXES)
def test_an_index_is_read_or_refused(tmp_path: Path, text: str) -> None:
    folder(tmp_path, {"model.safetensors": PLAIN})
    (tmp_path / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    message = INDEXES[text]
    if message is None:
        assert sum(part.size for part in load_model(tmp_path).weights) == 2 * elements(PLAIN)
    else:
        assert message in refusal_of(tmp_path)


def test_an_index_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, {"a.safetensors": PLAIN, "b.safetensors": {}})
    monkeypatch.setattr(safetensors, "MAX_FILES", 0)
    assert "more than 0 files" in refusal_of(tmp_path)
    monkeypatch.setattr(safetensors, "MAX_INDEX", 10)
    assert "larger than 10 bytes" in refusal_of(tmp_path)
