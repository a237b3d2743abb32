"""The edge of a memory, found by allocating: on the CPU with the system's limit on the address space.

Each case is a process of its own, whose heap holds nothing that was freed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Kvcalc
from prepared import COMMAND_LINE, Prepared

from kvcalc import make_scenario
from kvcalc.cuda_allocator import predict
from kvcalc.deployment import Deployment
from kvcalc.memory import ranks_of
from kvcalc.verification.boundary import _within_the_allocators_rounding
from kvcalc.verification.devices import Cpu

# A sequence of 2,048 tokens takes 2 x 4 layers x 2,048 x 4 heads x 64 x 2 bytes = 8 MiB; 12 Mi parameters 24 MiB.
HEADS = """
name: small
parameters: 12582912
hidden_size: 256
dtype: bf16
layers: [{count: 4, attention: {kind: gqa, num_heads: 8, num_kv_heads: 4, head_dim: 64}}]
"""
# 4 layers x 2,048 x 512 x 2 bytes = 8 MiB.
LATENT = HEADS.replace(
    "{kind: gqa, num_heads: 8, num_kv_heads: 4, head_dim: 64}",
    "{kind: mla, num_heads: 4, kv_lora_rank: 448, qk_rope_head_dim: 64, qk_nope_head_dim: 32, v_head_dim: 32}",
)
# With 12 MiB of temporary memory, 9 of overhead and 3 of reserve, 128 MiB leave 80 for the cache: 10 sequences.
BESIDE = "--context 2048 --utilization 1 --temporary 12MiB --overhead 9MiB --reserve lora=3MiB --device cpu --boundary"
OFF_BY = """
import sys
from dataclasses import replace
from kvcalc.cli.app import run
from kvcalc.verbs.capacity import capacity
from kvcalc.verification import boundary

def mistaken(scenario):
    right = capacity(scenario)
    return replace(right, sequences=right.sequences + {wrong})

boundary.capacity = mistaken
sys.exit(run(sys.argv[1:]))
"""


ROUNDING = """
import dataclasses, sys
from pathlib import Path
from kvcalc import make_scenario, verify
from kvcalc.engines import Engine, Settled, contents

class TwiceLayout(Settled):
    def excess(self, stage, load):
        yield from (content.term for content in contents(self.rank_load(stage, load)))

class Twice(Engine):
    name, about, formula, source = "twice", "", "", ""
    def settle(self, setup):
        return TwiceLayout(setup)

asked = make_scenario(Path(sys.argv[1]), batch=1, context=2048, utilization=1, temporary="12MiB", overhead="9MiB",
                      reserve={"lora": "3MiB"}, gpu_memory="132MiB")
result = verify(dataclasses.replace(asked, engine=Twice()), device="cpu", boundary=True)
print(result.verified, *(f"{check.name}: {check.predicted} {check.measured}" for check in result.checks), sep="\\n")
"""


@pytest.fixture(scope="module")
def prepared() -> Iterator[Prepared]:
    with Prepared() as process:
        yield process


def verify(prepared: Prepared, tmp_path: Path, model: str, *words: str, wrong: int = 0) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `kvcalc verify`, if need be with a capacity that is off by so much."""
    path = tmp_path / "model.yaml"
    path.write_text(model, encoding="utf-8")
    program = OFF_BY.format(wrong=wrong) if wrong else COMMAND_LINE
    done = prepared.run("verify", str(path), *BESIDE.split(), *words, "--json", program=program)
    assert done.stdout, done.stderr
    return done.code, json.loads(done.stdout)


def boundary_of(printed: dict[str, Any]) -> tuple[int, int | None, bool]:
    (check,) = (check for check in printed["checks"] if check["name"] == "boundary")
    assert check["unit"] == "sequences"
    return check["predicted"], check["measured"], check["ok"]


@pytest.mark.parametrize(
    ("model", "words", "sequences"),
    [
        (HEADS, ("--gpu-memory", "132MiB"), 10),  # half a sequence to spare
        (HEADS, ("--gpu-memory", "124MiB"), 9),
        (LATENT, ("--gpu-memory", "132MiB"), 10),
        (HEADS, ("--gpu-memory", "130MiB", "--tp", "2"), 23),  # a rank has 12 MiB of weights, and 4 of a sequence
        (HEADS, ("--gpu-memory", "130MiB", "--cache-dtype", "fp8", "--weights", "48MiB"), 14),
    ],
    ids=["heads", "less memory", "latent", "two ranks", "fp8"],
)
def test_what_capacity_says_allocates_and_one_more_does_not(
    prepared: Prepared, tmp_path: Path, model: str, words: tuple[str, ...], sequences: int
) -> None:
    code, printed = verify(prepared, tmp_path, model, *words)

    assert boundary_of(printed) == (sequences, sequences, True)
    assert (code, printed["verified"]) == (0, True)
    assert printed["workload"]["batch"] == sequences
    assert printed["rungs"][-1]["name"] == "boundary"


