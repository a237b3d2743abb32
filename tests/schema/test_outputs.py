"""The schemas of outputs, against what commands print."""

from __future__ import annotations

import inspect
import json
from copy import deepcopy
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING, Any

import pytest
import typer
from conftest import ROOT, Kvcalc
from jsonschema import Draft202012Validator
from jsonschema.validators import extend
from llama_cpp_start_ups import B8946
from vllm_start_ups import V0_6_6

from kvcalc.cli.app import _app
from kvcalc.record import Result
from kvcalc.render.faces import REPORTS
from kvcalc.schema import commands, output_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GOLDENS = sorted((ROOT / "tests" / "golden").glob("*.json"))


def _is_int(_checker: object, value: object) -> bool:
    """Stricter than JSON Schema, to which 2.0 is an integer too."""
    return isinstance(value, int) and not isinstance(value, bool)


Validator = extend(Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_int))


@cache
def validator(command: str) -> Any:
    return Validator(output_schema(command))


def mistakes(printed: dict[str, Any]) -> list[str]:
    return [f"{each.json_path}: {each.message[:200]}" for each in validator(printed["command"]).iter_errors(printed)]


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda path: path.stem)
def test_every_golden_is_as_its_schema_says(golden: Any) -> None:
    assert mistakes(json.loads(golden.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("estimate mamba-2.8b -c 4096", 0),
        ("estimate --layers 2 --heads 4 --head-dim 64", 0),
        ("estimate deepseek-v3 --tp 8 --engine sglang --gpu h200", 0),
        ("compare gemma-3-27b --engine exact,vllm --cache-dtype bf16,fp8", 0),
        ("compare mamba-2.8b", 0),
        ("estimate mamba-2.8b -b 1,8 --engine exact,vllm", 0),
        ("capacity mamba-2.8b -c 1Ki,2Ki", 0),
        ("compare llama-3-8b qwen3-8b --tp 1,2", 0),
        ("capacity mamba-2.8b", 0),
        ("plan llama-3.1-405b -c 8192 --gpu t4 --gpu-memory 1GiB", 1),
        ("models list qwen --fits h100", 0),
        ("models list --kind mla", 0),
        *((f"models show {name}", 0) for name in ("gemma-3n-e4b", "deepseek-v3", "ai21-jamba-mini-1.5", "gpt-oss-20b")),
        ("gpus list", 0),
        ("gpus show m3-max", 0),
        ("gpus show rtx4090", 0),
        ("explain", 0),
        ("explain vllm", 0),
        pytest.param("verify gemma-3-1b --device meta --tp 2", 0, marks=pytest.mark.torch),
    ],
)
def test_what_is_printed_is_as_its_schema_says(line: str, code: int, kvcalc: Kvcalc) -> None:
    run = kvcalc(*line.split(), "--json")
    assert run.code == code
    assert mistakes(json.loads(run.stdout)) == []


@pytest.mark.parametrize(("log", "model"), [(V0_6_6, []), (B8946, ["qwen3.6-27b"])], ids=["vllm", "llama-cpp"])
def test_a_log_check_is_as_its_schema_says(log: str, model: list[str], tmp_path: Path, kvcalc: Kvcalc) -> None:
    file = tmp_path / "server.log"
    file.write_text(log, encoding="utf-8")
    printed = json.loads(kvcalc("capacity", *model, "--from-log", str(file), "--json").stdout)
    assert printed["rows"]
    assert mistakes(printed) == []


def test_a_line_of_a_sweep_is_as_its_schema_says(kvcalc: Kvcalc) -> None:
    schema = json.loads(kvcalc("models", "schema", "--of", "sweep").stdout)
    Draft202012Validator.check_schema(schema)
    for golden in (ROOT / "tests" / "golden").glob("*.jsonl"):
        for line in golden.read_text(encoding="utf-8").splitlines():
            assert [*Validator(schema).iter_errors(json.loads(line))] == []
    assert [*Validator(schema).iter_errors({"model": "m", "batch": 1, "context": 1, "cache_bytes": 0.5})] != []


def test_every_command_with_json_has_a_schema() -> None:
    assert {*_with_json(typer.main.get_command(_app("")))} == {*commands()}


def _with_json(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if any("--json" in each.opts for each in command.params):
        yield "-".join(path)
    for name, inner in getattr(command, "commands", {}).items():
        yield from _with_json(inner, (*path, name))


def test_every_result_has_a_schema() -> None:
    import_module("kvcalc.verification.result")
    for each in walk_packages(import_module("kvcalc.verbs").__path__, "kvcalc.verbs."):
        import_module(each.name)
    assert {each for each in _below(Result) if each.__module__.startswith("kvcalc")} == {*REPORTS}
    assert {kind for kinds in commands().values() for kind in kinds} == {*REPORTS}


def _below(kind: type[Any]) -> Iterator[type[Any]]:
    for each in kind.__subclasses__():
        if not inspect.isabstract(each):
            yield each
        yield from _below(each)


@pytest.mark.parametrize("command", commands())
def test_a_schema_is_draft_2020_12_and_leaves_no_object_open(command: str, kvcalc: Kvcalc) -> None:
    run = kvcalc("models", "schema", "--of", command)
    schema = json.loads(run.stdout)
    assert (run.code, schema) == (0, output_schema(command))
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["properties"]["schema_version"]["const"] == 2
    assert schema["properties"]["command"]["const"].replace(" ", "-") == command
    for each in _objects(schema):
        assert "additionalProperties" in each or "anyOf" in each, each


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from _objects(each)


def test_what_is_no_such_output_is_refused() -> None:
    printed = json.loads((ROOT / "tests" / "golden" / "default.json").read_text(encoding="utf-8"))
    spoiled: dict[str, Callable[[dict[str, Any]], object]] = {
        "a key too few": lambda of: of["cache"].pop("bytes"),
        "a key too many": lambda of: of["memory"].update(more=1),
        "a number with a point": lambda of: of["cache"].update(bytes=2.0),
        "null where there is always a number": lambda of: of["cache"].update(bytes=None),
        "another command": lambda of: of.update(command="plan"),
        "another version": lambda of: of.update(schema_version=1),
        "a word for a switch": lambda of: of["gpus"].update(fits="yes"),
    }
    for what, spoil in spoiled.items():
        copy = deepcopy(printed)
        spoil(copy)
        assert not validator("estimate").is_valid(copy), what
    assert validator("estimate").is_valid(printed)


def test_what_docstrings_say_describes_the_keys() -> None:
    defined = output_schema("estimate")["$defs"]
    assert defined["CacheResult"]["properties"]["bytes_per_token"]["description"].startswith("what a token adds")
    assert defined["Answer"]["properties"]["tp"]["type"] == "integer"
    assert defined["GpusResult"]["properties"]["tp"]["type"] == ["integer", "null"]


def test_a_command_that_prints_no_json_has_none(kvcalc: Kvcalc) -> None:
    run = kvcalc("models", "schema", "--of", "estimat")
    assert run.code == 2
    assert "--of: no output 'estimat'" in run.stderr
    assert "estimate" in run.stderr
