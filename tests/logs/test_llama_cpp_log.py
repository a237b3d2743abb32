"""What llama.cpp's start-up logs say, alone and within the logs of what is built on it."""

from __future__ import annotations

import pytest
from llama_cpp_start_ups import B6182, B8946, DRAFTING, OLD, TWICE

from kvcalc.logs import ServerLog, read_log_text


def texts(log: ServerLog, figure: str) -> list[tuple[str, str]]:
    return [(each.text, each.process) for each in log.printed.get(figure, ())]


def test_buffers_are_those_of_a_device() -> None:
    log = read_log_text(B8946)
    assert (log.engine, log.version, log.device) == ("llama-cpp", "8946", "NVIDIA GeForce RTX 3090")
    assert texts(log, "model buffer") == [("682.03 MiB", "CPU_Mapped"), ("14032.23 MiB", "CUDA0")]
    assert texts(log, "compute buffer") == [("654.78 MiB", "CUDA0"), ("411.29 MiB", "CUDA_Host")]
    assert texts(log, "total memory") == [("24575 MiB", "")]
    assert {"type_k": "q8_0", "ubatch-size": "512", "flash-attn": "enabled"}.items() <= log.settings.items()


def test_a_draft_has_figures_of_its_own() -> None:
    log = read_log_text(DRAFTING)
    assert texts(log, "KV buffer") == [("512.00 MiB", "Vulkan0")]
    assert texts(log, "draft's KV buffer") == [("32.00 MiB", "Vulkan0")]
    assert (log.settings["draft-n"], log.settings["n_seq_max"]) == ("2", "4")


def test_keys_of_the_models_file_are_read_in_both_wordings() -> None:
    assert read_log_text(OLD).metadata["qwen3moe.block_count"] == "94"
    assert read_log_text(OLD).metadata["embedding_length"] == "4096"
    assert read_log_text(B6182).metadata["general.architecture"] == "gpt-oss"


def test_what_is_printed_while_planning_is_void_once_it_is_loaded() -> None:
    assert texts(read_log_text(TWICE), "cache memory") == [("6647.00 MiB", "")]
    assert texts(read_log_text(TWICE), "KV buffer") == [("6647.00 MiB", "CUDA0")]


def test_the_last_model_of_several_is_the_one_that_is_compared() -> None:
    log = read_log_text(OLD + B6182)
    assert log.metadata["general.architecture"] == "gpt-oss"
    assert "qwen3moe.block_count" not in log.metadata
    assert (log.model, texts(log, "tokens")) == ("./gpt-oss-20b-mxfp4.gguf", [("4096", "")])


@pytest.mark.parametrize(
    "before",
    [
        "0.00.123.456 I ",
        "2026-08-12 00:28:12 [DEBUG] ",
        "Sep 11 00:42:50 host ollama[3110]: ",
        "  116: 0.01.787.336 I ",
        "llama-1  | ",
    ],
)
def test_what_stands_before_a_line_changes_nothing(before: str) -> None:
    bare, within = read_log_text(B6182), read_log_text("".join(f"{before}{line}\n" for line in B6182.splitlines()))
    assert within.printed == bare.printed
    assert within.metadata == bare.metadata
    assert within.settings == bare.settings


@pytest.mark.parametrize(
    ("line", "first", "last"),
    [
        (
            "llama_model_load_from_file_impl: using device MTL0 (Apple M1 Pro) (unknown id) - 8203 MiB free",
            (0,),
            (9092,),
        ),
        ("llama_context: n_outputs_max         = 1", (9460,), (11549,)),
        ("srv    load_model: initializing slots, n_slots = 4", (0,), (9872,)),
    ],
)
def test_a_line_tells_of_which_builds_a_log_may_be(line: str, first: tuple[int, ...], last: tuple[int, ...]) -> None:
    figures = "llama_kv_cache:       MTL0 KV buffer size =   448.00 MiB\nload_tensors: offloaded 29/29 layers to GPU\n"
    between = read_log_text(f"{line}\n{figures}").between
    assert between is not None
    assert between[1] == last
    assert between[0] == first or not first[0]
