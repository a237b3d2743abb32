"""kvcalc from Python: the names that it promises, and the figures of the command line."""

from __future__ import annotations

import ast
import inspect
import json
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Kvcalc, texts

import kvcalc as kv
from kvcalc.record import contents
from kvcalc.scenario import options
from kvcalc.scenario.option import Option, options_of
from kvcalc.scenario.options import CapacityOptions, CompareOptions, PlanOptions, ScenarioOptions, VerifyOptions

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = {
    "CannotRunError",
    "Deployment",
    "Estimate",
    "ExitCode",
    "Gpu",
    "KvcalcError",
    "Model",
    "Replacements",
    "Scenario",
    "Workload",
    "__version__",
    "estimate",
    "load_gpu",
    "load_model",
    "make_scenario",
}


def test_every_promised_name_is_there() -> None:
    assert set(kv.__all__) >= NAMES
    assert all(getattr(kv, name) is not None for name in kv.__all__)


@pytest.mark.parametrize("package", [kv, options])
def test_type_checkers_know_every_name_that_is_loaded_late(package: Any) -> None:
    """A name is in the table of modules, in `__all__`, and imported for type checkers from the same module."""
    blocks = [
        node.body for node in ast.parse(Path(package.__file__).read_text("utf-8")).body if isinstance(node, ast.If)
    ]
    imports = [node for body in blocks for node in body if isinstance(node, ast.ImportFrom)]
    typed = {each.name: str(node.module) for node in imports for each in node.names}
    assert {name: f"{package.__name__}.{home}" for name, home in package._HOME.items()} == typed  # noqa: SLF001  # the table
    assert set(package.__all__) - {"__version__"} == set(typed)


def test_dir_lists_them_before_they_are_used() -> None:
    code = "import json, kvcalc; print(json.dumps(dir(kvcalc)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(run.stdout)) >= NAMES


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'kvcalc' has no attribute 'estimat'"):
        kv.__getattr__("estimat")
    assert not hasattr(kv, "nope")


def test_an_estimate_from_python() -> None:
    result = kv.estimate("llama-3-70b", batch=32, context=8192)
    assert result.cache.bytes == 2 * 80 * 32 * 8192 * 8 * 128 * 2
    assert isinstance(result, kv.Estimate)
    assert isinstance(result.scenario, kv.Scenario)


