"""Results are values: they can be compared, copied, sent to another process, and written as JSON."""

from __future__ import annotations

import copy
import dataclasses
import json
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from typing import Any

import pytest
from conftest import Kvcalc

import kvcalc
from kvcalc.mechanisms import KINDS
from kvcalc.record import Result

MANY: dict[str, Any] = {"batch": 32, "context": 4096, "cache_dtype": "k=q8_0,v=q4_0", "reserve": {"lora": "2GiB"}}
MODELS = (
    *("llama-3-70b", "deepseek-v3.2", "qwen3-next-80b-a3b", "gemma-3n-e4b", "gpt-oss-120b", "falcon-h1-34b"),
    *("kimi-linear-48b-a3b", "llama-3.2-11b-vision", "minimax-text-01", "lfm2-1.2b", "mamba-2.8b", "falcon-7b"),
    *("opt-13b", "llama-4-maverick-17b-128e", "nvidia-nemotron-3-ultra-550b-a55b-bf16"),
)

QUESTIONS: dict[str, Callable[[], Result]] = {
    **{name: partial(kvcalc.estimate, name) for name in MODELS},
    "estimate with all": partial(kvcalc.estimate, "llama-3-70b", tp=8, dp=2, spill=True, weight_dtype="fp8", **MANY),
    "capacity": partial(kvcalc.capacity, "gemma-3-27b", tp=2),
    "capacity of given memory": partial(kvcalc.capacity, "llama-3-8b", cache_memory="10GiB"),
    "plan": partial(kvcalc.plan, "llama-3-70b", batch=32, gpu=["h100", "mi300x"], prices={"h100": 2.5}),
    "plan of nothing": partial(kvcalc.plan, "llama-3.1-405b", max_gpus=2),
    "compare": partial(kvcalc.compare, "llama-3-70b"),
    "compare models": partial(kvcalc.compare, ["llama-3-8b", "qwen3-8b"]),
    "verify": partial(kvcalc.verify, "llama-3-8b", device="meta"),
}


@cache
def answer_to(question: str) -> Result:
    return QUESTIONS[question]()


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.torch] if name == "verify" else []) for name in QUESTIONS]
)
def answer(request: pytest.FixtureRequest) -> Result:
    """Each kind of result; none is computed before a test asks for it."""
    return answer_to(request.param)


def inside(value: Any) -> list[Any]:
    """A value and all values that it holds."""
    if dataclasses.is_dataclass(value):
        held = [getattr(value, each.name) for each in dataclasses.fields(value)]
    else:
        held = list(value) if isinstance(value, (tuple, list)) else []
    return [value, *(each for item in held for each in inside(item))]


def test_the_answers_have_every_mechanism_of_the_catalogue() -> None:
    kinds = {each.kind for name in MODELS for each in inside(answer_to(name)) if hasattr(each, "kind")}
    assert kinds >= set(KINDS) - {"mla_expanded"}


@pytest.mark.parametrize("protocol", [0, pickle.HIGHEST_PROTOCOL])
def test_a_result_can_be_pickled(answer: Result, protocol: int) -> None:
    again = pickle.loads(pickle.dumps(answer, protocol))  # noqa: S301  # our own
    assert again == answer
    assert again.to_json() == answer.to_json()


def test_a_result_can_be_copied(answer: Result) -> None:
    for same in (copy.copy(answer), copy.deepcopy(answer)):
        assert same == answer
        assert same.to_dict() == answer.to_dict()


def test_a_result_is_a_frozen_dataclass_down_to_its_figures(answer: Result) -> None:
    for each in inside(answer):
        if dataclasses.is_dataclass(each) and dataclasses.fields(each):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(each, dataclasses.fields(each)[0].name, None)


def test_a_result_can_be_a_key(answer: Result) -> None:
    assert {answer: 1}[copy.deepcopy(answer)] == 1


def test_a_result_at_a_prompt_is_one_short_line(answer: Result) -> None:
    for each in inside(answer):
        if isinstance(each, kvcalc.record.Record):
            assert len(repr(each)) <= 250
            assert "\n" not in repr(each)


def test_results_of_other_questions_differ() -> None:
    assert kvcalc.estimate("llama-3-8b", batch=2) != kvcalc.estimate("llama-3-8b", batch=3)
    assert len({kvcalc.estimate("llama-3-8b", batch=batch) for batch in (1, 2, 2, 3)}) == 3


def test_a_pool_of_processes_answers_as_this_one_does() -> None:
    names = ["llama-3-8b", "deepseek-v3", "gemma-3-27b"]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(kvcalc.estimate, names)) == [kvcalc.estimate(name) for name in names]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("llama-3-70b", ["estimate", "llama-3-70b"]),
        ("capacity", ["capacity", "gemma-3-27b", "--tp", "2"]),
        ("plan of nothing", ["plan", "llama-3.1-405b", "--max-gpus", "2"]),
        ("compare", ["compare", "llama-3-70b"]),
        pytest.param("verify", ["verify", "llama-3-8b", "--device", "meta"], marks=pytest.mark.torch),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_object_of_a_result_is_what_the_command_prints(kvcalc: Kvcalc, question: str, words: list[str]) -> None:
    printed = kvcalc(*words, "--json").stdout
    assert answer_to(question).to_json() + "\n" == printed
    assert answer_to(question).to_dict() == json.loads(printed)
