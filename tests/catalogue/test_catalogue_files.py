"""Files of the catalogue are read once, and again where they have changed."""

from __future__ import annotations

from pathlib import Path

import pytest

import kvcalc
from kvcalc.catalogue import shipped
from kvcalc.catalogue.shipped import read_shipped
from kvcalc.catalogue.yaml_reader import Document

MODEL = """name: {name}
hub_ids: [{hub_id}]
parameters: {parameters}
layers: [{{count: 2, attention: {{kind: mha, num_heads: 2, head_dim: 4}}}}]
"""
GPU = "name: {name}\naliases: [{alias}]\nmemory_bytes: {memory}\nmemory_from: runtime\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of its own."""
    for name in ("models", "gpus"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(shipped, "MODELS", tmp_path / "models")
    monkeypatch.setattr(shipped, "GPUS", tmp_path / "gpus")
    return tmp_path


def write_model(folder: Path, name: str, hub_id: str, parameters: int) -> None:
    text = MODEL.format(name=name, hub_id=hub_id, parameters=parameters)
    (folder / "models" / f"{name}.yaml").write_text(text, encoding="utf-8")


def write_gpu(folder: Path, name: str, alias: str, memory: int) -> None:
    text = GPU.format(name=name, alias=alias, memory=memory)
    (folder / "gpus" / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_a_file_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kvcalc.estimate("llama-3-8b", gpu="h100")
    read: list[Path] = []

    def reading(path: Path) -> Document:
        read.append(path)
        return read_shipped(path)

    monkeypatch.setattr(shipped, "read_shipped", reading)
    for model in ("llama-3-8b", "meta-llama/Meta-Llama-3-8B"):
        assert kvcalc.estimate(model, gpu="h100") == kvcalc.estimate(model, gpu="h100-sxm")
    assert read == []


def test_a_model_that_changed_is_read_again(folder: Path) -> None:
    write_model(folder, "one", "org/One", 1000)
    assert [kvcalc.load_model(name).parameters for name in ("one", "org/One")] == [1000, 1000]
    write_model(folder, "one", "org/One", 2000)
    assert [kvcalc.load_model(name).parameters for name in ("one", "ORG/one")] == [2000, 2000]


def test_a_hub_id_that_moved_is_found(folder: Path) -> None:
    write_model(folder, "first", "org/One", 1000)
    write_model(folder, "second", "org/Two", 2000)
    assert kvcalc.load_model("org/One").name == "first"
    write_model(folder, "first", "org/Two", 1000)
    write_model(folder, "second", "org/One", 2000)
    assert kvcalc.load_model("org/One").name == "second"
    (folder / "models" / "second.yaml").unlink()
    with pytest.raises(kvcalc.KvcalcError, match="org/One"):
        kvcalc.load_model("org/One")
    write_model(folder, "three", "org/One", 3000)
    assert kvcalc.load_model("org/One").name == "three"


def test_an_accelerator_that_changed_is_read_again(folder: Path) -> None:
    write_gpu(folder, "one", "first", 1000)
    assert [kvcalc.load_gpu(name).memory_bytes for name in ("one", "first", "FIRST")] == [1000] * 3
    write_gpu(folder, "one", "first", 3000)
    assert [kvcalc.load_gpu(name).memory_bytes for name in ("one", "first")] == [3000, 3000]


def test_an_alias_that_moved_is_found(folder: Path) -> None:
    write_gpu(folder, "one", "first", 1000)
    write_gpu(folder, "two", "second", 2000)
    assert kvcalc.load_gpu("first").name == "one"
    write_gpu(folder, "one", "second", 1000)
    write_gpu(folder, "two", "first", 2000)
    assert (kvcalc.load_gpu("first").name, kvcalc.load_gpu("second").name) == ("two", "one")
    (folder / "gpus" / "two.yaml").unlink()
    with pytest.raises(kvcalc.KvcalcError, match="'first'"):
        kvcalc.load_gpu("first")


def test_a_file_of_ones_own_is_read_each_time(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for parameters in (1000, 2000):
        path.write_text(MODEL.format(name="mine", hub_id="org/Mine", parameters=parameters), encoding="utf-8")
        assert kvcalc.load_model(path).parameters == parameters