def assert_same(result: object, body: object) -> None:
    """A result's fields are JSON's keys; what JSON leaves out is what the result was computed from."""
    if isinstance(body, dict):
        found: Any = contents(result) if isinstance(result, kv.record.Record) else result
        for key, value in body.items():
            assert_same(found[key] if isinstance(found, dict) else getattr(found, key), value)
    elif isinstance(body, list):
        items: Any = result
        assert len(items) == len(body)
        for item, value in zip(items, body, strict=True):
            assert_same(item, value)
    else:
        assert (result, type(result)) == (body, type(body))


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ((), {}),
        (("-b", "32", "-c", "4096", "--tp", "8"), {"batch": 32, "context": 4096, "tp": 8}),
        (("-b", "1e2", "-c", "4Ki"), {"batch": "1e2", "context": "4Ki"}),
        (("-c", "max", "--pp", "2", "--dp", "2"), {"context": "max", "pp": 2, "dp": "2"}),
        (("--gpus", "8", "--gpu", "mi300x"), {"gpus": 8, "gpu": "mi300x"}),
        (
            ("--gpu-memory", "80GB", "--utilization", "0.9", "--weights", "140GB", "--reserve", "lora=2GiB"),
            {"gpu_memory": "80GB", "utilization": 0.9, "weights": 140 * 10**9, "reserve": {"lora": "2GiB"}},
        ),
        (
            ("--cache-dtype", "k=q8_0,v=q4_0", "--weight-dtype", "fp8", "--allow-pp"),
            {"cache_dtype": "k=q8_0,v=q4_0", "weight_dtype": "fp8", "allow_pp": True},
        ),
        (
            ("--temporary", "1GiB", "--overhead", "0", "--dtype", "fp16", "--parameters", "70e9"),
            {"temporary": 2**30, "overhead": 0, "dtype": "fp16", "parameters": 70 * 10**9},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_figures_are_those_of_the_command_line(
    kvcalc: Kvcalc, words: tuple[str, ...], options: dict[str, Any]
) -> None:
    body = json.loads(kvcalc("estimate", "llama-3-70b", *words, "--json").stdout)
    del body["schema_version"], body["command"]
    assert_same(kv.estimate("llama-3-70b", **options), body)


def test_a_model_is_loaded_by_name_hub_id_or_path(tmp_path: Path, kvcalc: Kvcalc) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(kvcalc("models", "show", "llama-3-8b").stdout, encoding="utf-8")
    by_name = kv.load_model("llama-3-8b")
    assert isinstance(by_name, kv.Model)
    assert by_name == kv.load_model("meta-llama/Meta-Llama-3-8B") == kv.load_model(path) == kv.load_model(str(path))
    assert by_name.num_layers == 32


def test_a_loaded_model_and_gpu_are_as_good_as_their_names() -> None:
    named = kv.estimate("llama-3-8b", gpu="h200", context=8192)
    loaded = kv.estimate(kv.load_model("llama-3-8b"), gpu=kv.load_gpu("h200"), context=8192)
    assert (named.cache, named.memory, named.gpus) == (loaded.cache, loaded.memory, loaded.gpus)


@pytest.mark.parametrize("name", ["estimate", "capacity", "plan", "make_scenario", "compare"])
def test_a_model_may_be_named_as_its_parameter_is(name: str) -> None:
    function = getattr(kv, name)
    first = next(iter(inspect.signature(function).parameters))
    assert function(**{first: "llama-3-8b"}, batch=2, context=512) == function("llama-3-8b", batch=2, context=512)


def test_several_answers_of_a_model_that_is_named_as_a_parameter() -> None:
    named = kv.ladder(kv.estimate, model="llama-3-8b", batch=[1, 2], context=512)
    assert named == kv.ladder(kv.estimate, "llama-3-8b", batch=[1, 2], context=512)


def test_a_scenario_is_estimated_as_it_is() -> None:
    scenario = kv.make_scenario("llama-3-70b", batch=4, tp=8)
    assert scenario.workload == kv.Workload(4, 8192)
    assert scenario.deployment == kv.Deployment(tp=8)
    assert kv.estimate(scenario) == kv.estimate("llama-3-70b", batch=4, tp=8)


def test_a_scenario_takes_no_further_options() -> None:
    scenario = kv.make_scenario("llama-3-70b")
    options: dict[str, Any] = {"batch": 4}
    with pytest.raises((TypeError, kv.KvcalcError)):
        kv.estimate(scenario, **options)


def test_a_utilization_may_be_a_fraction() -> None:
    result = kv.estimate("llama-3-8b", utilization=Fraction(1, 2), gpu_memory=1001)
    assert result.gpus.usable_bytes == 500


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"batch": 0}, "--batch"),
        ({"batch": -1}, "--batch"),
        ({"batch": 10**1000}, "--batch"),
        ({"context": 0}, "--context"),
        ({"context": "128k"}, "128Ki"),
        ({"tp": 3}, "1, 2, 4, 8, 16, 32, 64"),
        ({"tp": 0}, "--tp"),
        ({"pp": 81}, "1 to 80"),
        ({"gpus": 8, "tp": 8}, "--gpus"),
        ({"gpu": "h1000"}, "'h100'"),
        ({"gpu": kv.Gpu(name="of-a-colleague")}, "--gpu-memory"),
        ({"gpu_memory": 0}, "--gpu-memory"),
        ({"utilization": 0}, "--utilization"),
        ({"utilization": 1.5}, "--utilization"),
        ({"utilization": math.nan}, "--utilization"),
        ({"utilization": -0.5}, "--utilization"),
        ({"engine": 3}, "--engine: not a name: 3"),
        ({"cache_dtype": {"k": "q8_0"}}, "--cache-dtype: not a name"),
        ({"weight_dtype": 3}, "--weight-dtype: not a name"),
        ({"state_dtype": 3}, "--state-dtype: not a name"),
        ({"dtype": 3}, "--dtype: not a name"),
        ({"gpu": 3}, "--gpu: not a name"),
        ({"gpu": ["h100", "h200"]}, "--gpu: not a name"),
        ({"engine": "vlm"}, "--engine"),
        ({"engine": "exact@1"}, "--engine: exact has no versions"),
        ({"engine_option": {"enforce_eager": True}}, "--engine-option: engine exact has no options"),
        ({"block_size": 16}, "--block-size: engine exact counts tokens"),
        ({"dtype": "bf17"}, "--dtype"),
        ({"cache_dtype": "fp9"}, "--cache-dtype"),
        ({"weight_dtype": "fp9"}, "--weight-dtype"),
        ({"weights": -1}, "--weights"),
        ({"weights": "80G"}, "80GiB"),
        ({"temporary": 10**19}, "--temporary"),
        ({"reserve": {"lora": "2G"}}, "--reserve lora"),
        ({"parameters": 0}, "--parameters"),
    ],
    ids=repr,
)
def test_what_cannot_be_is_a_kvcalc_error(options: dict[str, Any], fragment: str) -> None:
    with pytest.raises(kv.KvcalcError) as refused:
        kv.estimate("llama-3-70b", **options)
    assert fragment in str(refused.value)
    assert int(refused.value.exit_code) == 2


