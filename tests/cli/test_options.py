"""One table: a command line takes what the function of Python does, under the same names, and reads it alike."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from conftest import Kvcalc

import kvcalc as package
from kvcalc.cli.app import _app
from kvcalc.cli.output_options import ListingOutput, ResultOutput
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import CapacityOptions, CompareOptions, PlanOptions, ScenarioOptions, VerifyOptions

TABLES: dict[str, tuple[Any, ...]] = {
    "estimate": (ScenarioOptions, ResultOutput),
    "capacity": (CapacityOptions, ResultOutput),
    "compare": (CompareOptions, ResultOutput),
    "plan": (PlanOptions, ResultOutput),
    "verify": (VerifyOptions, ListingOutput),
}
OF_THE_COMMAND_ALONE = {
    "estimate": {"check", "accept_tight", "measured", "emit"},
    "capacity": {"from_log", "from_command", "emit"},
    "plan": {"emit"},
    "compare": {"articles"},
}
NOT_TAKEN = {"capacity": {"spill"}}


def options_of_command(name: str) -> dict[str, Any]:
    command: Any = typer.main.get_command(_app(""))
    params = command.commands[name].params
    return {each.name: each for each in params if each.param_type_name == "option"}


@pytest.mark.parametrize("name", TABLES)
def test_a_command_takes_the_options_of_its_function(name: str) -> None:
    taken = options_of_command(name)
    known = {key: option for table in TABLES[name] for key, option in options_of(table).items()}
    assert taken.keys() - OF_THE_COMMAND_ALONE.get(name, set()) == known.keys() - NOT_TAKEN.get(name, set())
    for key, option in known.items():
        if key in taken:
            assert tuple(taken[key].opts) == option.flags
            assert (taken[key].help, taken[key].is_flag) == (option.sentence, not option.metavar)


def test_flags_are_the_keywords_with_dashes() -> None:
    """But for these, whose keywords say more, or which have a short flag."""
    flags = {
        key: option.flags
        for tables in TABLES.values()
        for table in tables
        for key, option in options_of(table).items()
        if option.flags != (f"--{key.replace('_', '-')}",)
    }
    assert flags == {
        "batch": ("-b", "--batch", "--users", "--concurrency"),
        "context": ("-c", "--context"),
        "input_tokens": ("--input",),
        "output_tokens": ("--output",),
        "lora_modules": ("--lora-modules", "--lora-target-modules"),
        "max_gpus": ("--max-gpus", "--gpus"),
        "prices": ("--price",),
        "how": ("--format",),
        "output_file": ("-o", "--output-file"),
    }


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (
            ("--layers", "4", "--heads", "8", "--kv-heads", "2", "--head-dim", "64"),
            ("layers=4 heads=8 kv_heads=2 head_dim=64"),
        ),
        (
            ("--layers", "4", "--heads", "8", "--kv-lora-rank", "512", "--qk-rope-head-dim", "64"),
            ("layers=4 heads=8 kv_lora_rank=512 qk_rope_head_dim=64"),
        ),
    ],
)
def test_a_model_without_a_file_is_described_in_python_too(
    kvcalc: Kvcalc, words: tuple[str, ...], options: str
) -> None:
    numbers: Any = {name: int(value) for name, _, value in (each.partition("=") for each in options.split())}
    told = json.loads(kvcalc("estimate", *words, "--parameters", "1e9", "--json").stdout)
    assert package.estimate(**numbers, parameters="1e9").to_dict() == told


def test_prompt_and_generated_tokens_are_the_context_in_python_too() -> None:
    assert package.estimate("llama-3-8b", input_tokens="7Ki", output_tokens=0).workload.context == 7 * 1024
    with pytest.raises(package.KvcalcError, match="--input and --output go together"):
        package.estimate("llama-3-8b", output_tokens=5)
    with pytest.raises(package.KvcalcError, match="--context: is --input plus --output"):
        package.estimate("llama-3-8b", input_tokens=5, output_tokens=5, context=10)


def test_lists_of_pairs_are_mappings_in_python(kvcalc: Kvcalc) -> None:
    words = ("--reserve", "lora=2GiB", "--reserve", "draft=1GB")
    told = json.loads(kvcalc("estimate", "llama-3-8b", *words, "--json").stdout)
    assert package.estimate("llama-3-8b", reserve={"lora": "2GiB", "draft": 10**9}).to_dict() == told


def test_none_is_not_given() -> None:
    assert package.make_scenario("llama-3-8b", tp=None, reserve=None) == package.make_scenario("llama-3-8b")


def test_no_model_is_told(kvcalc: Kvcalc) -> None:
    with pytest.raises(package.KvcalcError) as refused:
        package.estimate()
    assert str(refused.value) in kvcalc("estimate").stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "1GiB"}, "--weights: is beside the cache"),
        ({"gpu_memory": "80GiB"}, "--gpu-memory: is beside the cache"),
        ({"boundary": True, "batch": 4}, "--batch: --boundary finds"),
    ],
)
def test_verify_refuses_in_python_what_it_refuses_on_the_command_line(options: Any, message: str) -> None:
    with pytest.raises(package.KvcalcError, match=message):
        package.verify("llama-3-8b", **options)


def test_the_engine_says_how_much_memory_it_uses_where_nobody_does() -> None:
    scenario = package.make_scenario("llama-3-8b")
    assert scenario.utilization == scenario.engine.utilization
    assert float(package.make_scenario("llama-3-8b", utilization="0.5").utilization) == 0.5
