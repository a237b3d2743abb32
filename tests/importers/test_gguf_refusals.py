"""GGUF files that are broken, hostile or not understood: refused at once."""

from __future__ import annotations

import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import gguf
import pytest
from conftest import Kvcalc
from fuzzing import examples
from gguf_files import LATENT, LLAMA, MAMBA2, MODELS, TENSORS, Keys, kinds, write
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from kvcalc import KvcalcError, Model, load_model
from kvcalc.catalogue import find_model
from kvcalc.catalogue.validation import validated
from kvcalc.catalogue.yaml_reader import parse_yaml
from kvcalc.importers.gguf.cache_keys import CACHE_KEYS
from kvcalc.importers.gguf.families import FAMILIES
from kvcalc.importers.gguf.header import read_header


def split(folder: Path, count: int, *, tensors_told: int | None = None) -> Path:
    names = list(TENSORS)
    for number in range(count):
        mine = {name: TENSORS[name] for name in names[number::count]}
        more = {"split.no": number, "split.count": count, "split.tensors.count": tensors_told or len(names)}
        path = folder / f"big-{number + 1:05}-of-{count:05}.gguf"
        write(path, "llama", LLAMA if number == 0 else {}, mine, more)
    return folder / f"big-00001-of-{count:05}.gguf"


def test_split_files_count_together(tmp_path: Path) -> None:
    whole = load_model(write(tmp_path / "one.gguf", "llama", LLAMA, TENSORS))
    model = load_model(split(tmp_path, 3))
    assert model.weights == whole.weights
    assert model.name == "big"


def test_split_files_that_are_not_all_there(kvcalc: Kvcalc, tmp_path: Path) -> None:
    first = split(tmp_path, 3)
    second = tmp_path / "big-00002-of-00003.gguf"
    assert "file 2 of 3; name the first" in kvcalc("estimate", str(second)).stderr
    second.rename(tmp_path / "away.gguf")
    assert "big-00002-of-00003.gguf is not beside it" in kvcalc("estimate", str(first)).stderr
    assert "whose names end in -00001-of-00003.gguf" in kvcalc("estimate", str(tmp_path / "away.gguf")).stderr
    assert (
        "5 tensors in 3 files, and split.tensors.count is 9"
        in kvcalc("estimate", str(split(tmp_path, 3, tensors_told=9))).stderr
    )


@pytest.mark.parametrize("told", [{"split.count": "two"}, {"split.count": 2, "split.no": "one"}, {"split.count": 5000}])
def test_a_split_that_cannot_be_is_refused(kvcalc: Kvcalc, tmp_path: Path, told: Keys) -> None:
    path = write(tmp_path / "big-00001-of-00002.gguf", "llama", LLAMA, TENSORS, told)
    run = kvcalc("estimate", str(path))
    assert (run.code, run.stdout) == (2, "")
    assert "split into " in run.stderr


def test_a_file_without_some_layers_is_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    run = kvcalc("estimate", str(write(tmp_path / "a.gguf", "llama", {**LLAMA, "block_count": 3}, TENSORS)))
    assert (run.code, run.stdout) == (2, "")
    assert "no tensors of 1 of its 3 layers (the first is layer 2)" in run.stderr


def test_a_file_split_into_one_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "one-00001-of-00001.gguf", "llama", LLAMA, TENSORS, {"split.count": 1, "split.no": 0})
    assert load_model(path).name == "one"