@pytest.mark.parametrize("options", [{"batch": 1.5}, {"context": 8192.0}, {"tp": 2.0}, {"batch": [1]}], ids=repr)
def test_what_is_no_integer_is_no_count(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, kv.KvcalcError)):
        kv.estimate("llama-3-70b", **options)


@pytest.mark.parametrize("function", [kv.estimate, kv.capacity, kv.compare, kv.plan, kv.make_scenario])
def test_an_unknown_option_is_a_type_error(function: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=rf"{function.__name__}\(\) got an unexpected keyword argument 'bach'"):
        function("llama-3-70b", bach=4)


def test_a_type_checker_knows_the_options() -> None:
    """mypy reads this too, and calls an ignore that is not needed an error."""
    with pytest.raises(TypeError):
        kv.estimate("llama-3-70b", bach=4)  # type: ignore[call-arg]  # the mistake
    with pytest.raises(TypeError):
        kv.capacity("llama-3-70b", bach=4)  # type: ignore[call-arg]  # the mistake
    with pytest.raises(kv.KvcalcError):
        kv.compare("llama-3-70b", batch=[4])  # type: ignore[arg-type]  # as given
    with pytest.raises(TypeError):
        kv.plan("llama-3-70b", dp=2)  # type: ignore[call-arg]  # the mistake


OF_SCENARIO = inspect.signature(kv.make_scenario).parameters


TABLES: dict[Callable[..., object], Any] = {
    kv.make_scenario: ScenarioOptions,
    kv.estimate: ScenarioOptions,
    kv.capacity: CapacityOptions,
    kv.compare: CompareOptions,
    kv.plan: PlanOptions,
    kv.verify: VerifyOptions,
}


@pytest.mark.parametrize("function", TABLES)
def test_a_function_shows_and_tells_the_options_of_its_table(function: Callable[..., object]) -> None:
    table = TABLES[function]
    shown, told = inspect.signature(function).parameters, inspect.getdoc(function) or ""
    assert table.__required_keys__ == frozenset()
    for name, option in options_of(table).items():
        assert (shown[name].default, shown[name].kind) == (option.default, inspect.Parameter.KEYWORD_ONLY)
        assert shown[name].annotation == table.__annotations__[name].__origin__
        assert f"{name}: {option.help.removesuffix('.')}" in told


