"""Figures that llama.cpp printed beside predicted ones. The logs are those of tests/logs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Kvcalc
from llama_cpp_start_ups import (
    AT_THE_END,
    B6182,
    B8946,
    BY_VULKAN,
    DRAFTING,
    EMBEDDINGS_OF_LAYERS,
    FITTED,
    LIBRARY,
    NAMED,
    OLD,
    OLDER_GRAPHS,
    OLLAMA_ON_A_MAC,
    OLLAMA_OWN,
    OLLAMA_OWN_STATES,
    OLLAMA_WITHOUT_FLASH_ATTENTION,
    UNLIKE,
)

import kvcalc as package
from kvcalc.errors import KvcalcError


def off(result: package.LogCheck) -> dict[str, float]:
    return {row.name: round(row.difference, 4) for row in result.rows if row.difference is not None}


def test_caches_and_states_are_as_printed(log: Any) -> None:
    found = package.capacity_from_log(log(B8946), "qwen3.6-27b")
    rows = {row.name: (row.printed, row.predicted) for row in found.rows}
    assert rows["tokens"] == (200192, 200192)
    assert off(found) == {"tokens": 0, "cache memory": 0, "states": 0, "compute buffer": -0.0004, "weights": 0}
    assert found.exact.as_printed
    assert not found.differs


def test_towers_are_as_llama_server_expects_them(log: Any) -> None:
    """Qwen3.6-27B's mmproj: 887.99 MiB of weights, and a compute buffer of 248.10 for an image of 1472 x 1472."""
    line = "srv load_model: [mtmd] estimated worst-case memory usage of mmproj is 1136.09 MiB (took 3.10 ms)\n"
    found = package.capacity_from_log(log(B8946.replace("load_tensors:", line + "load_tensors:", 1)), "qwen3.6-27b")
    (row,) = [row for row in found.rows if row.name == "mmproj"]
    assert row.printed == round(1136.09 * 2**20) != 0
    assert abs((row.predicted or 0) / row.printed - 1) < 0.004  # bf16, which leaves kernels of patches in f32
    assert f"--reserve mmproj={int(1136.09 * 2**20)}" in found.exact.command
    assert not found.differs


def test_layers_on_the_host_and_copies_for_drafted_tokens(log: Any) -> None:
    """Two of 65 layers and the head are the host's: one of 64, as the 65th predicts further tokens."""
    found = package.capacity_from_log(log(DRAFTING), "qwen3.6-27b")
    settings = {each.option: each.value for each in found.settings}
    assert (settings["--batch"], settings["kv-unified"], settings["draft-n"]) == ("4", "1", "2")
    assert settings["n-gpu-layers"] == "63"
    assert {name: off(found)[name] for name in ("cache memory", "states", "KV buffer", "RS buffer")} == {
        "cache memory": 0,
        "states": 0,
        "KV buffer": 0,
        "RS buffer": 0,
    }


@pytest.mark.parametrize("text", [OLD, B6182])
def test_the_model_is_what_the_log_prints_of_its_file(text: str, kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(text), "--json")
    assert told.code == 0, told.stderr
    result = json.loads(told.stdout)
    codes = {each["code"] for each in result["notes"]}
    assert "model-as-logged" in codes
    assert ("build-not-known" in codes) is (text is OLD)  # a fork counts its own
    assert next(row for row in result["rows"] if row["name"] == "cache memory")["difference"] == 0
    assert "someone" not in told.stdout + told.stderr


def test_unlike_cards_share_layers_by_the_memory_that_was_free(log: Any) -> None:
    found = off(package.capacity_from_log(log(UNLIKE), "qwen3-30b-a3b"))
    assert {name: found[name] for name in ("cache memory", "KV buffer, CUDA0", "KV buffer, CUDA1")} == {
        "cache memory": 0,
        "KV buffer, CUDA0": 0,
        "KV buffer, CUDA1": 0,
    }


