"""GGUF: what llama.cpp keeps of the architectures that it reads since 2026, and of a file with a header alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from conftest import texts
from gguf_files import LLAMA, TENSORS, Keys, kinds, write

from kvcalc import KvcalcError, load_model
from kvcalc.catalogue import find_model

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Kvcalc

LATENTS: Keys = {
    "block_count": 4,
    "embedding_length": 1024,
    "attention.head_count": 16,
    "attention.head_count_kv": 1,
    "attention.kv_lora_rank": 512,
    "rope.dimension_count": 64,
    "context_length": 8192,
    "attention.key_length_mla": 192,
    "attention.value_length_mla": 128,
    "attention.key_length": 576,
}
INDEXER: Keys = {
    "attention.indexer.head_count": 32,
    "attention.indexer.key_length": 128,
    "attention.indexer.top_k": 2048,
}
OWN_INDEX, CHOSEN = "mla 16 heads, 512+64, index 128, top 2,048", "mla 16 heads, 512+64, top 2,048"
WINDOWED: Keys = {**LLAMA, "block_count": 4, "attention.sliding_window": 512}
FULL, SLIDES = "gqa 32/8 x 128", "gqa 32/8 x 128, window 512"
SLIDING: Keys = {
    **LATENTS,
    **INDEXER,
    "attention.head_count": [16, 8, 16, 8],
    "attention.sliding_window": 512,
    "attention.sliding_window_pattern": [False, True, False, True],
    "attention.indexer.types": [1, 0, 1, 0],
    "attention.kv_lora_rank_swa": 1024,
    "attention.key_length_mla_swa": 256,
    "attention.value_length_mla_swa": 128,
}
COMPRESSED: Keys = {
    **INDEXER,
    "block_count": 5,
    "embedding_length": 1024,
    "context_length": 8192,
    "nextn_predict_layers": 1,
    "attention.head_count": 64,
    "attention.head_count_kv": 1,
    "attention.key_length": 512,
    "attention.value_length": 512,
    "attention.q_lora_rank": 1024,
    "attention.sliding_window": 128,
    "attention.compress_ratios": [0, 4, 128, 4, 0],
    "rope.dimension_count": 64,
}
WAITING = "compressed 64 heads, 512, window 128"
PER_FOUR = f"{WAITING}, 1 per 4 overlapping, index 128, top 2,048"
POOLED: Keys = {
    **INDEXER,
    "block_count": 5,
    "embedding_length": 1024,
    "context_length": 8192,
    "nextn_predict_layers": 1,
    "ssm.conv_kernel": 4,
}
AVERAGED: Keys = {
    **POOLED,
    "attention.head_count": 24,
    "attention.head_count_kv": 2,
    "attention.key_length": 256,
    "attention.value_length": 256,
    "attention.compress_ratios": [0, 0, 0, 4, 4],
    "ssm.inner_size": 6144,
    "ssm.state_size": 128,
    "ssm.time_step_rank": 48,
    "ssm.group_count": 16,
    "hyper_connection.count": 4,
    "ple.layers": [1],
    "ple.ngram_size": 3,
    "ple.conv_kernel": 4,
}
DELTA, NGRAMS = "gated_deltanet 16/48 x 128, kernel 4, conv fp32", "short_conv 4096, kernel 4 x 3, whole, conv fp32"
GATED: Keys = {
    **POOLED,
    "attention.head_count": 64,
    "attention.head_count_kv": [0, 0, 0, 1, 1],
    "attention.key_length": 512,
    "attention.value_length": 512,
    "attention.key_length_mla": 256,
    "attention.value_length_mla": 256,
    "attention.kv_lora_rank": 512,
    "rope.dimension_count": 0,
    "kda.head_dim": 128,
    "attention.indexer.kpool": 4,
    "attention.indexer.kpool_select_tail": True,
}
NEWER: dict[str, tuple[Keys, list[str]]] = {
    "qwen4exp": (
        AVERAGED,
        [DELTA, f"{DELTA} + {NGRAMS}", DELTA, "gqa 24/2 x 256, index 128 of 4, top 2,048"],
    ),
    "glm5-next": (
        GATED,
        ["kda 64 x 128, kernel 4, conv fp32"] * 3 + ["mla 64 heads, 512+0, index 128 of 4, top 2,048"],
    ),
    "mistral4": (LATENTS, ["mla 16 heads, 512+64"] * 4),
    "deepseek32": ({**LATENTS, **INDEXER}, [OWN_INDEX] * 4),
    "deepseek4": (COMPRESSED, [WAITING, PER_FOUR, f"{WAITING}, 1 per 128", PER_FOUR]),
    "glm-dsa": ({**LATENTS, **INDEXER, "block_count": 8, "nextn_predict_layers": 1}, [OWN_INDEX] * 7),
    "glm-dsa 5.2": (
        {**LATENTS, **INDEXER, "block_count": 7, "context_length": 1048576},
        [OWN_INDEX] * 3 + [CHOSEN] * 3 + [OWN_INDEX],
    ),
    "glm-dsa listed": ({**LATENTS, **INDEXER, "attention.indexer.types": [1, 0, 1, 0]}, [OWN_INDEX, CHOSEN] * 2),
    "hy_v4": ({**LATENTS, **INDEXER, "attention.indexer.types": [1, 0, 0, 0]}, [OWN_INDEX, *[CHOSEN] * 3]),
    "hy_v4 full": (LATENTS, ["mla 16 heads, 512+64"] * 4),
    "dots3note": (SLIDING, [OWN_INDEX, "mla 8 heads, 1024+64, window 512"] * 2),
    "minicpm3": ({**LLAMA, "attention.kv_lora_rank": 256, "attention.q_lora_rank": 768}, [FULL] * 2),
    "cohere2moe": (WINDOWED, [FULL, *[SLIDES] * 3]),
    "laguna": (WINDOWED, [FULL, *[SLIDES] * 3]),
    "laguna M": ({**LLAMA, "attention.head_count": [32, 32]}, [FULL] * 2),
    "muse-glimmer": (WINDOWED, [*[SLIDES] * 3, FULL]),
    "mellum": ({**WINDOWED, "attention.sliding_window_pattern": 2}, [SLIDES, FULL] * 2),
    "granite_swa": ({**WINDOWED, "attention.sliding_window_pattern": [True, False] * 2}, [SLIDES, FULL] * 2),
    "nanbeige": ({**LLAMA, "num_loops": 2}, [FULL] * 4),
    "minimax-01": (
        {**LLAMA, "block_count": 3, "attention.key_length": 128, "full_attention_interval": 3},
        ["lightning 32 x 128"] * 2 + [FULL],
    ),
    "deepseek2-ocr": (LLAMA, [FULL] * 2),
    "rwkv7": (
        {"block_count": 2, "embedding_length": 768, "attention.head_count": 0, "wkv.head_size": 64},
        ["rwkv 12 x 64, shifts 2 x 768, conv fp32"] * 2,
    ),
    "rwkv6qwen2": (
        {"block_count": 1, "embedding_length": 512, "wkv.head_size": 128, "token_shift_count": 1},
        ["rwkv 4 x 128, shifts 1 x 512, conv fp32"],
    ),
    "t5": ({**LLAMA, "decoder_block_count": 2}, [FULL] * 2),
    "t5 small": ({**LLAMA, "attention.key_length": 64, "attention.value_length": 64}, ["gqa 32/8 x 64"] * 2),
}
"""Keys as load_arch_hparams of src/models/NAME.cpp reads them (llama.cpp b11549), and what create_memory keeps."""


@pytest.mark.parametrize("name", NEWER)
def test_newer_architectures_keep_what_llama_cpp_keeps(name: str, tmp_path: Path) -> None:
    keys, expected = NEWER[name]
    assert kinds(write(tmp_path / "model.gguf", name.split(maxsplit=1)[0], keys)) == expected


@pytest.mark.parametrize(("ratios", "said"), [([0, 8, 128, 4, 0], "ratios of 4 and 128 only"), ([0, 4], "a list of 2")])
def test_ratios_that_llama_cpp_does_not_know_are_refused(tmp_path: Path, ratios: list[int], said: str) -> None:
    with pytest.raises(KvcalcError, match=said):
        load_model(write(tmp_path / "model.gguf", "deepseek4", {**COMPRESSED, "attention.compress_ratios": ratios}))


@pytest.mark.parametrize(
    ("arch", "changed", "said"),
    [
        ("qwen4exp", {**AVERAGED, "attention.compress_ratios": [0, 0, 0, 0, 0]}, "not one ratio for all layers with"),
        ("qwen4exp", {**AVERAGED, "attention.compress_ratios": [0, 0]}, "not one ratio for all layers with"),
        ("qwen4exp", {**AVERAGED, "ple.layers": [3]}, "ple.layers has layers without linear attention"),
        ("glm5-next", {**GATED, "attention.indexer.types": [1, 1, 1, 0]}, "layers that share an indexer"),
    ],
)
def test_indexers_that_are_not_known_are_refused(tmp_path: Path, arch: str, changed: Keys, said: str) -> None:
    with pytest.raises(KvcalcError, match=said):
        load_model(write(tmp_path / "model.gguf", arch, changed))


def test_a_decoder_deeper_than_its_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KvcalcError, match="decoder_block_count is 3"):
        load_model(write(tmp_path / "model.gguf", "t5", {**LLAMA, "decoder_block_count": 3}))


def test_a_blob_is_known_by_how_it_begins(kvcalc: Kvcalc, tmp_path: Path) -> None:
    blob = write(tmp_path / "sha256-0123abcd", "llama", LLAMA)
    run = kvcalc("estimate", str(blob), "--json")
    assert (run.code, json.loads(run.stdout)["deployment"]["engine"]) == (0, "llama-cpp")
    (tmp_path / "notes").write_text("GGU", encoding="utf-8")
    assert kvcalc("estimate", str(tmp_path / "notes")).code == 2


@pytest.mark.parametrize("arch", ["bert", "jina-bert-v3", "llada"])
def test_what_keeps_no_cache_says_so(kvcalc: Kvcalc, tmp_path: Path, arch: str) -> None:
    run = kvcalc("estimate", str(write(tmp_path / "model.gguf", arch, LLAMA)))
    assert run.code == 2
    assert "keeps no cache" in run.stderr
    assert "next:" not in run.stderr


def test_a_header_alone_tells_the_weights(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", "llama", LLAMA, TENSORS)
    whole = load_model(path)
    length = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(length - 1000)
    found = find_model(str(path))
    assert found.model.weights == whole.weights
    assert texts(found.notes)[0].startswith("1,000 bytes of its tensors are not there")
