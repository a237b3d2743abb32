"""The edge of a memory, found by allocating: on the CPU with the system's limit on the address space."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Kvcalc

import kvcalc as package
from kvcalc.mechanisms import GQA, MLA
from kvcalc.model import LayerGroup
from kvcalc.verbs.capacity import capacity
from kvcalc.verification import boundary

MIB = 2**20

# A sequence of 8,192 tokens takes 2 x 4 layers x 8,192 x 4 heads x 64 x 2 bytes = 32 MiB.
MODEL = package.Model(
    name="small",
    parameters=50 * MIB,
    hidden_size=256,
    max_context=8192,
    dtype="bf16",
    layers=(LayerGroup(count=4, attention=GQA(num_heads=8, num_kv_heads=4, head_dim=64)),),
)
# usable = 512 MiB x 1; weights 100 MiB, temporary 50, overhead 30, reserve 12: 320 MiB are left, exactly 10 sequences.
BESIDE: dict[str, Any] = {
    "context": 8192,
    "gpu_memory": 512 * MIB,
    "utilization": 1.0,
    "temporary": 50 * MIB,
    "overhead": 30 * MIB,
    "reserve": {"lora": 12 * MIB},
}


def verified(**options: Any) -> package.Verification:
    scenario = package.make_scenario(MODEL, **{**BESIDE, **options})
    return package.verify(scenario, device="cpu", boundary=True)


def the_check(result: package.Verification) -> tuple[float, float | None, bool]:
    (check,) = (check for check in result.checks if check.name == "boundary")
    assert check.unit == "sequences"
    return check.predicted, check.measured, check.ok


@pytest.mark.parametrize(
    ("options", "sequences"),
    [
        ({"gpu_memory": (512 + 16) * MIB}, 10),  # half a sequence to spare
        ({"gpu_memory": (512 + 31) * MIB}, 10),
        ({"gpu_memory": (512 - 16) * MIB}, 9),
        ({"context": 4096, "gpu_memory": (512 + 8) * MIB}, 20),
        ({"tp": 2, "gpu_memory": (512 + 8) * MIB}, 23),  # a rank has 50 MiB of weights, and 16 of a sequence
        ({"pp": 2, "gpu_memory": (512 + 8) * MIB}, 23),
        ({"cache_dtype": "fp8", "gpu_memory": (512 + 8) * MIB}, 20),
        ({"weights": 196 * MIB, "gpu_memory": (512 + 16) * MIB}, 7),
    ],
)
def test_what_capacity_says_allocates_and_one_more_does_not(options: dict[str, Any], sequences: int) -> None:
    result = verified(**options)

    assert the_check(result) == (sequences, sequences, True)
    assert result.verified
    assert result.workload.batch == sequences
    assert result.rungs[-1].name == "boundary"


def test_a_latent_too() -> None:
    attention = MLA(num_heads=4, kv_lora_rank=448, qk_rope_head_dim=64, qk_nope_head_dim=32, v_head_dim=32)
    model = package.Model(name="latent", dtype="bf16", layers=(LayerGroup(count=4, attention=attention),))
    scenario = package.make_scenario(model, **{**BESIDE, "weights": 100 * MIB, "gpu_memory": (512 + 16) * MIB})

    # 4 layers x 8,192 x 512 x 2 bytes = 32 MiB.
    assert the_check(package.verify(scenario, device="cpu", boundary=True)) == (10, 10, True)


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_capacity_that_is_off_by_one_is_found_out(monkeypatch: pytest.MonkeyPatch, wrong: int) -> None:
    def mistaken(scenario: package.Scenario) -> package.Capacity:
        right = capacity(scenario)
        return right._replace(sequences=(right.sequences or 0) + wrong)

    monkeypatch.setattr(boundary, "capacity", mistaken)
    result = verified(gpu_memory=(512 + 16) * MIB)

    assert the_check(result) == (10 + wrong, 10, False)
    assert not result.verified


def test_the_limit_is_lifted_afterwards() -> None:
    import resource  # noqa: PLC0415  # of systems that have it

    before = resource.getrlimit(resource.RLIMIT_AS)
    verified(gpu_memory=(512 + 16) * MIB)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_the_command_prints_it(kvcalc: Kvcalc) -> None:
    words = ("qwen2.5-0.5b", "--device", "cpu", "--boundary", "-c", "8192", "--gpu-memory", "2GiB", "--temporary", "0B")
    run = kvcalc("verify", *words, "--json")
    assert run.code == 0
    body = json.loads(run.stdout)
    # 1,975,684,956 usable less 2 x 494,032,768 of weights and 858,993,458 of overhead: 128,625,962, which is one
    # sequence of 100,663,296.
    assert body["checks"][-1]["predicted"] == body["checks"][-1]["measured"] == body["workload"]["batch"] == 1
    assert body["command"] == "verify"


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


def test_what_stands_beside_the_cache_is_for_the_boundary_only(kvcalc: Kvcalc) -> None:
    for words in (("--weights", "1GB"), ("--utilization", "0.5"), ("--reserve", "x=1GB"), ("--gpu-memory", "1GB")):
        run = kvcalc("verify", "qwen2.5-0.5b", "--device", "meta", *words)
        assert (run.code, run.stdout) == (2, "")
        assert f"{words[0]}: is beside the cache" in run.stderr
