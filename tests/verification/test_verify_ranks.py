"""verify over ranks: each holds its part to the byte, one after another in a process, and a process each."""

from __future__ import annotations

import json
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Kvcalc, Run
from prepared import VERIFY, Ended, Prepared


def measured(printed: dict[str, Any], name: str) -> list[int]:
    """What was found for a claim, which is what was predicted."""
    assert printed["verified"] is True
    found = [check for check in printed["checks"] if check["name"] == name]
    assert [check["measured"] for check in found] == [check["predicted"] for check in found]
    return [check["measured"] for check in found]


@pytest.mark.parametrize(
    ("words", "ranks", "whole"),
    [
        ("llama-3-8b -c 1024 --tp 4", [33_554_432] * 4, 134_217_728),
        ("llama-3-8b -c 1024 --tp 16", [16_777_216] * 16, 268_435_456),
        ("deepseek-v3 -c 8192 --tp 8", [575_668_224] * 8, 4_605_345_792),
        ("gemma-3-1b -c 1000 --tp 4", [15_630_336] * 4, 62_521_344),
        ("llama-3-8b -c 1024 --pp 3", [46_137_344, 46_137_344, 41_943_040], 134_217_728),
        ("llama-3-8b -c 1024 --tp 2 --pp 2", [33_554_432] * 4, 134_217_728),
        (
            "gemma-3-27b -c 8192 --tp 2 --pp 3",
            [176_160_768, 176_160_768, 205_520_896, 205_520_896, 171_966_464, 171_966_464],
            1_107_296_256,
        ),
        ("llama-3-8b -c 64 --tp 2 --cache-dtype k=q8_0,v=q4_0", [1_703_936] * 2, 3_407_872),
    ],
)
def test_every_rank_holds_its_part(kvcalc: Kvcalc, words: str, ranks: list[int], whole: int) -> None:
    run = kvcalc("verify", *words.split(), "--device", "meta", "--json")
    assert run.code == 0
    printed = json.loads(run.stdout)
    assert measured(printed, "bytes of rank") == ranks
    assert measured(printed, "cache bytes") == [whole]
    assert sum(ranks) == whole


@pytest.mark.parametrize(
    ("words", "ranks"),
    [
        ("llama-3-8b -b 2 -c 16 --tp 4", [1_048_576] * 4),
        ("deepseek-v3 -c 10 --tp 2", [702_720] * 2),
        ("gemma-3-1b -c 600 --tp 2 --pp 2", [6_995_968] * 4),
    ],
)
def test_every_rank_holds_its_part_in_real_memory(kvcalc: Kvcalc, words: str, ranks: list[int]) -> None:
    run = kvcalc("verify", *words.split(), "--device", "cpu", "--json")
    assert run.code == 0
    assert measured(json.loads(run.stdout), "bytes of rank") == ranks


def test_one_rank_is_the_whole(kvcalc: Kvcalc) -> None:
    printed = json.loads(kvcalc("verify", "llama-3-8b", "-c", "16", "--device", "meta", "--json").stdout)
    assert measured(printed, "bytes of rank") == []
    assert measured(printed, "cache bytes") == [2_097_152]


@pytest.fixture(scope="module")
def prepared() -> Iterator[Prepared]:
    """A process that has imported torch and its launcher."""
    with Prepared((*VERIFY, "torch.distributed.run")) as process:
        yield process


def assert_one_answer(run: Ended) -> dict[str, Any]:
    assert run.code == 0, run.stderr
    assert "note" not in run.stderr
    printed: dict[str, Any] = json.loads(run.stdout)  # of one process, although all of them verify
    assert "a process each" in next(rung["about"] for rung in printed["rungs"] if rung["name"] == "sharded")
    return printed


def test_two_processes_hold_a_half_each(prepared: Prepared) -> None:
    """As torchrun starts them, over a port that is free."""
    words = "gemma-3-27b -c 12 --tp 2 --device cpu --cache-dtype q8_0 --json"
    launch = "--standalone --nproc-per-node 2 -m kvcalc verify"
    [run] = prepared.together(
        [{"OMP_NUM_THREADS": "1"}],
        *launch.split(),
        *words.split(),
        program="import torch.distributed.run; torch.distributed.run.main()",
    )
    printed = assert_one_answer(run)
    assert measured(printed, "bytes of rank") == [62 * 12 * 2176] * 2  # 16 heads' k and v, 128 blocks of 34, halved
    assert measured(printed, "cache bytes") == [62 * 12 * 4352]
    assert all(check["ok"] for check in printed["checks"] if check["name"] == "sufficient")


def test_four_processes_share_stages_and_layers(prepared: Prepared) -> None:
    """With torchrun's environment, in copies of a process that has imported torch once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "none"}
    ranks = [
        {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"} for rank in range(4)
    ]
    words = ("verify", "gemma-3-27b", "-c", "8192", "--tp", "2", "--pp", "2", "--device", "meta", "--json")
    first, *others = prepared.together([{**place, **rank} for rank in ranks], *words)
    printed = assert_one_answer(first)
    assert others == [Ended(0, "", "")] * 3
    assert measured(printed, "bytes of rank") == [276_824_064] * 4
    assert measured(printed, "cache bytes") == [1_107_296_256]


@pytest.fixture
def as_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Be one of several processes, as torchrun says it; whatever this one does to its streams ends with the test."""

    def be(number: int, of: int) -> None:
        told = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": of, "LOCAL_WORLD_SIZE": of}
        for name, value in told.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
        monkeypatch.setattr(sys, "stdout", sys.stdout)
        monkeypatch.setattr(sys, "stderr", sys.stderr)

    return be


def test_another_number_of_processes_than_ranks_is_refused(
    kvcalc: Kvcalc, as_process: Callable[[int, int], None]
) -> None:
    as_process(0, 2)
    run = kvcalc("verify", "llama-3-8b", "-c", "16", "--tp", "4", "--device", "cpu", "--json")
    assert (run.code, run.stdout) == (2, "")
    assert run.stderr.startswith("error: ")
    assert "2 processes" in run.stderr
    assert "torchrun --nproc-per-node 4 -m kvcalc verify" in run.stderr


def test_only_the_first_process_speaks(kvcalc: Kvcalc, as_process: Callable[[int, int], None]) -> None:
    as_process(1, 2)
    with warnings.catch_warnings():  # what it opened instead of its streams stays open until a process ends
        warnings.simplefilter("ignore", ResourceWarning)
        run = kvcalc("verify", "llama-3-8b", "-c", "16", "--tp", "4", "--device", "cpu", "--json")
        sys.stdout.close()
    assert run == Run(2, "", "")


def test_what_another_launcher_says_is_not_torchruns(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "8")
    run = kvcalc("verify", "llama-3-8b", "-c", "16", "--device", "meta", "--json")
    assert run.code == 0
    assert measured(json.loads(run.stdout), "cache bytes") == [2_097_152]
