"""GGUF files as the gguf package writes them: shapes as the catalogue has them, bytes to the last, or a refusal."""

from __future__ import annotations

import json
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import gguf
import pytest
from conftest import Kvcalc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvcalc import KvcalcError, Model, load_model
from kvcalc.catalogue import find_model
from kvcalc.catalogue.validation import validated
from kvcalc.catalogue.yaml_reader import parse_yaml
from kvcalc.formats.element import FORMATS
from kvcalc.formats.weights import WEIGHT_FORMATS, find_weight_format
from kvcalc.importers.gguf.cache_keys import CACHE_KEYS
from kvcalc.importers.gguf.families import FAMILIES
from kvcalc.importers.gguf.header import Skipped, read_header
from kvcalc.importers.gguf.types import TENSOR_TYPES

Keys = dict[str, Any]
Tensors = dict[str, tuple[list[int], gguf.GGMLQuantizationType]]
Type = gguf.GGMLQuantizationType
CONV = ", conv fp32"
"""As llama.cpp keeps the inputs of convolutions, whatever the cache's type is."""

LLAMA: Keys = {
    "block_count": 2,
    "embedding_length": 4096,
    "context_length": 8192,
    "attention.head_count": 32,
    "attention.head_count_kv": 8,
}
TENSORS: Tensors = {
    "token_embd.weight": ([256, 100], Type.Q6_K),
    "blk.0.attn_q.weight": ([256, 256], Type.Q4_K),
    "blk.1.ffn_down_exps.weight": ([256, 256, 4], Type.IQ2_XS),
    "blk.1.attn_norm.weight": ([256], Type.F32),
    "output.weight": ([256, 100], Type.Q8_0),
}


