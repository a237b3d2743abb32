"""Every option of `vllm serve` is read, refused, told, or known to change no memory; and none takes another's value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvcalc import KvcalcError
from kvcalc.logs.command import read_command

KEPT = Path(__file__).parents[1] / "data" / "flags" / "vllm-options.json"
OPTIONS = json.loads(KEPT.read_text(encoding="utf-8"))["options"]
VALUES = {"switch": "", "value": " x", "values": " x y"}


def test_options_of_vllms_own_parsers() -> None:
    """What its parsers have; written by tests/live/write_vllm_options.py."""
    wrong = {}
    for name, option in OPTIONS.items():
        for flag in (name, *option["also"], *(f"--no-{name[2:]}" for _ in range(option["takes"] == "switch"))):
            line = f"vllm serve Qwen/Qwen3-8B {flag}{VALUES[option['takes']]} --tensor-parallel-size 2"
            try:
                read = read_command(line)
            except KvcalcError as refusal:
                if f": {flag}" not in str(refusal):
                    wrong[flag] = str(refusal)
                continue
            if read.unknown or read.settings.get("--tp") != "2":
                wrong[flag] = f"{read.unknown}, {dict(read.settings)}"
    assert not wrong


def test_there_are_options() -> None:
    assert len(OPTIONS) > 300


@pytest.mark.parametrize("variable", ["VLLM_MLA_DISABLE=1", "VLLM_PP_LAYER_PARTITION=20,16"])
def test_variables_that_change_memory_are_refused(variable: str) -> None:
    with pytest.raises(KvcalcError, match=f"{variable.partition('=')[0]} changes memory"):
        read_command(f"{variable} vllm serve Qwen/Qwen3-8B")


def test_other_variables_are_passed_over_or_told() -> None:
    line = "VLLM_MLA_DISABLE=0 VLLM_LOGGING_LEVEL=DEBUG VLLM_USE_NCCL_SYMM_MEM=1 vllm serve Qwen/Qwen3-8B"
    assert read_command(line).noted == ("VLLM_USE_NCCL_SYMM_MEM",)


@pytest.mark.parametrize(
    ("flag", "setting", "value"),
    [
        ("--disable-prefix-caching", "enable-prefix-caching", "False"),  # 0.33's own names of --no-NAME
        ("--enable-hybrid-kv-cache-manager", "disable-hybrid-kv-cache-manager", "False"),
        ("--no-enable-prefix-caching", "enable-prefix-caching", "False"),
        ("--disable-expert-parallel", "--ep", "False"),
    ],
)
def test_opposites(flag: str, setting: str, value: str) -> None:
    assert read_command(f"vllm serve Qwen/Qwen3-8B {flag}").settings == {setting: value}


def test_levels_and_parts_of_short_flags_are_told() -> None:
    read = read_command("vllm serve -O3 -cc.mode=3 Qwen/Qwen3-8B")
    assert (read.model, read.noted, read.unknown) == ("Qwen/Qwen3-8B", ("-O3", "-cc.mode"), ())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--rope-scaling '{\"factor\": 4}'", "--rope-scaling decides --context where nobody gives it"),
        ("--rope-scaling '{\"factor\": 4}' --max-model-len auto", "--rope-scaling decides --context"),
        ("--rope-scaling.factor 4", "--rope-scaling.factor decides --context"),
        ("--tp 2", "if -tp is meant"),
        ("--convert embed", "--convert changes memory"),
        ("--device cpu", "--device changes memory"),
    ],
)
def test_what_is_refused(line: str, says: str) -> None:
    with pytest.raises(KvcalcError, match=says):
        read_command(f"vllm serve Qwen/Qwen3-8B {line}")
