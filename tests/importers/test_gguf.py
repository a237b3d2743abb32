"""GGUF files: shapes as the catalogue has them, caches as llama.cpp logs them, bytes to the last."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import gguf
import pytest
from conftest import Kvcalc
from gguf_files import LATENT, LLAMA, MODELS, QWEN3_NEXT, TENSORS, Keys, Type, dims, kinds, write

from kvcalc import KvcalcError, Model, estimate, load_model
from kvcalc.catalogue import find_model
from kvcalc.catalogue.validation import validated
from kvcalc.catalogue.yaml_reader import parse_yaml
from kvcalc.formats.element import FORMATS
from kvcalc.formats.weights import WEIGHT_FORMATS, find_weight_format
from kvcalc.importers.gguf.fork_types import FORK_TYPES
from kvcalc.importers.gguf.header import Skipped, read_header
from kvcalc.importers.gguf.types import TENSOR_TYPES

CONV = ", conv fp32"
"""As llama.cpp keeps the inputs of convolutions, whatever the cache's type is."""


@pytest.mark.parametrize("name", MODELS)
def test_a_file_gives_the_layers_that_the_catalogue_has(tmp_path: Path, name: str) -> None:
    arch, keys = MODELS[name]
    model = load_model(name)
    known = {} if arch == "mamba" else dims(model)
    own = {"block_count": model.num_layers, "embedding_length": model.hidden_size}
    path = write(tmp_path / "model.gguf", arch, {**known, **own, **keys})
    expected = [" + ".join(each.label for each in layer) for layer in model.sequence()]
    assert [label.replace(CONV, "") for label in kinds(path)] == [
        label.replace(", state fp32", "") for label in expected
    ]


def test_gemma_4_has_widths_and_heads_for_each_layer(tmp_path: Path) -> None:
    keys = {
        "block_count": 4,
        "embedding_length": 2560,
        "attention.head_count": 8,
        "attention.head_count_kv": [2, 1, 2, 2],
        "attention.key_length": 512,
        "attention.value_length": 512,
        "attention.key_length_swa": 256,
        "attention.value_length_swa": 256,
        "attention.sliding_window": 512,
        "attention.sliding_window_pattern": [True, False, True, True],
        "attention.shared_kv_layers": 1,
    }
    path = write(tmp_path / "model.gguf", "gemma4", keys)
    slides = "gqa 8/2 x 256, window 512"
    assert kinds(path) == [slides, "mqa 8/1 x 512", slides, "shared"]


def test_heads_for_each_layer_and_layers_without(tmp_path: Path) -> None:
    keys = {**LLAMA, "block_count": 3, "attention.head_count": [32, 32, 16], "attention.head_count_kv": [8, 0, 16]}
    keys |= {"attention.key_length": 128, "attention.value_length": 64}
    path = write(tmp_path / "model.gguf", "deci", keys)
    assert kinds(path) == ["gqa 32/8 x 128+64", "no attention", "mha 16 x 128+64"]


def test_a_window_of_0_is_none_and_one_that_is_absent_what_llama_cpp_takes(tmp_path: Path) -> None:
    full, window = "gqa 32/8 x 128", "attention.sliding_window"
    cases: list[tuple[str, Keys, list[str]]] = [
        ("gemma2", {}, ["gqa 32/8 x 128, window 4,096", full]),
        ("gemma2", {window: 0}, [full, full]),
        ("gemma3", {}, [full, full]),
        ("gemma3", {window: 0}, [full, full]),
        ("gpt-oss", {window: 128, "attention.sliding_window_pattern": 1}, [full, full]),
        ("gpt-oss", {window: 128, "attention.sliding_window_pattern": 0}, ["gqa 32/8 x 128, window 128"] * 2),
        ("llama4", {}, ["gqa 32/8 x 128, chunk 8,192"] * 2),
        ("llama4", {window: 0}, [full, full]),
        ("llama4", {window: 100}, ["gqa 32/8 x 128, chunk 8,192"] * 2),
        ("olmo2", {window: 100, "attention.sliding_window_pattern": [True]}, ["gqa 32/8 x 128, window 100", full]),
        ("exaone4", {window: 100}, [full, full]),
        ("exaone4", {"block_count": 64}, ["gqa 32/8 x 128, window 4,096"] * 3 + [full]),
        ("exaone4", {"block_count": 64, window: 100}, ["gqa 32/8 x 128, window 100"] * 3 + [full]),
        ("exaone-moe", {"block_count": 4, window: 128}, ["gqa 32/8 x 128, window 128"] * 3 + [full]),
        ("plamo3", {"block_count": 8, window: 100}, ["gqa 32/8 x 128, window 100"] * 7 + [full]),
        ("plamo3", {}, [full, full]),
        ("gemma3", {window: 100, "attention.key_length_swa": 64}, ["gqa 32/8 x 64+128, window 100"] * 2),
        ("gemma3n", {window: 100, "block_count": 21, "attention.shared_kv_layers": 3}, ["gqa 32/8 x 128, window 100"]),
    ]
    for arch, more, expected in cases:
        found = kinds(write(tmp_path / "model.gguf", arch, {**LLAMA, **more}))
        assert found[: len(expected)] == expected, (arch, more)
        assert found.count("shared") == (arch == "gemma3n")


