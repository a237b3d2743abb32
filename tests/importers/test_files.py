"""Files that are not what they seem: named pipes, which nothing waits for, links to nothing, and empty ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Kvcalc
from fuzzing import some

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "torch_dtype": "bfloat16",
}
INDEX = "model.safetensors.index.json"
EMPTY = (2).to_bytes(8, "little") + b"{}"


def estimate(*words: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """In a process of its own, so that waiting for ever is a failure."""
    command = [sys.executable, "-m", "kvcalc", "estimate", *words]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)


def _folder(place: Path, *pipes: str, **files: bytes) -> Path:
    (place / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    for name, content in files.items():
        (place / name.replace("__", ".")).write_bytes(content)
    for name in pipes:
        (place / name).unlink(missing_ok=True)
        os.mkfifo(place / name)
    return place


def _pipe(place: Path, name: str) -> Path:
    os.mkfifo(place / name)
    return place / name


def _split(place: Path) -> Path:
    import gguf

    writer = gguf.GGUFWriter(place / "big-00001-of-00002.gguf", "llama")
    writer.add_uint32("split.count", 2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    _pipe(place, "big-00002-of-00002.gguf")
    return place / "big-00001-of-00002.gguf"


WEIGHT_MAP = json.dumps({"weight_map": {"t": "a.safetensors"}}).encode()
PIPES: dict[str, Callable[[Path], Path]] = {
    "a YAML file": lambda at: _pipe(at, "m.yaml"),
    "no suffix": lambda at: _pipe(at, "m"),
    "a config.json": lambda at: _pipe(at, "config.json"),
    "a GGUF file": lambda at: _pipe(at, "m.gguf"),
    "a part of a GGUF file": _split,
    "config.json in a folder": lambda at: _pipe(at, "config.json").parent,
    "weights in a folder": lambda at: _folder(at, "model.safetensors"),
    "an index in a folder": lambda at: _folder(at, INDEX),
    "a shard in a folder": lambda at: _folder(at, "a.safetensors", model__safetensors__index__json=WEIGHT_MAP),
    "quantisation in a folder": lambda at: _folder(at, "hf_quant_config.json"),
}


@pytest.mark.parametrize("what", some(PIPES))
def test_a_named_pipe_is_refused_at_once(tmp_path: Path, what: str) -> None:
    run = estimate(str(PIPES[what](tmp_path)))
    assert (run.returncode, run.stdout) == (2, b"")
    assert b"a named pipe, which is not waited for; name a file" in run.stderr
    assert run.stderr.count(b"\n") == 1


def test_what_the_shell_has_opened_is_read() -> None:
    model = b"name: m\nlayers:\n  - count: 2\n    attention: {kind: mha, num_heads: 4, head_dim: 16}\n"
    run = estimate("/dev/stdin", "-c", "8", "--dtype", "bf16", "--json", stdin=model)
    assert json.loads(run.stdout)["cache"]["bytes"] == 2 * 2 * 8 * 4 * 16 * 2


BROKEN = {
    "model.safetensors": "model.safetensors: cannot be read: No such file or directory",
    INDEX: f"{INDEX}: cannot be read: No such file or directory",
    "hf_quant_config.json": "hf_quant_config.json: cannot be read: No such file or directory",
    "config.json": "config.json: cannot be read: No such file or directory",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_link_to_nothing_is_not_passed_over(kvcalc: Kvcalc, tmp_path: Path, name: str) -> None:
    _folder(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    run = kvcalc("estimate", str(tmp_path))
    assert (run.code, run.stdout) == (2, "")
    assert f"{tmp_path}/{BROKEN[name]}" in run.stderr


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "not a safetensors file"), (EMPTY, "its *.safetensors files hold no tensors")]
)
def test_weights_that_are_empty_are_not_passed_over(
    kvcalc: Kvcalc, tmp_path: Path, content: bytes, message: str
) -> None:
    run = kvcalc("estimate", str(_folder(tmp_path, model__safetensors=content)))
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr
    assert kvcalc("estimate", str(tmp_path / "config.json"), "--weights", "1GiB").code == 0


def test_a_folder_of_that_name_is_no_file(kvcalc: Kvcalc, tmp_path: Path) -> None:
    _folder(tmp_path)
    (tmp_path / "model.safetensors").mkdir()
    run = kvcalc("estimate", str(tmp_path))
    assert run.code == 2
    assert "model.safetensors: cannot be read: Is a directory" in run.stderr