@pytest.mark.parametrize("table", dict.fromkeys(TABLES.values()))
def test_every_keyword_is_an_option(table: Any) -> None:
    """A keyword without what the command line needs could not be given there."""
    for name, hint in table.__annotations__.items():
        (option,) = hint.__metadata__
        assert isinstance(option, Option), name
        assert option.help.endswith(".")
        assert option.metavar or option.default is False


TIERS = {"host_memory", "disk", "disk_bandwidth", "handoff"}
POOLS = "rps"


@pytest.mark.parametrize(
    ("function", "left_out"),
    [
        (kv.estimate, set()),
        (kv.capacity, set()),
        (
            kv.compare,
            {POOLS, *TIERS},
        ),
        (kv.plan, {"dp", "ep", "dcp", "dp_attention", "gpus", "spill", *TIERS} - {"handoff"}),
    ],
)
def test_a_signature_has_every_option_by_name(function: Callable[..., object], left_out: set[str]) -> None:
    shown = inspect.signature(function).parameters
    assert set(OF_SCENARIO) - {"model"} - set(shown) == left_out
    first, *others = (each.kind for each in shown.values())
    assert first == inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert set(others) == {inspect.Parameter.KEYWORD_ONLY}
    assert (str(shown["context"].annotation), shown["context"].default) == ("int | str | None", None)


@pytest.mark.parametrize("name", ["llama-3-7b", "", "missing.yaml", "x" * 1000, "\x00", "\x00.yaml", "~/x.yaml"])
def test_a_model_that_is_not_there_is_a_kvcalc_error(name: str) -> None:
    with pytest.raises(kv.KvcalcError):
        kv.load_model(name)


@pytest.mark.parametrize("name", ["h1000", "", "../gpus/h100-sxm", "x" * 1000, "\x00"])
def test_a_gpu_that_is_not_there_is_a_kvcalc_error(name: str) -> None:
    with pytest.raises(kv.KvcalcError):
        kv.load_gpu(name)


def test_a_gpu_that_is_no_text_is_a_kvcalc_error() -> None:
    number: Any = 7
    with pytest.raises(kv.KvcalcError, match="no accelerator '7'"):
        kv.load_gpu(number)


def test_nouns_refuse_what_cannot_be() -> None:
    for fields in ((0, 1), (1, 0), (10**10, 1), (1, 10**13)):
        with pytest.raises(kv.KvcalcError):
            kv.Workload(*fields)
    for ways in ((0, 1, 1), (1, -1, 1), (1, 1, 10**7)):
        with pytest.raises(kv.KvcalcError):
            kv.Deployment(*ways)


def test_what_a_machine_cannot_do_is_a_kvcalc_error_too() -> None:
    assert issubclass(kv.CannotRunError, kv.KvcalcError)
    assert int(kv.CannotRunError("no disk").exit_code) == 3


def test_a_result_as_text_has_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks set FORCE_COLOR, and what is written to a file from there is read elsewhere."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in str(kv.estimate("llama-3-8b"))


def test_a_calculation_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    kv.estimate("gemma-3-27b", context="128Ki")
    assert capsys.readouterr() == ("", "")


def test_a_size_of_the_weights_leaves_their_number_nothing_to_say() -> None:
    with pytest.raises(kv.KvcalcError, match="--parameters has nothing to say"):
        kv.estimate("llama-3-8b", weights="5GB", parameters=10**9)


def test_a_format_that_nothing_is_kept_in_is_told() -> None:
    assert any(
        "--cache-dtype: no layer keeps keys" in note
        for note in texts(kv.estimate("mamba-2.8b", cache_dtype="fp8").notes)
    )
    assert not any("--cache-dtype" in note for note in texts(kv.estimate("falcon-h1-34b", cache_dtype="fp8").notes))
