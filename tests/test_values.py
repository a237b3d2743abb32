"""Results are values: they can be compared, copied, sent to another process, and written as JSON."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest
from conftest import Kvcalc
from vllm_start_ups import V0_6_6

import kvcalc
from kvcalc.logs import read_log_text
from kvcalc.mechanisms import KINDS
from kvcalc.record import Result
from kvcalc.render.faces import REPORTS
from kvcalc.verbs.explain import explain, topics
from kvcalc.verbs.listing.catalogue import list_gpus, show_gpu, show_model
from kvcalc.verbs.listing.model_list import list_models
from kvcalc.verbs.log_check import check_log

MANY: dict[str, Any] = {"batch": 32, "context": 4096, "cache_dtype": "k=q8_0,v=q4_0", "reserve": {"lora": "2GiB"}}
MODELS = (
    *("llama-3-70b", "deepseek-v3.2", "qwen3-next-80b-a3b", "gemma-3n-e4b", "gpt-oss-120b", "falcon-h1-34b"),
    *("kimi-linear-48b-a3b", "llama-3.2-11b-vision", "minimax-text-01", "lfm2-1.2b", "mamba-2.8b", "falcon-7b"),
    *("opt-13b", "llama-4-maverick-17b-128e", "deepseek-v4-flash", "nvidia-nemotron-3-ultra-550b-a55b-bf16"),
    "rwkv7-g1k-13.3b-20260930",
)

QUESTIONS: dict[str, Callable[[], Result]] = {
    **{name: partial(kvcalc.estimate, name) for name in MODELS},
    "estimate with all": partial(kvcalc.estimate, "llama-3-70b", tp=8, dp=2, spill=True, weight_dtype="fp8", **MANY),
    "ladder of estimates": partial(kvcalc.ladder, kvcalc.estimate, "llama-3-70b", batch=[1, 8], gpu="h100,h200"),
    "ladder of capacities": partial(kvcalc.ladder, kvcalc.capacity, "gemma-3-27b", tp=[1, 2]),
    "ladder of comparisons": partial(kvcalc.ladder, kvcalc.compare, "llama-3-8b", context="4Ki,8Ki"),
    "capacity": partial(kvcalc.capacity, "gemma-3-27b", tp=2),
    "capacity of given memory": partial(kvcalc.capacity, "llama-3-8b", cache_memory="10GiB"),
    "plan": partial(kvcalc.plan, "llama-3-70b", batch=32, gpu=["h100", "mi300x"], prices={"h100": 2.5}),
    "plan of nothing": partial(kvcalc.plan, "llama-3.1-405b", max_gpus=2),
    "compare": partial(kvcalc.compare, "llama-3-70b"),
    "compare models": partial(kvcalc.compare, ["llama-3-8b", "qwen3-8b"]),
    "verify": partial(kvcalc.verify, "llama-3-8b", device="meta"),
    "bench": lambda: measured(),  # noqa: PLW0108  # defined below
    "demand": partial(kvcalc.demand, "llama-3-8b", trace="chat"),
    "log": lambda: check_log(read_log_text(V0_6_6), None, {}, cut=False),
    "models list": partial(list_models, "qwen", fits="h100"),
    "models show": lambda: show_model(kvcalc.load_model("gemma-3n-e4b"), "text"),
    "gpus list": list_gpus,
    "gpus show": lambda: show_gpu(kvcalc.load_gpu("h100")),
    "explain": partial(explain, "mla"),
    "explain all": topics,
}


def measured() -> Result:
    """A measurement of two mechanisms whose every sample takes one second."""
    from kvcalc.speed.run import run  # torch
    from kvcalc.verification.progress import silent

    asked = kvcalc.make_scenario(layers=2, heads=4, kv_heads=2, head_dim=16, batch=2, context=64)
    how: Any = {"mechanisms": ("gqa", "mla"), "device_name": "cpu", "samples": 20, "compiling": False, "offload": None}
    return run(asked, progress=silent, clock=itertools.count().__next__, least=True, **how)


@cache
def answer_to(question: str) -> Result:
    return QUESTIONS[question]()


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.torch] if name in {"verify", "bench"} else []) for name in QUESTIONS]
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


def test_what_is_no_result_of_one_command_has_the_same_surface() -> None:
    row, scenario = next(kvcalc.sweep("llama-3-8b", batch=[2], context=1024)), kvcalc.make_scenario("llama-3-8b")
    picture = kvcalc.plot("cache", "llama-3-8b", context=[1024, 2048])
    review = kvcalc.report("llama-3-8b", tp=1)
    for each in (row, picture, picture.chart, review, scenario):
        assert len(repr(each)) <= 250
    for each in (row, picture, review):
        assert json.loads(each.to_json()) == each.to_dict()
    assert row.to_dict()["cache_bytes"] == 2 * 1024 * 131_072
    (series,) = picture.to_dict()["series"]
    points = [(each["x"], each["y"]) for each in series["points"]]
    assert points == [(1024, 1024 * 131_072), (2048, 2048 * 131_072)]
    first = json.loads(review.to_json())["models"][0]["asked"][0]
    assert first["verb"] == "estimate"
    assert first["answer"] == kvcalc.estimate("llama-3-8b", tp=1).to_dict()
    for noun in (scenario.model, scenario.gpu):
        assert len(repr(noun)) <= 100


def test_a_keyword_that_no_function_has_names_the_nearest() -> None:
    for given, meant in (("model", "models"), ("contxt", "context")):
        with pytest.raises(TypeError, match=f"argument '{given}'; did you mean '{meant}'"):
            kvcalc.compare(**{given: "llama-3-8b"})  # type: ignore[arg-type]  # as a user may


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


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda: kvcalc.estimate("gemma-3-27b", tp=2), ["estimate", "gemma-3-27b", "--tp", "2"]),
        (lambda: kvcalc.capacity("llama-3-8b", batch=3), ["capacity", "llama-3-8b", "-b", "3"]),
        (lambda: kvcalc.plan("llama-3-70b", batch=32), ["plan", "llama-3-70b", "-b", "32"]),
        (lambda: kvcalc.compare("qwen3-next-80b-a3b"), ["compare", "qwen3-next-80b-a3b"]),
    ],
    ids=["estimate", "capacity", "plan", "compare"],
)
def test_the_text_of_a_result_is_the_screen(kvcalc: Kvcalc, answer: Callable[[], Result], words: list[str]) -> None:
    """The command adds itself, to be continued."""
    screen = kvcalc(*words).stdout.splitlines()
    assert str(answer()).splitlines() == [line for line in screen if not line.startswith("next: ")]


class Tables(HTMLParser):
    """The cells of the tables of a page, and the elements that were opened and closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002  # the parser's
        if tag != "br":
            self.open.append(tag)
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & {*self.open}:
            self.cells[-1] += data