UNUSED = ("phi3", "phimoe", "llama", "qwen2", "starcoder2", "mistral3")


@pytest.mark.parametrize("arch", UNUSED)
def test_a_window_that_llama_cpp_does_not_use_changes_nothing(kvcalc: Kvcalc, tmp_path: Path, arch: str) -> None:
    path = write(tmp_path / "model.gguf", arch, {**LLAMA, "attention.sliding_window": 2047})
    assert kinds(path) == ["gqa 32/8 x 128"] * 2
    run = kvcalc("estimate", str(path), "-c", "4096", "--json")
    found = json.loads(run.stdout)
    assert found["cache"]["bytes"] == 2 * 2 * 4096 * 8 * 128 * 2
    (told,) = [each for each in found["notes"] if each["code"] == "unused-window"]
    words = f"attention.sliding_window is 2047, which llama.cpp does not use of {arch}: layers keep all positions"
    assert told == {"code": "unused-window", "text": words, "data": {"key": "attention.sliding_window"}}
    assert kinds(path, **{"attention.sliding_window": None}) == ["gqa 32/8 x 128"] * 2
    with pytest.raises(KvcalcError, match=r"attention\.sliding_window"):
        load_model(path, assume={"attention.sliding_window": 100})


def test_phi_3_mini_takes_what_llama_cpp_logs(kvcalc: Kvcalc, tmp_path: Path) -> None:
    keys = {"block_count": 32, "embedding_length": 3072, "context_length": 4096, "attention.head_count": 32}
    keys |= {"attention.head_count_kv": 32, "attention.sliding_window": 2047}
    path = write(tmp_path / "phi-3-mini-4k.gguf", "phi3", keys)
    assert json.loads(kvcalc("estimate", str(path), "-c", "4096", "--json").stdout)["cache"]["bytes"] == 1536 * 2**20


LFM2: Keys = {"block_count": 16, "embedding_length": 2048, "attention.head_count": 32, "shortconv.l_cache": 3}
LFM2 |= {"attention.head_count_kv": [0, 0, 8, 0, 0, 8, 0, 0, 8, 0, 8, 0, 8, 0, 8, 0]}
QWEN35: Keys = {"block_count": 32, "embedding_length": 4096, "attention.head_count": 16, "attention.head_count_kv": 4}
QWEN35 |= {"attention.key_length": 256, "attention.value_length": 256, "full_attention_interval": 4}
QWEN35 |= {"ssm.inner_size": 4096, "ssm.state_size": 128, "ssm.time_step_rank": 32, "ssm.group_count": 16}
LOGGED = {
    "LFM2-1.2B: 48 MiB of keys and values, 0.15625 of states": ("lfm2", LFM2, 4096, "fp16", 48.15625),
    "Qwen3.5-9B: 1152 MiB of keys and values, 50.25 of states": ("qwen35", QWEN35, 131072, "q4_0", 1202.25),
}
"""What llama.cpp's log tells of models whose layers keep convolutions, in MiB."""


