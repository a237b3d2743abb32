"""What an estimate says first: on the screen, in JSON's `answer` and `spill`, and by the exit code of --check."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from conftest import Kvcalc, texts

import kvcalc as package
from kvcalc.verbs.estimate_result import SpillResult

USABLE = 85_020_639_232 * 92 // 100
"""Of an H100."""
BESIDE = {1: 2 * 2**30 // 10, 2: 2**29, 4: 2 * 2**29, 8: 3 * 2**29}


def held(tp: int, sequences: int) -> int:
    """What a GPU holds of Llama-3-70B at 8,192 tokens: weights, 2.5 GiB a sequence, 1.5 and 0.7 GiB, communication."""
    return 2 * 70_553_706_496 // tp + sequences * 5 * 2**29 // tp + 15 * 2**30 // 10 + 7 * 2**30 // 10 + BESIDE[tp]


LLAMA = ("estimate", "llama-3-70b", "-c", "8192")


@pytest.mark.parametrize(
    ("words", "gpus", "fits", "tight", "sequences", "held_sequences"),
    [
        (("-b", "32"), (4, 4, 1, 1), True, False, 58, 32),
        ((), (2, 2, 1, 1), False, True, 3, 1),
        (("--tp", "8"), (8, 8, 1, 1), True, False, 168, 1),
        (("--tp", "2", "-b", "32"), (2, 2, 1, 1), False, False, 3, 32),
        (("--tp", "4", "--dp", "2", "-b", "9"), (8, 4, 1, 2), True, False, 116, 5),
    ],
    ids=["the smallest", "the smallest is tight", "asked for", "does not fit", "replicas"],
)
def test_the_answer_in_json_and_on_the_screen(
    kvcalc: Kvcalc,
    words: tuple[str, ...],
    gpus: tuple[int, int, int, int],
    fits: bool,
    tight: bool,
    sequences: int,
    held_sequences: int,
) -> None:
    answer = json.loads(kvcalc(*LLAMA, *words, "--json").stdout)["answer"]
    total = held(gpus[1], held_sequences)

    assert tuple(answer[name] for name in ("gpus", "tp", "pp", "dp")) == gpus
    assert (answer["gpu"], answer["fits"], answer["tight"]) == ("h100-sxm", fits, tight)
    assert (answer["bytes_per_gpu"], answer["headroom_bytes"]) == (total, USABLE - total)
    assert answer["sequences"] == sequences
    state = "fits" if fits else "tight" if tight else "does not fit"
    screen = kvcalc(*LLAMA, *words).stdout
    assert re.match(rf"{gpus[0]} x h100-sxm, .*: {state} ", screen)
    assert re.search(rf"^total +{total / 2**30:.2f} ", screen, re.MULTILINE)


def test_a_result_at_a_prompt_says_the_answer() -> None:
    asked: dict[str, Any] = {"batch": 32, "context": 8192}
    assert repr(package.estimate("llama-3-70b", **asked)).endswith(" bytes of cache, 4 x h100-sxm: fits>")
    assert repr(package.estimate("llama-3-70b", tp=2, **asked)).endswith(" bytes of cache, 2 x h100-sxm: does not fit>")


def test_sequences_are_those_of_capacity() -> None:
    for tp, dp in ((2, 1), (4, 3)):
        asked: dict[str, Any] = {"context": 8192, "tp": tp, "dp": dp}
        answer = package.estimate("gemma-3-27b", batch=dp, **asked).answer
        assert answer.sequences == package.capacity("gemma-3-27b", **asked).total.sequences


def test_of_a_pipeline_the_headroom_is_that_of_the_stage_with_most_memory() -> None:
    """Stages of one layer; all the cache is in the first, and the last has the output head too."""
    model = package.load_model("llama-3-70b")
    result = package.estimate(model, context=8192, tp=8, pp=3)
    answer, rank = result.answer, result.memory.per_rank
    assert answer.bytes_per_gpu == rank.total_bytes
    assert answer.headroom_bytes == rank.least_headroom_bytes
    assert answer.headroom_bytes is not None


def test_without_weights_there_is_no_answer_but_the_deployment(kvcalc: Kvcalc) -> None:
    words = ("estimate", "--layers", "2", "--heads", "2", "--head-dim", "64")
    answer = json.loads(kvcalc(*words, "--json").stdout)["answer"]
    assert answer == {
        "gpus": 1,
        "gpu": "h100-sxm",
        "tp": 1,
        "pp": 1,
        "dp": 1,
        "fits": None,
        "tight": None,
        "bytes_per_gpu": None,
        "headroom_bytes": None,
        "sequences": None,
    }
    assert kvcalc(*words).stdout.startswith("1 x h100-sxm: weights unknown\n")


def test_where_nothing_holds_the_workload_one_gpu_does_not_fit(kvcalc: Kvcalc) -> None:
    words = ("estimate", "llama-3.1-405b", "-c", "8192", "--gpu", "t4", "--gpu-memory", "1GiB")
    answer = json.loads(kvcalc(*words, "--json").stdout)["answer"]
    assert (answer["gpus"], answer["fits"], answer["tight"], answer["sequences"]) == (1, False, False, 0)
    assert kvcalc(*words).stdout.startswith("1 x t4: does not fit ")
    checked = kvcalc(*words, "--check")
    assert checked.code == 1
    assert checked.stderr.endswith("error: --check: no legal deployment holds the workload\n")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("-b", "32"), 0, ""),
        ((), 1, "--check: tp 2 is tight (--accept-tight accepts it)"),
        (("--accept-tight",), 0, ""),
        (("--tp", "2"), 1, "--check: tp 2 is tight (--accept-tight accepts it)"),
        (("--tp", "2", "--accept-tight"), 0, ""),
        (("--tp", "1"), 1, "--check: tp 1 does not fit; 2 GPUs do (tp 2, tight)"),
        (("--tp", "2", "-b", "32", "--accept-tight"), 1, "--check: tp 2 does not fit; 4 GPUs do (tp 4)"),
    ],
)
def test_check_follows_the_answer(kvcalc: Kvcalc, words: tuple[str, ...], code: int, message: str) -> None:
    run = kvcalc(*LLAMA, *words, "--check")
    assert (run.code, message in run.stderr, "error: " in run.stderr) == (code, True, bool(code))
    assert "--accept-tight" not in run.stdout


def test_what_is_accepted_is_of_the_check(kvcalc: Kvcalc) -> None:
    run = kvcalc(*LLAMA, "--accept-tight")
    assert (run.code, run.stdout) == (2, "")
    assert "--accept-tight: says what --check accepts; give --check too" in run.stderr


# Cache kept in host memory needs no bound of decoding.


def test_weights_given_as_a_size_spill(kvcalc: Kvcalc) -> None:
    """130 GB of weights on two GPUs, 40 GiB of cache, 1.5 GiB temporary, 0.5 and 0.7 GiB of overhead on each."""
    words = (*LLAMA, "-b", "32", "--tp", "2", "--weights", "130GB", "--spill")
    room = USABLE - 65 * 10**9 - 15 * 2**30 // 10 - 2**29 - 7 * 2**30 // 10
    lacking = 40 * 2**30 - room
    body = json.loads(kvcalc(*words, "--json").stdout)

    assert body["decode"] is None
    assert body["spill"] == {"bytes_per_rank": lacking, "bytes": 2 * lacking, "seconds_per_token": None}
    assert "spill: 30.39 GiB of each GPU's cache goes to host memory" in kvcalc(*words).stdout
    (row,) = csv.DictReader(io.StringIO(kvcalc(*words, "--format", "csv").stdout))
    assert [row[f"spill_{name}"] for name in body["spill"]] == [str(lacking), str(2 * lacking), ""]


def test_with_a_bound_a_spill_costs_its_seconds() -> None:
    result = package.estimate("llama-3-70b", batch=32, context=8192, tp=2, spill=True)
    assert result.decode is not None
    assert result.decode.spill is not None
    spill = result.decode.spill
    assert result.spill == SpillResult(
        spill.spilled_bytes_per_rank, spill.spilled_bytes, result.decode.seconds_per_token
    )


def test_nothing_is_spilled_unasked_and_nothing_where_all_fits() -> None:
    asked: dict[str, Any] = {"context": 8192, "tp": 4, "weights": "130GB"}
    assert package.estimate("llama-3-70b", **asked).spill is None
    assert package.estimate("llama-3-70b", spill=True, **asked).spill == SpillResult(0, 0, None)


@pytest.mark.parametrize("tp", [None, 8])
def test_beside_unknown_weights_there_is_no_room_to_tell(tp: int | None) -> None:
    with pytest.raises(
        package.KvcalcError, match="--spill: what is left beside the weights is not known: give --weights"
    ):
        package.estimate("palm-540b", spill=True, tp=tp)


def test_rows_of_a_comparison_spill_without_a_bound() -> None:
    asked: dict[str, Any] = {"batch": 32, "context": 8192, "tp": 2, "weights": "130GB", "spill": True}
    rows = {row.name: row for row in package.compare("llama-3-70b", **asked).rows}
    own = package.estimate("llama-3-70b", **asked).spill
    assert own is not None
    assert (rows["gqa-8"].given.spilled_bytes, rows["gqa-8"].given.seconds_per_token) == (own.bytes, None)
    room = USABLE - 65 * 10**9 - 15 * 2**30 // 10 - 2**29 - 7 * 2**30 // 10
    assert own.bytes == 2 * (40 * 2**30 - room)
    assert rows["mqa"].given.spilled_bytes == 2 * (10 * 2**30 - room)  # both have the only head


# Accelerators that are several devices to software.


@pytest.mark.parametrize(
    ("gpu", "memory", "devices"), [("mi250x", "96GB", 2), ("tpu-v7x", "192GB", 2), ("trn2", "96GB", 4)]
)
def test_one_package_may_be_several_devices(gpu: str, memory: str, devices: int) -> None:
    note = f"{gpu} is {devices} devices to software, each with 1/{devices} of its memory, bandwidth and rates"
    for result in (
        package.estimate("llama-3-8b", gpu=gpu, gpu_memory=memory),
        package.capacity("llama-3-8b", gpu=gpu, gpu_memory=memory),
        package.compare("llama-3-8b", gpu=gpu, gpu_memory=memory),
        package.plan("llama-3-8b", gpu=gpu, gpu_memory=memory),
    ):
        assert any(each.startswith(note) for each in texts(result.notes))
    assert not any("devices to software" in each for each in texts(package.estimate("llama-3-8b", gpu="mi300x").notes))


def test_memory_of_one_device_makes_a_gpu_of_one_device() -> None:
    whole, one = (
        package.make_scenario("llama-3-8b", gpu="mi250x", gpu_memory=size).gpu for size in ("128GiB", "64GiB")
    )
    assert (whole.devices, whole.one_of, whole.memory_bandwidth_gb_per_s, whole.node_size) == (2, 1, 3277, 4)
    assert (one.devices, one.one_of, one.memory_bandwidth_gb_per_s, one.node_size) == (1, 2, 3277 / 2, 8)
    assert (one.bf16_dense_tflops, one.fp8_dense_tflops, one.interconnect_gb_per_s) == (383 / 2, None, 175)
    (told,) = (each for each in package.estimate("llama-3-8b", gpu=one).notes if each.code == "gpu-is-one-device")
    assert "mi250x's 2 devices" in told.text
    assert package.make_scenario("llama-3-8b", gpu="h100-sxm", gpu_memory="20GiB").gpu.memory_bandwidth_gb_per_s == 3350