def test_a_cache_of_another_size_is_a_no(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "qwen3.6-27b", "--from-log", log(B8946.replace("6647.00", "8647.00")))
    assert told.code == 1
    assert "cache memory: 23.13% off, more than 5%" in told.stdout


def test_a_log_whose_model_is_not_known_asks_for_it(log: Any) -> None:
    with pytest.raises(KvcalcError, match="capacity MODEL --from-log FILE"):
        package.capacity_from_log(log(B8946))


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("n_ctx         = 200192", "n_ctx         = 999999999999"),
        ("(200192 cells", "(0 cells"),
        ("65/65", "7/3"),
        ("K (q8_0)", "K (turbo9)"),
        ("200192 cells,  16 layers,  1/1", "200192 cells,  16 layers,  9/3"),
    ],
)
def test_hostile_values_are_refused_or_a_no(was: str, now: str, kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "qwen3.6-27b", "--from-log", log(B8946.replace(was, now)))
    assert told.code in {0, 1, 2}, told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    ("text", "gpu", "memory"),
    [(OLLAMA_ON_A_MAC, "m4-32gb", 26_800_600_000), (OLLAMA_WITHOUT_FLASH_ATTENTION, "rx6600", 8 * 2**30)],
)
def test_build_and_card_of_a_log_that_names_neither(text: str, gpu: str, memory: int, log: Any) -> None:
    """The build is what has such lines, the card what the driver calls it, its memory what a Mac's GPU may use."""
    found = package.capacity_from_log(log(text))
    assert off(found) == {"tokens": 0, "cache memory": 0, "compute buffer": 0, "weights": 0}
    assert found.engine_version == "b6924"
    assert found.gpus is not None
    assert (found.gpus.gpu, found.gpus.memory_bytes) == (gpu, memory)
    codes = {each.code for each in found.notes}
    assert "version-not-logged" in codes
    assert "card-taken" not in codes


def test_layers_that_llama_cpp_itself_leaves_to_the_host(log: Any) -> None:
    """Its own fitting, on what was free of the card beside its margin of 1 GiB, and the buffers of what it chose."""
    found = package.capacity_from_log(log(FITTED))
    assert found.gpus is not None
    assert (found.gpus.gpu, found.gpus.memory_bytes) == ("rtx2060-6gb", 5738 * 2**20)
    assert {name: off(found)[name] for name in ("cache memory", "KV buffer")} == {"cache memory": 0, "KV buffer": 0}
    compute = next(row for row in found.rows if row.name == "compute buffer")
    assert compute.printed is not None
    assert (compute.predicted_low or 0) <= compute.printed <= (compute.predicted_high or 0)
    asked: dict[str, Any] = {"engine": "llama-cpp", "weight_dtype": "q4_0", "context": 32768, "gpus": 1}
    assert package.capacity("llama-3.1-8b", gpu="rtx2060-6gb", gpu_memory="5141MiB", **asked).n_gpu_layers == 15


def test_ollamas_own_engine(log: Any) -> None:
    """Windows of gpt-oss keep 4,096 tokens and a batch there: 4,608 cells of 18 layers, where llama.cpp has 640."""
    found = package.capacity_from_log(log(OLLAMA_OWN))
    assert (found.model.name, found.gpus.gpu if found.gpus else "") == ("gpt-oss-120b", "strix-halo-64gb")
    rows = {row.name: row for row in found.rows}
    assert rows["cache memory"].predicted == rows["cache memory"].printed == 450 * 2**20
    compute = rows["compute buffer"]
    assert (compute.predicted_low or 0) <= (compute.printed or 0) <= (compute.predicted_high or 0)
    assert "someone" not in str(found)


def test_ollamas_own_engine_keeps_checkpoints_of_states(log: Any) -> None:
    """q8_0 of 5 layers, 170 MiB, and 25 states of each of 15: what is on the card, as printed."""
    found = package.capacity_from_log(log(OLLAMA_OWN_STATES), "qwen3-coder-next")
    assert {name: off(found)[name] for name in ("cache memory", "KV buffer")} == {
        "cache memory": 0,
        "KV buffer": 0,
    }
    (buffer,) = (row for row in found.rows if row.name == "KV buffer")
    assert abs((buffer.predicted or 0) / 2**20 - 955.2) <= 0.05