def write(path: Path, arch: str, keys: Keys, tensors: Tensors | None = None, more: Keys | None = None) -> Path:
    """As the gguf package writes a header; the tensors are a hole of their size."""
    writer = gguf.GGUFWriter(path, arch)
    for name, value in {**{f"{arch}.{name}": value for name, value in keys.items()}, **(more or {})}.items():
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, list):
            writer.add_array(name, value)
        else:
            writer.add_string(name, value)
    size = 0
    for name, (shape, kind) in (tensors or {}).items():
        block, of = gguf.GGML_QUANT_SIZES[kind]
        elements = 1
        for length in shape:
            elements *= length
        nbytes = elements // block * of
        row = [shape[0] // block * of, *shape[1:]]
        writer.add_tensor_info(name, list(reversed(row)), _uint8(), nbytes, raw_dtype=kind)
        size = -(-size // 32) * 32 + nbytes
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.truncate(-(-end // 32) * 32 + size)
    return path


def _uint8() -> Any:
    import numpy as np  # noqa: PLC0415  # of the gguf package

    return np.dtype(np.uint8)


def kinds(path: Path, **assumed: Any) -> list[str]:
    return [" + ".join(each.label for each in layer) for layer in load_model(path, assume=assumed).sequence()]


GQA = {"attention.head_count": 32, "attention.head_count_kv": 8, "embedding_length": 4096}


def dims(model: Model) -> Keys:
    """Keys of a model whose layers are alike in heads."""
    attention = next(each.attention for layer in model.sequence() for each in layer if each.attention.query_heads)
    found = {"mha": attention.query_heads, "mqa": 1}.get(attention.kind) or getattr(attention, "num_kv_heads", 1)
    return {
        "attention.head_count": attention.query_heads,
        "attention.head_count_kv": found,
        "attention.key_length": getattr(attention, "head_dim", 0) or 1,
        "attention.value_length": getattr(attention, "head_dim", 0) or 1,
    }


def _states(name: str) -> list[int]:
    """KV heads of each layer, 0 where a state is kept."""
    return [getattr(layer[0].attention, "num_kv_heads", 0) for layer in load_model(name).sequence()]


def _labels(name: str) -> list[str]:
    return [layer[0].label for layer in load_model(name).sequence()]


NEMOTRON = "nvidia-nemotron-3-ultra-550b-a55b-bf16"
LATENT = {
    "attention.kv_lora_rank": 512,
    "attention.q_lora_rank": 1536,
    "rope.dimension_count": 64,
    "attention.key_length": 576,
    "attention.value_length": 512,
    "attention.key_length_mla": 192,
    "attention.value_length_mla": 128,
}
MAMBA2 = {"ssm.inner_size": 4096, "ssm.time_step_rank": 32, "ssm.state_size": 256, "ssm.group_count": 2}
MAMBA2 |= {"ssm.conv_kernel": 4}
QWEN3_NEXT = {"ssm.conv_kernel": 4, "ssm.inner_size": 4096, "ssm.state_size": 128, "ssm.time_step_rank": 32}
QWEN3_NEXT |= {"ssm.group_count": 16, "full_attention_interval": 4}

MODELS: dict[str, tuple[str, Keys]] = {
    "llama-3-70b": ("llama", {}),
    "qwen3-8b": ("qwen3", {}),
    "falcon-7b": ("falcon", {}),
    "gemma-2-27b": ("gemma2", {"attention.sliding_window": 4096}),
    "gemma-3-27b": ("gemma3", {"attention.sliding_window": 1024}),
    "gpt-oss-120b": ("gpt-oss", {"attention.sliding_window": 128}),
    "c4ai-command-r7b-12-2024": ("cohere2", {"attention.sliding_window": 4096}),
    "olmo-3-7b": (
        "olmo2",
        {"attention.sliding_window": 4096, "attention.sliding_window_pattern": ([True] * 3 + [False]) * 8},
    ),
    "olmo-2-1124-7b": ("olmo2", {}),
    "llama-4-maverick-17b-128e": ("llama4", {}),
    "phi-3-medium-128k": ("phi3", {"attention.sliding_window": 131072, "context_length": 131072}),
    "gemma-3n-e4b": ("gemma3n", {"attention.sliding_window": 512}),
    "deepseek-v3": ("deepseek2", LATENT),
    "glm-4.5": ("glm4moe", {"block_count": 93, "nextn_predict_layers": 1}),
    "qwen3-next-80b-a3b": ("qwen3next", QWEN3_NEXT),
    "mamba-2.8b": ("mamba", {"ssm.inner_size": 5120, "ssm.state_size": 16, "ssm.conv_kernel": 4}),
    "ai21-jamba-mini-1.5": (
        "jamba",
        {
            "attention.head_count_kv": _states("ai21-jamba-mini-1.5"),
            "ssm.inner_size": 8192,
            "ssm.state_size": 16,
            "ssm.conv_kernel": 4,
        },
    ),
    "granite-4.0-h-tiny": (
        "granitehybrid",
        {
            "attention.head_count_kv": _states("granite-4.0-h-tiny"),
            "ssm.inner_size": 3072,
            "ssm.time_step_rank": 48,
            "ssm.state_size": 128,
            "ssm.group_count": 1,
            "ssm.conv_kernel": 4,
        },
    ),
    NEMOTRON: (
        "nemotron_h_moe",
        {
            "attention.head_count_kv": _states(NEMOTRON),
            "feed_forward_length": [5120 * (kind == "no attention") for kind in _labels(NEMOTRON)],
            "ssm.inner_size": 16384,
            "ssm.time_step_rank": 256,
            "ssm.state_size": 128,
            "ssm.group_count": 8,
            "ssm.conv_kernel": 4,
        },
    ),
    "lfm2-1.2b": ("lfm2", {"attention.head_count_kv": _states("lfm2-1.2b"), "shortconv.l_cache": 3}),
    "falcon-h1-34b": (
        "falcon-h1",
        {
            "ssm.inner_size": 4096,
            "ssm.time_step_rank": 32,
            "ssm.state_size": 256,
            "ssm.group_count": 2,
            "ssm.conv_kernel": 4,
        },
    ),
}


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
    found = json.loads(kvcalc("estimate", str(path), "-c", "8192", "--json").stdout)
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
    found = json.loads(kvcalc("estimate", str(path), "--json").stdout)
    assert found["memory"]["weights_bytes"] == total
    again = validated(Model, parse_yaml(find_model(str(path)).text, "written.yaml"))
    assert again == model


def test_a_vocabulary_is_passed_over_but_counted(tmp_path: Path) -> None:
    words = {"tokenizer.ggml.tokens": [f"word {number} " * (number % 50) for number in range(130_000)]}
    path = write(tmp_path / "model.gguf", "llama", LLAMA, TENSORS, words)
    assert read_header(path, "x").values["tokenizer.ggml.tokens"] == Skipped(130_000)
    assert load_model(path).vocab_size == 130_000
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
    "unknown architecture": ("rwkv7", LLAMA, "architecture 'rwkv7' is not known"),
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


def test_keys_are_those_of_the_gguf_package() -> None:
    known = _templates(gguf.Keys)
    ours = {*CACHE_KEYS, *LLAMA, *(key for _, keys in MODELS.values() for key in keys)}
    assert ours - known == {"attention.recurrent_layers"}  # llama.cpp reads it; the package does not write it yet
    assert set(FAMILIES) - set(gguf.MODEL_ARCH_NAMES.values()) <= {"hy_v3"}  # likewise


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
    "bytes that are not there": (raw(b"", tensor([10]), counts=(1, 0)), "cut off"),
    "an offset beyond": (raw(b"", tensor([1], offset=HUGE), counts=(1, 0)), "cut off"),
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


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