def test_a_notebook_shows_tables() -> None:
    answer = kvcalc.estimate("llama-3-70b", batch=32, context=8192)
    tables = Tables(answer._repr_html_())
    assert tables.open == []
    assert "llama-3-70b" in tables.cells
    assert {"weights", "cache", "temporary", "overhead", "total"} <= {cell.strip() for cell in tables.cells}
    assert f"{answer.cache.bytes:,} bytes" in answer._repr_html_()


def test_names_are_no_markup_in_a_notebook() -> None:
    model = dataclasses.replace(kvcalc.load_model("llama-3-8b"), name="<script>&")
    answer = kvcalc.estimate(model)
    assert "<script>" not in answer._repr_html_()
    assert "<script>&" in Tables(answer._repr_html_()).cells


def test_a_result_has_faces(answer: Result) -> None:
    assert str(answer).strip()
    page = answer._repr_html_()
    assert Tables(page).open == []
    assert "<table>" in page or "<pre>" in page
    for each in getattr(answer, "notes", ()):
        assert f"note: {escape(each.text)[:40]}" in page


@pytest.mark.torch
def test_there_is_a_question_for_every_kind_of_result() -> None:
    """So that each is all that the tests above ask of one; tests of schemas look for those that are not shown."""
    assert {type(answer_to(question)) for question in QUESTIONS} == {*REPORTS}


def test_a_row_tells_its_deployment() -> None:
    sizes: dict[str, Any] = {"tp": 8, "pp": 2, "dp": 4, "ep": 8, "dcp": 2, "dp_attention": True}
    gpus = kvcalc.estimate("deepseek-v3", batch=8).gpus
    assert gpus.deployment is not None
    assert gpus.deployment.gpus == gpus.count
    assert gpus.to_dict().items() >= {"tp": gpus.deployment.tp, "pp": gpus.deployment.pp, "dp": 1}.items()
    nothing = kvcalc.estimate("palm-540b").gpus
    assert nothing.deployment is None
    assert nothing.to_dict().items() >= {"tp": None, "pp": None, "dp": None}.items()
    best = kvcalc.plan("deepseek-v3", batch=8).deployments[0]
    assert best.deployment.gpus == best.count
    compared = kvcalc.compare("deepseek-v3", **sizes)
    (own,) = [row for row in compared.rows if row.own]
    assert own.given.deployment == kvcalc.Deployment(**sizes)
    assert "deployment" not in own.given.to_dict()
    assert own.given.to_dict().items() >= sizes.items()