@pytest.mark.parametrize("what", LOGGED)
def test_states_take_what_llama_cpp_logs(kvcalc: Kvcalc, tmp_path: Path, what: str) -> None:
    arch, keys, context, form, size = LOGGED[what]
    more = {"context_length": context, **({} if arch == "lfm2" else {"ssm.conv_kernel": 4})}
    path = write(tmp_path / "model.gguf", arch, {**keys, **more})
    run = kvcalc("estimate", str(path), "-c", str(context), "--cache-dtype", form, "--json")
    assert json.loads(run.stdout)["cache"]["bytes"] == size * 2**20
    assert 'conv_dtype: "fp32"  # llama.cpp keeps the inputs of convolutions in f32' in find_model(str(path)).text


def test_lfm2_slides_where_it_has_a_window(tmp_path: Path) -> None:
    keys = {**LFM2, "context_length": 4096, "attention.sliding_window": 100}
    found = kinds(write(tmp_path / "model.gguf", "lfm2", keys))
    assert found[:3] == [f"short_conv 2048, kernel 3{CONV}"] * 2 + ["gqa 32/8 x 64, window 100"]


MIMO2: Keys = {
    "block_count": 6,
    "nextn_predict_layers": 1,
    "embedding_length": 4096,
    "attention.head_count": [64, 64, 64, 64, 64, 8],
    "attention.head_count_kv": [4, 8, 8, 8, 8, 8],
    "attention.key_length": 192,
    "attention.value_length": 128,
    "attention.sliding_window": 128,
    "attention.sliding_window_pattern": [0, 1, 1, 1, 1, 0],
}


def test_a_file_lists_which_layers_slide_and_how_many_heads_each_has(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", "mimo2", {**MIMO2, "context_length": 131072})
    assert kinds(path) == ["gqa 64/4 x 192+128", *["gqa 64/8 x 192+128, window 128"] * 4]
    found = json.loads(kvcalc("estimate", str(path), "-c", "8192", "--engine", "exact", "--json").stdout)
    assert found["cache"]["bytes"] == (8192 * 4 + 4 * 128 * 8) * (192 + 128) * 2
    without = write(tmp_path / "none.gguf", "step35", {**LLAMA, "attention.sliding_window": 512})
    run = kvcalc("estimate", str(without))
    assert (run.code, run.stdout) == (2, "")
    assert "step35: it has no attention.sliding_window_pattern" in run.stderr


@pytest.mark.parametrize("arch", ["gpt-oss", "cohere2", "gemma3n", "gemma4", "mimo2", "step35"])
def test_a_window_that_llama_cpp_needs_is_asked_for(kvcalc: Kvcalc, tmp_path: Path, arch: str) -> None:
    keys = {**LLAMA, "attention.sliding_window_pattern": [True, False]}
    path = write(tmp_path / "model.gguf", arch, keys)
    run = kvcalc("estimate", str(path))
    assert (run.code, run.stdout) == (2, "")
    assert (
        f"{arch}: it has no attention.sliding_window; --assume attention.sliding_window=VALUE decides it" in run.stderr
    )
    assert kinds(path, **{"attention.sliding_window": None}) == ["gqa 32/8 x 128"] * 2
    slides = kinds(path, **{"attention.sliding_window": 100})
    assert slides == ["gqa 32/8 x 128, window 100", "gqa 32/8 x 128"]


def test_layers_that_are_recurrent_may_be_listed(tmp_path: Path) -> None:
    for listed in ([0, 1], [False, True], [0, 1, 0]):  # the third is of a layer that predicts further tokens
        keys = {**LLAMA, **QWEN3_NEXT, "attention.recurrent_layers": listed}
        keys |= {"block_count": len(listed), "nextn_predict_layers": len(listed) - 2}
        found = kinds(write(tmp_path / "model.gguf", "qwen35", keys))
        assert [each.split()[0] for each in found] == ["gqa", "gated_deltanet"]


def test_a_file_without_key_length_mla_keeps_expanded_heads(tmp_path: Path) -> None:
    keys = {name: value for name, value in LATENT.items() if not name.endswith("_mla")}
    keys |= {"attention.key_length": 192, "attention.value_length": 128, "attention.head_count_kv": 128}
    path = write(tmp_path / "old.gguf", "deepseek2", {**LLAMA, **keys, "attention.head_count": 128})
    assert set(kinds(path)) == {"mla expanded 128 x 192+128"}
    assert "kind: mla_expanded  # no key_length_mla" in find_model(str(path)).text


KIMI_LINEAR: Keys = {
    "block_count": 4,
    "embedding_length": 2304,
    "attention.head_count": 32,
    "attention.head_count_kv": [0, 0, 0, 1],
    "attention.key_length": 576,
    "attention.value_length": 512,
    "attention.kv_lora_rank": 512,
    "attention.key_length_mla": 192,
    "attention.value_length_mla": 128,
    "rope.dimension_count": 64,
    "kda.head_dim": 128,
    "ssm.conv_kernel": 4,
}
"""Kimi-Linear-48B-A3B's first layers, as llama.cpp's conversion/kimi_linear.py writes them."""


def test_kimi_linear_keeps_states_and_latents(tmp_path: Path) -> None:
    path = write(tmp_path / "kimi.gguf", "kimi-linear", KIMI_LINEAR)
    assert kinds(path) == ["kda 32 x 128, kernel 4, conv fp32"] * 3 + ["mla 32 heads, 512+64"]
    result = estimate(str(path), context=1000, engine="exact")
    states = 3 * 3 * 32 * 128 + 128 * 128 * 32  # elements: n_embd_r and n_embd_s of src/llama-hparams.cpp
    assert result.cache.bytes == 3 * states * 4 + 1000 * 576 * 2
    catalogue = {each.label for layer in load_model("kimi-linear-48b-a3b").sequence() for each in layer}
    assert {label.replace(CONV, "") for label in kinds(path)} == catalogue


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention.key_length": 72}, "attention.key_length is 72, where the other keys make it 576"),
        ({"attention.head_count_kv": [0, 0, 0, 32]}, "attention.head_count_kv has not 0 or 1 for each layer"),
        ({"attention.key_length_mla": 64}, "attention.key_length_mla is 64, and rope.dimension_count 64"),
    ],
)
def test_a_kimi_linear_of_another_form_is_refused(tmp_path: Path, change: Keys, message: str) -> None:
    path = write(tmp_path / "kimi.gguf", "kimi-linear", {**KIMI_LINEAR, **change})
    with pytest.raises(KvcalcError, match=re.escape(message)):
        load_model(path)