REFUSED: dict[str, tuple[str, Keys, str]] = {
    "unknown architecture": ("xlstm", LLAMA, "architecture 'xlstm' is not known"),
    "near architecture": ("lama", LLAMA, "did you mean 'llama'"),
    "a latent in rows of another width": (
        "deepseek2",
        {**LLAMA, **LATENT, "attention.head_count_kv": 1, "attention.key_length": 192},
        "attention.key_length is 192, where the other keys make it 576",
    ),
    "a latent for each head": (
        "deepseek2",
        {**LLAMA, **LATENT, "attention.head_count_kv": 32},
        "attention.head_count_kv is 32, where the other keys make it 1",
    ),
    "a state that llama has not": ("llama", {**LLAMA, "ssm.state_size": 16}, "ssm.state_size is 16"),
    "no layers": ("llama", {k: v for k, v in LLAMA.items() if k != "block_count"}, "it has no block_count"),
    "too many layers": ("llama", {**LLAMA, "block_count": 20_000}, "block_count is 20000"),
    "only drafts": ("llama", {**LLAMA, "nextn_predict_layers": 2}, "2 blocks, of which none are layers"),
    "no heads": ("llama", {k: v for k, v in LLAMA.items() if "head" not in k}, "it has no attention.head_count"),
    "a short list": ("llama", {**LLAMA, "attention.head_count_kv": [8]}, "has 1 entries for 2 layers"),
    "heads that do not divide": ("llama", {**LLAMA, "attention.head_count_kv": 5}, "5 KV heads do not divide 32"),
    "words for numbers": ("llama", {**LLAMA, "embedding_length": "wide"}, 'embedding_length is "wide"'),
    "rope as wide as keys": ("deepseek2", {**LLAMA, **LATENT, "rope.dimension_count": 192}, "rope.dimension_count 192"),
    "a pattern of words": (
        "gemma3",
        {**LLAMA, "attention.sliding_window": 8, "attention.sliding_window_pattern": [2, 3]},
        "is no list of true and false",
    ),
    "no feed-forward widths": ("nemotron_h", {**LLAMA, **MAMBA2}, "it has no feed_forward_length"),
    "a state without heads": ("jamba", {**LLAMA, "attention.head_count_kv": [8, 0]}, "it has no ssm.inner_size"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_understood_is_refused(kvcalc: Kvcalc, tmp_path: Path, case: str) -> None:
    arch, keys, message = REFUSED[case]
    run = kvcalc("estimate", str(write(tmp_path / "model.gguf", arch, keys)))
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_assumptions_decide(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", "lama", {f"{name}": value for name, value in LLAMA.items()})
    assert set(kinds(path, **{"general.architecture": "llama"})) == {"gqa 32/8 x 128"}
    other = write(tmp_path / "other.gguf", "llama", LLAMA)
    assert set(kinds(other, **{"attention.head_count_kv": 4})) == {"gqa 32/4 x 128"}
    with pytest.raises(KvcalcError, match="--assume head_dim: nothing of llama depends on it"):
        load_model(other, assume={"head_dim": 3})


def _templates(place: object) -> set[str]:
    found = set()
    for value in vars(place).values():
        if isinstance(value, str) and value.startswith("{arch}."):
            found.add(value.removeprefix("{arch}."))
        elif isinstance(value, type):
            found |= _templates(value)
    return found


NEWER = """
bailingmoe3 cohere2moe deepseek32 deepseek4 dots3note glm5-next granite_swa graniteswitch hy_v4 k2-horizon kimi-k3
laguna maple mellum minimax-01 muse-glimmer nanbeige qwen4exp spark2_5 talkie
"""
"""Architectures of llama.cpp b11549 that gguf 0.19 does not have yet."""


def test_keys_are_those_of_the_gguf_package() -> None:
    known = _templates(gguf.Keys)
    ours = {*CACHE_KEYS, *LLAMA, *(key for _, keys in MODELS.values() for key in keys)}
    swa = {f"attention.{name}_swa" for name in ("kv_lora_rank", "key_length_mla", "value_length_mla")}
    newer = {"attention.recurrent_layers", "attention.compress_ratios", "attention.indexer.kpool", "num_loops", *swa}
    assert ours - known == newer  # llama.cpp b11549 reads them; the package does not write them yet
    assert set(FAMILIES) - set(gguf.MODEL_ARCH_NAMES.values()) <= {"hy_v3", *NEWER.split()}  # likewise


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def raw(keys: bytes, tensors: bytes = b"", *, counts: tuple[int, int], version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, *counts) + keys + tensors


def tensor(dims_: list[int], kind: int = 0, offset: int = 0, name: bytes = b"t") -> bytes:
    shape = struct.pack(f"<{len(dims_)}Q", *dims_)
    return string(name) + struct.pack("<I", len(dims_)) + shape + struct.pack("<IQ", kind, offset)


HUGE = 2**63
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "cut off"),
    "another format": (b"PK\x03\x04" + b"\0" * 100, "not a GGUF file"),
    "version 1": (raw(b"", counts=(0, 0), version=1), "GGUF version 1 is not one of"),
    "big-endian": (raw(b"", counts=(0, 0), version=3 << 24), "GGUF version 50331648"),
    "10^12 keys": (raw(b"", counts=(0, 10**12)), "1,000,000,000,000 keys"),
    "10^12 tensors": (raw(b"", counts=(10**12, 0)), "1,000,000,000,000 tensors"),
    "a key of 2^63 bytes": (raw(struct.pack("<Q", HUGE), counts=(0, 1)), "a name of"),
    "a string of 2^63 bytes": (raw(string(b"k") + struct.pack("<IQ", 8, HUGE), counts=(0, 1)), "cut off"),
    "a list of 2^63 numbers": (raw(string(b"k") + struct.pack("<IIQ", 9, 4, HUGE), counts=(0, 1)), "cut off"),
    "a list of 2^63 words": (raw(string(b"k") + struct.pack("<IIQ", 9, 8, HUGE), counts=(0, 1)), "lists of more than"),
    "a list of 10^6 words that are not there": (
        raw(string(b"k") + struct.pack("<IIQ", 9, 8, 10**6), counts=(0, 1)),
        "cut off",
    ),
    "a list of lists": (raw(string(b"k") + struct.pack("<IIQ", 9, 9, 1), counts=(0, 1)), "a list of type 9"),
    "a value of type 99": (raw(string(b"k") + struct.pack("<I", 99), counts=(0, 1)), "a value of type 99"),
    "a key twice": (raw((string(b"k") + struct.pack("<IB", 0, 1)) * 2, counts=(0, 2)), "key 'k' is there twice"),
    "a key that is no text": (raw(string(b"\xff\xfe"), counts=(0, 1)), "not UTF-8"),
    "5 dims": (raw(b"", tensor([1] * 5), counts=(1, 0)), "5 dims are more than 4"),
    "a shape that overflows": (raw(b"", tensor([HUGE, HUGE]), counts=(1, 0)), "a shape that fp32 does not have"),
    "half a block": (raw(b"", tensor([100], 12), counts=(1, 0)), "a shape that q4_k does not have"),
    "an unknown type": (raw(b"", tensor([1], 4), counts=(1, 0)), "type 4 is not known"),
    "a withdrawn type": (raw(b"", tensor([32], 31), counts=(1, 0)), "q4_0_4_4 is no type that llama.cpp loads"),
    "a number in blocks of a fork": (raw(b"", tensor([], 144), counts=(1, 0)), "a shape that q4_g256_s8 does not have"),
    "an offset beyond": (raw(b"", tensor([1], offset=HUGE), counts=(1, 0)), "beyond 1,000,000,000,000,000"),
    "one over another": (
        raw(b"", tensor([8], offset=0) + tensor([8], offset=16, name=b"u"), counts=(2, 0)) + b"\0" * 500,
        "tensor 'u' lies over another",
    ),
    "no alignment": (
        raw(string(b"general.alignment") + struct.pack("<II", 4, 0), tensor([1]), counts=(1, 1)) + b"\0" * 100,
        "alignment 0 is none",
    ),
    "nothing": (raw(b"", counts=(0, 0)), "it has no general.architecture"),
    "a long tensor name": (raw(b"", tensor([1], name=b"x" * 65), counts=(1, 0)), "a name of 65 bytes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_at_once(kvcalc: Kvcalc, tmp_path: Path, case: str) -> None:
    data, message = BROKEN[case]
    path = tmp_path / "broken.gguf"
    path.write_bytes(data)
    tracemalloc.start()
    run = kvcalc("estimate", str(path))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr
    assert most < 100_000_000


def test_more_keys_than_a_model_has_are_refused(tmp_path: Path) -> None:
    one = struct.pack("<IIQ", 9, 0, 10_000) + b"\0" * 10_000
    keys = b"".join(string(f"k{number}".encode()) + one for number in range(120))
    path = tmp_path / "fat.gguf"
    path.write_bytes(raw(keys, counts=(0, 120)))
    with pytest.raises(KvcalcError, match="more keys and values than a model has"):
        read_header(path, "fat")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    words = {"tokenizer.ggml.tokens": ["a", "bc", ""], "general.alignment": 32}
    path = write(tmp_path_factory.mktemp("gguf") / "sample.gguf", "llama", LLAMA, TENSORS, words)
    return path.read_bytes()[:1400]


@examples(500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_are_a_refusal_or_a_header(tmp_path: Path, sample: bytes, data: st.DataObject) -> None:
    changed = bytearray(sample)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=9))
    path = tmp_path / "noise.gguf"
    path.write_bytes(bytes(changed))
    with suppress(KvcalcError):
        load_model(path)
    with path.open("r+b") as file:
        file.truncate(10_000_000)  # so that tensors may lie in it
    with suppress(KvcalcError):
        model = load_model(path)
        assert validated(Model, parse_yaml(find_model(str(path)).text, "written.yaml")) == model