def test_what_an_engine_reserves_above_the_content_counts(prepared: Prepared, tmp_path: Path) -> None:
    """Twice 8 MiB a sequence, so that 5 have room; each of them holds 8 MiB."""
    path = tmp_path / "model.yaml"
    path.write_text(HEADS, encoding="utf-8")
    done = prepared.run(str(path), program=ROUNDING)
    assert done.code == 0, done.stderr
    verified, *checks = done.stdout.splitlines()
    assert verified == "True", done.stderr
    assert "boundary: 5 5" in checks
    assert f"cache bytes: {5 * 8 * 2**20} {5 * 8 * 2**20}" in checks
    assert f"reserved: {5 * 8 * 2**20} {10 * 8 * 2**20}" in checks


class Segments(Cpu):
    """A CPU that counts as PyTorch's allocator does."""

    def reserved_bytes(self, sizes: Iterable[int]) -> int | None:
        return predict(sizes).reserved


@pytest.mark.parametrize(
    ("memory", "limit", "expected"),
    [
        ("204MiB", 11, 10),  # 8 tensors of 11 MiB take segments of 12: 96 MiB of 88
        ("211MiB", 11, 10),
        ("212MiB", 12, 12),
        ("204MiB", 12, 12),  # mistaken: their own bytes are too many, so trying them must fail
    ],
)
def test_sequences_that_find_no_segment_are_not_expected(
    tmp_path: Path, memory: str, limit: int, expected: int
) -> None:
    """A sequence of 2,048 tokens takes 8 tensors of 1 MiB; 116 MiB stand beside the cache."""
    path = tmp_path / "model.yaml"
    path.write_text(HEADS, encoding="utf-8")
    asked = make_scenario(
        path,
        context=2048,
        utilization=1,
        gpu_memory=memory,
        temporary="50MiB",
        overhead="30MiB",
        reserve={"lora": "12MiB"},
    )
    (rank,) = ranks_of(asked, Deployment())
    assert _within_the_allocators_rounding(asked, Segments(), rank, limit) == expected
    assert _within_the_allocators_rounding(asked, Cpu(), rank, limit) == limit


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_capacity_that_is_off_by_one_is_found_out(prepared: Prepared, tmp_path: Path, wrong: int) -> None:
    code, printed = verify(prepared, tmp_path, HEADS, "--gpu-memory", "132MiB", wrong=wrong)

    assert boundary_of(printed) == (10 + wrong, 10, False)
    assert (code, printed["verified"]) == (1, False)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--device", "meta"), 2, "--boundary: the meta device has no memory"),
        (("--device", "cpu"), 2, "--boundary: on the CPU it needs --gpu-memory SIZE"),
        (("--device", "cpu", "-b", "4"), 2, "--batch: --boundary finds the most sequences itself"),
        (("--device", "cpu", "--gpu-memory", "1PB"), 2, "unknown unit"),
        (("--device", "cpu", "--gpu-memory", "900TB"), 3, "are to be used, and"),
        (("--device", "cpu", "--gpu-memory", "1GiB"), 3, "a rank lacks"),
    ],
)
def test_what_cannot_be_is_refused(kvcalc: Kvcalc, words: tuple[str, ...], code: int, message: str) -> None:
    run = kvcalc("verify", "qwen2.5-0.5b", "--boundary", *words)
    assert (run.code, run.stdout) == (code, "")
    assert message in run.stderr


def test_a_process_that_keeps_freed_memory_is_refused(kvcalc: Kvcalc) -> None:
    """Of a sequence of one token, half is less than any heap keeps."""
    words = ("-c", "1", "--device", "cpu", "--gpu-memory", "2GiB", "--temporary", "0B")
    run = kvcalc("verify", "qwen2.5-0.5b", "--boundary", *words)
    assert (run.code, run.stdout) == (3, "")
    assert "of memory that was freed" in run.stderr


def test_what_stands_beside_the_cache_is_for_the_boundary_only(kvcalc: Kvcalc) -> None:
    for words in (("--weights", "1GB"), ("--utilization", "0.5"), ("--reserve", "x=1GB"), ("--gpu-memory", "1GB")):
        run = kvcalc("verify", "qwen2.5-0.5b", "--device", "meta", *words)
        assert (run.code, run.stdout) == (2, "")
        assert f"{words[0]}: is beside the cache" in run.stderr