def test_logits_of_every_token_need_nothing_of_the_host(log: Any) -> None:
    """An older build by its lines: 152,064 logits and 3,584 more for 512 tokens in f32 are 304 MiB."""
    found = package.capacity_from_log(log(OLDER_GRAPHS), "qwen2.5-7b")
    assert found.engine_version == "b6924"
    assert {name: off(found)[name] for name in ("cache memory", "KV buffer", "compute buffer")} == {
        "cache memory": 0,
        "KV buffer": 0,
        "compute buffer": 0,
    }


def test_weights_unlike_those_of_the_checkpoint_are_taken_as_printed(log: Any) -> None:
    found = package.capacity_from_log(log(EMBEDDINGS_OF_LAYERS), "gemma-4-e4b")
    assert {name: off(found)[name] for name in ("tokens", "cache memory", "weights")} == {
        "tokens": 0,
        "cache memory": 0,
        "weights": 0,
    }
    assert "weights-as-printed" in {each.code for each in found.notes}


def test_the_table_at_the_end_is_enough(log: Any) -> None:
    """750 MiB are 48,128 cells of 10 layers in q8_0, and states of the four slots that nobody asked for."""
    found = package.capacity_from_log(log(AT_THE_END))
    rows = {row.name: row for row in found.rows}
    q8_0, states = 48_128 * 10 * 2 * 2 * 256 * 34 // 32, 4 * 65_863_680
    assert rows["caches and states"].predicted == q8_0 + states
    assert off(found)["caches and states"] == off(found)["weights"] == 0
    assert not found.differs
    compute = rows["compute buffer"]
    assert (compute.predicted_low or 0) <= (compute.printed or 0) <= (compute.predicted_high or 0)


def test_an_application_that_has_logits_of_every_token(log: Any) -> None:
    """151,936 logits and 2 x 896 for 512 tokens in f32."""
    assert off(package.capacity_from_log(log(LIBRARY), "qwen2.5-0.5b"))["compute buffer"] == 0


def test_vulkans_order_of_a_layer_is_the_end_of_the_range(log: Any) -> None:
    found = package.capacity_from_log(log(BY_VULKAN), "qwen3.5-9b")
    compute = next(row for row in found.rows if row.name == "compute buffer")
    assert (compute.predicted, compute.predicted_high) == (360 * 2**20, 392 * 2**20 + 4 * 3 * 8192 * 4)
    assert "Vulkan computes parts of a layer ahead" in (compute.why or "")


def test_weights_of_a_model_by_its_name_are_as_printed_and_its_context_that_of_a_slot(log: Any) -> None:
    found = package.capacity_from_log(log(NAMED))
    assert found.model.name == "qwen3.6-27b"
    assert off(found) == {"cache memory": 0, "compute buffer": -0.0001, "weights": 0}


def test_the_card_of_a_mac_is_not_taken_for_another_without_a_word(log: Any) -> None:
    def told(text: str) -> str:
        return next(each.text for each in package.capacity_from_log(log(text)).notes if each.code == "card-taken")

    on_a_mac = "# argv: llama-cli -m qwen2.5-0.5b-instruct-q5_0.gguf\n" + LIBRARY
    assert "though MTL is Metal's name for a chip of Apple" in told(on_a_mac)
    assert "Metal" not in told(on_a_mac.replace("MTL0", "CUDA0"))


def test_a_build_that_is_not_logged_is_one_whose_rules_hold(log: Any) -> None:
    """No build printed sched_reserve when b6924 was new: its rules hold for builds that do."""
    older = "# argv: llama-cli -m qwen2.5-0.5b-instruct-q5_0.gguf\n" + LIBRARY.replace("n_outputs_max", "n_batch      ")
    note = next(each for each in package.capacity_from_log(log(older)).notes if each.code == "version-not-logged")
    assert "whose rules hold for builds with the wording of its lines" in note.text
