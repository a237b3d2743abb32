"""A file of kvcalc bench beside an estimate: told with its machine, or refused where it is of another thing."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Kvcalc

FILE: dict[str, Any] = {
    "command": "bench",
    "device": "cpu",
    "device_name": "A Processor",
    "threads": 2,
    "torch": "2.13.0",
    "model": {"name": "llama-3-8b"},
    "workload": {"batch": 8, "context": 4096},
    "cache_dtype": "fp32",
    "rows": [
        {"own": False, "layer": "mha 32 x 128"},
        {"own": True, "layer": "gqa 32/8 x 128", "median_s": 0.02, "bound_s": 0.01},
    ],
}
LINE = ("estimate", "llama-3-8b", "-b", "8", "-c", "4096", "--cache-dtype", "fp32", "--json", "--measured")


def written(tmp_path: Path, path: str = "", value: Any = None) -> str:
    """The file, with one value of it changed."""
    told: Any = copy.deepcopy(FILE)
    if path:
        *keys, last = path.split(".")
        at = told
        for key in keys:
            at = at[int(key) if key.isdigit() else key]
        at[last] = value
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    return str(file)


def test_a_measurement_is_told_with_its_machine_and_its_figures(tmp_path: Path, kvcalc: Kvcalc) -> None:
    run = kvcalc(*LINE, written(tmp_path))
    assert json.loads(run.stdout)["measured"] == {
        "machine": "A Processor (cpu, 2 threads, torch 2.13.0)",
        "layer": "gqa 32/8 x 128",
        "layers": 32,
        "seconds_per_layer": 0.02,
        "bound_seconds_per_layer": 0.01,
        "seconds": 0.64,
    }
    table = [each for each in LINE if each != "--json"]
    shown = " ".join(kvcalc(*table, written(tmp_path)).stdout.split())
    assert "20 ms a layer, 2.00 times the bound of that machine (10 ms), and 640 ms for 32 layers" in shown


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.name", "llama-3-70b", "measured model.name llama-3-70b, and this is llama-3-8b; next: kvcalc bench"),
        ("workload.batch", 4, "measured workload.batch 4, and this is 8"),
        (
            "workload.context",
            8192,
            "next: kvcalc bench llama-3-8b -b 8 -c 4096 --cache-dtype fp32 --json -o llama-3-8b-bench.json",
        ),
        ("cache_dtype", "bf16", "measured a cache in bf16, and this is in fp32; next: --cache-dtype bf16"),
        ("rows.1.own", False, "measured other mechanisms than the model's own"),
        ("rows.1.layer", "gqa 32/4 x 128", "measured layers of gqa 32/4 x 128, and the model has gqa 32/8 x 128"),
        ("command", "verify", "is not what kvcalc bench --json prints"),
        ("rows", 3, "has no rows"),
        ("rows", [3, None], "measured other mechanisms"),
        ("rows.1.median_s", None, "median_s is no number from 1e-12 to 1e+12"),
        ("rows.1.median_s", float("nan"), "is no number from 1e-12 to 1e+12"),
        ("rows.1.median_s", 0, "is no number from 1e-12 to 1e+12"),
        ("rows.1.bound_s", True, "is no number from 1e-12 to 1e+12"),
        ("rows.1.bound_s", 5e-324, "is no number from 1e-12 to 1e+12"),
        ("device_name", 7, "has no device_name"),
    ],
)
def test_another_thing_is_refused(path: str, value: Any, message: str, tmp_path: Path, kvcalc: Kvcalc) -> None:
    run = kvcalc(*LINE, written(tmp_path, path, value))
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr


def test_a_model_of_a_file_is_measured_from_that_file(tmp_path: Path, kvcalc: Kvcalc) -> None:
    file = tmp_path / "my model.yaml"
    kvcalc("models", "show", "llama-3-8b", "-o", str(file))
    told = kvcalc("estimate", str(file), "-c", "8192", "--measured", written(tmp_path)).stderr
    assert f"next: kvcalc bench '{file}' -b 1 -c 8192 --json -o llama-3-8b-bench.json\n" in told


def test_what_is_no_json_and_several_estimates_are_refused(tmp_path: Path, kvcalc: Kvcalc) -> None:
    file = tmp_path / "bench.json"
    file.write_text("[" * 10_000, encoding="utf-8")
    assert kvcalc(*LINE, str(file)).code == 2
    assert kvcalc(*LINE, str(tmp_path / "none.json")).code == 2
    run = kvcalc("estimate", "llama-3-8b", "-b", "1,2", "--measured", written(tmp_path))
    assert "--measured: stands beside one estimate" in run.stderr


def test_names_of_the_file_cannot_write_to_the_terminal(tmp_path: Path, kvcalc: Kvcalc) -> None:
    run = kvcalc(*LINE[:-2], "--measured", written(tmp_path, "device_name", "A\x1b[31mB\nC"))
    assert run.code == 0
    assert "\x1b[31m" not in run.stdout
    assert "A\\x1b[31mB\\nC" in run.stdout
