"""Messages: what a file brings, a name with line breaks among it, never adds a line to stderr."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Kvcalc

from kvcalc.catalogue.validation import validated
from kvcalc.catalogue.yaml_reader import parse_yaml
from kvcalc.errors import KvcalcError, one_line
from kvcalc.gpu import Gpu

FORGED = "x\nerror: forged\r\x1b[2J\u2028\u0085"
ESCAPED = r"x\nerror: forged\r\x1b[2J\u2028\x85"
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "vocab_size": 100,
}


def string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf(*keys: bytes, tensors: tuple[bytes, ...] = ()) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    return head + b"".join(keys) + b"".join(tensors) + b"\0" * 100


def word(key: str, text: str) -> bytes:
    return string(key) + struct.pack("<I", 8) + string(text)


def tensor(name: str, kind: int) -> bytes:
    return string(name) + struct.pack("<IQIQ", 1, 1, kind, 0)


def safetensors(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def folder(place: Path, **files: bytes) -> Path:
    (place / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    for name, content in files.items():
        (place / name.replace("__", ".")).write_bytes(content)
    return place


def _named(place: Path, name: str, content: bytes) -> Path:
    (place / name).write_bytes(content)
    return place / name


def _several(place: Path) -> Path:
    folder(place)
    _named(place, f"{FORGED}.safetensors", safetensors({"t": None}))
    return place


INDEX = {"weight_map": {"t": FORGED}}
FORGERS: dict[str, Callable[[Path], Path]] = {
    "architecture": lambda at: _named(at, "a.gguf", gguf(word("general.architecture", FORGED))),
    "key": lambda at: _named(at, "a.gguf", gguf(word(FORGED, ""), word(FORGED, ""))),
    "type of a tensor": lambda at: _named(at, "a.gguf", gguf(tensors=(tensor(FORGED, 99),))),
    "name of a GGUF file": lambda at: _named(at, f"{FORGED}.gguf", b""),
    "name of a YAML file": lambda at: _named(at, f"{FORGED}.yaml", b"\xff"),
    "tensor": lambda at: folder(at, model__safetensors=safetensors({FORGED: None})),
    "shard": lambda at: folder(at, model__safetensors__index__json=json.dumps(INDEX).encode()),
    "name of a safetensors file": _several,
    "model_type": lambda at: _named(at, "config.json", json.dumps({**LLAMA, "model_type": FORGED}).encode()),
    "wrapper": lambda at: _named(at, "config.json", json.dumps({"text_config": {}, "model_type": FORGED}).encode()),
}


@pytest.mark.parametrize("what", FORGERS)
def test_no_name_adds_a_line(kvcalc: Kvcalc, tmp_path: Path, what: str) -> None:
    run = kvcalc("estimate", str(FORGERS[what](tmp_path)))
    assert (run.code, run.stdout) == (2, "")
    lines = run.stderr.split("\n")[:-1]
    assert all(line.isprintable() for line in lines)
    assert ESCAPED in lines[0]
    beside = f"next: kvcalc estimate {tmp_path / 'config.json'}"
    assert lines[1:] in ([], ["next: kvcalc models schema"], [beside])


def test_no_note_adds_a_line(kvcalc: Kvcalc, tmp_path: Path) -> None:
    place = tmp_path / FORGED
    place.mkdir()
    (place / "config.json").write_text(json.dumps({**LLAMA, "quantization_config": {"quant_method": FORGED}}))
    run = kvcalc("estimate", str(place), "-c", "16")
    assert run.code == 0
    assert all(line.startswith("note: ") for line in run.stderr.split("\n")[:-1])
    assert "\nerror" not in run.stderr + run.stdout
    assert run.stderr.replace("\n", "").isprintable()


def test_lines_that_are_meant_stay() -> None:
    with pytest.raises(KvcalcError) as refused:
        validated(Gpu, parse_yaml(f'name: g\n"{FORGED[0]}\\nerror: y": 1\nmemory: []\n', f"{FORGED}.yaml"))
    lines = str(refused.value).split("\n")
    assert len(lines) % 3 == 0
    assert all(line.startswith(f"{ESCAPED}.yaml:") for line in lines[::3])
    assert all("|" in line for at, line in enumerate(lines) if at % 3)


def test_escapes_are_pythons() -> None:
    assert one_line("plain é 漢") == "plain é 漢"
    assert one_line(FORGED) == ESCAPED
    assert one_line("\udcff\u202e\0") == r"\udcff\u202e\x00"
    assert str(KvcalcError(str(KvcalcError("a\nb", "c")))) == r"a\nb\nc"