def test_every_byte_of_the_tensors_is_a_weight(kvcalc: Kvcalc, tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", "llama", LLAMA, TENSORS)
    model = load_model(path)
    total = 0
    for shape, kind in TENSORS.values():
        block, of = gguf.GGML_QUANT_SIZES[kind]
        elements = 1
        for length in shape:
            elements *= length
        total += elements // block * of
    assert sum(part.size for part in model.weights) == total
    assert {part.part: part.split for part in model.weights} == {
        "embedding, q6_k": "tp",
        "experts, iq2_xs": "ep",
        "layers, fp32": "tp",
        "layers, q4_k": "tp",
        "output head, q8_0": "tp",
    }
    assert model.tie_word_embeddings is False
    assert model.parameters == 25600 + 65536 + 262144 + 256 + 25600
    found = json.loads(kvcalc("estimate", str(path), "--engine", "exact", "--json").stdout)
    assert found["memory"]["weights_bytes"] == total
    again = validated(Model, parse_yaml(find_model(str(path)).text, "written.yaml"))
    assert again == model


def test_a_vocabulary_is_passed_over_but_counted(tmp_path: Path) -> None:
    words = {"tokenizer.ggml.tokens": [f"word {number} " * (number % 50) for number in range(30_000)]}
    path = write(tmp_path / "model.gguf", "llama", LLAMA, TENSORS, words)
    assert read_header(path, "x").values["tokenizer.ggml.tokens"] == Skipped(30_000)
    assert load_model(path).vocab_size == 30_000
    told = write(tmp_path / "told.gguf", "llama", {**LLAMA, "vocab_size": 77}, more=words)
    assert load_model(told).vocab_size == 77


def test_a_number_of_every_width_is_read(tmp_path: Path) -> None:
    path = tmp_path / "numbers.gguf"
    writer, values = gguf.GGUFWriter(path, "llama"), dict[str, float]()
    for bits in (8, 16, 32, 64):
        for kind, value in ((f"uint{bits}", 2**bits - 1), (f"int{bits}", -(2 ** (bits - 1)))):
            getattr(writer, f"add_{kind}")(kind, value)
            values[kind] = value
    writer.add_float32("float32", 0.5)
    writer.add_float64("float64", 0.1)
    writer.add_bool("bool", True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    told = {"general.architecture": "llama", **values, "float32": 0.5, "float64": 0.1, "bool": True}
    assert read_header(path, "x").values == told


def test_types_and_blocks_are_those_of_the_gguf_package() -> None:
    known = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert set(TENSOR_TYPES) == set(known) - {Type.Q8_1, Type.Q8_K}
    for number, name in TENSOR_TYPES.items():
        form, (block, size) = find_weight_format(name, "type"), known[number]
        assert form.block_bytes * block == size * form.block_elems, name
        assert Type(number).name.lower().replace("f32", "fp32").replace("f16", "fp16").replace("f64", "fp64").replace(
            "bfp16", "bf16"
        ) in {name, name.replace("int", "i")}
    assert not set(FORMATS) & set(WEIGHT_FORMATS)


@pytest.mark.parametrize(
    ("kind", "block", "size", "beside"),
    [  # sizes as a C compiler has them of ggml-common.h of ik_llama.cpp at 8337e4c, row_meta_size of its ggml.c
        (133, 32, 26, 0),
        (134, 64, 13, 2),
        (135, 64, 16, 4),
        (137, 256, 76, 0),
        (138, 256, 110, 0),
        (139, 256, 144, 0),
        (140, 256, 176, 0),
        (141, 256, 212, 0),
        (144, 256, 136, 4),
        (145, 256, 70, 2),
        (146, 256, 128, 4),
        (151, 32, 32, 8),
        (152, 256, 168, 4),
        (153, 256, 68, 4),
        (154, 256, 100, 4),
        (155, 256, 128, 4),
        (156, 256, 102, 2),
        (157, 256, 86, 2),
        (158, 256, 56, 4),
        (219, 32, 6, 2),
        (229, 32, 7, 2),
        (397, 256, 258, 0),
        (399, 256, 258, 0),
    ],
)
def test_types_of_ik_llama_cpp(kind: int, block: int, size: int, beside: int) -> None:
    fork = FORK_TYPES[kind]
    form = find_weight_format(fork.format, "type")
    assert (form.block_bytes * block, fork.row_scale) == (size * form.block_elems, beside)


def test_a_file_with_types_of_ik_llama_cpp(tmp_path: Path) -> None:
    """The scale of a row lies beside its blocks; the gguf package knows no such types, so their numbers are put in."""
    path = write(tmp_path / "model.gguf", "llama", LLAMA, {**TENSORS, "blk.0.attn_q.weight": ([256, 256], Type.Q5_K)})
    data = path.read_bytes()
    described = b"blk.0.attn_q.weight" + struct.pack("<IQQ", 2, 256, 256)
    place = data.index(described) + len(described)
    assert data[place : place + 4] == struct.pack("<I", Type.Q5_K)
    path.write_bytes(data[:place] + struct.pack("<I", 144) + data[place + 4 :])
    parts = {part.part: part for part in load_model(path).weights}
    assert parts["layers, q4_g256_s8"].size == 256 * 136
    scales = next(part for part in parts.values() if part.scales)
    assert (scales.size, scales.format, load_model(path).parameters) == (256 * 4, "fp32", 378_880 + 256)


def test_a_file_of_its_format_is_for_llama_cpp(kvcalc: Kvcalc, tmp_path: Path) -> None:
    """Where nobody says otherwise; comparing and verifying are about formulas."""
    path = str(write(tmp_path / "model.gguf", "llama", LLAMA, TENSORS))
    found = json.loads(kvcalc("estimate", path, "-c", "100", "--json").stdout)
    assert found["deployment"]["engine"] == "llama-cpp"
    assert "engine-of-file" in {each["code"] for each in found["notes"]}
    exact = json.loads(kvcalc("estimate", path, "-c", "100", "--engine", "exact", "--json").stdout)
    assert exact["deployment"]["engine"] == "exact"
    assert 100 * found["cache"]["bytes"] == 256 * exact["cache"]["bytes"]
    assert "engine exact" in kvcalc("compare", path, "-c", "100").stdout
