"""The page that computes by itself: the same figures, without a network, from a disk."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from kvcalc.catalogue import model_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Kvcalc
    from harness import Hosted, Visit, Visiting

SCENARIO = "#model=llama-3-70b&batch=32&context=8Ki"
MISTAKEN = "name: mine\nlayers: many\n"
"""A YAML that is refused, and only pydantic says why."""


def asked(visit: Visit, request: dict[str, Any]) -> dict[str, Any]:
    """What the page's backend answers."""
    found: dict[str, Any] = visit.page.evaluate("request => kvcalc.answer(request)", request)
    return found


def as_doubles(text: str) -> Any:
    """JSON with numbers as JavaScript keeps them: a count of operations may be more than 2^53."""
    return json.loads(text, parse_int=float)


def headline(visit: Visit) -> str:
    """What is shown first, once it is there."""
    visit.page.locator("#headline :text('GPU')").first.wait_for()
    text: str = visit.page.locator("#headline").inner_text()
    return text


def test_every_form_of_the_page_shows_the_same_answer(visit: Visiting, served: str, exported: str, single: str) -> None:
    expected = headline(visit(served + SCENARIO))
    assert headline(visit(exported + SCENARIO)) == expected
    assert headline(visit(single + SCENARIO)) == expected


def scenarios() -> Iterator[tuple[str, dict[str, str]]]:
    """Of models that ship, with their options by their names in Python."""
    chosen = random.Random(21)  # noqa: S311  # the same each time
    while True:
        engine = chosen.choice(("exact", "exact", "vllm", "sglang", "llama.cpp", "tensorrt-llm"))
        yield (
            chosen.choice(model_names()),
            {
                "batch": str(chosen.randint(1, 200)),
                "context": chosen.choice(("777", "4Ki", "32Ki", "128Ki")),
                "cache_dtype": chosen.choice(("bf16", "bf16", "fp8", "int4")),
                "gpu": chosen.choice(("h100-sxm", "a100-80gb-sxm", "h200-sxm")),
                "engine": engine,
            },
        )


def test_fifty_figures_are_those_of_estimate(visit: Visiting, exported: str, kvcalc: Kvcalc) -> None:
    page = visit(exported)
    computed = 0
    for model, options in scenarios():
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
        expected = kvcalc("estimate", model, *words, "--json")
        found = asked(page, {"ask": "estimate", "model": model, "options": options})
        if expected.code == 0:
            assert as_doubles(json.dumps(found["estimate"])) == as_doubles(expected.stdout), (model, options)
            computed += 1
        else:
            assert found["error"]["exit_code"] == expected.code, (model, options)
        if computed == 50:
            break


def test_works_without_a_network_after_the_first_visit(visit: Visiting, hosted: Hosted) -> None:
    first = visit(hosted.address + SCENARIO)
    expected = headline(first)
    first.page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    hosted.stop()
    first.page.context.set_offline(True)
    first.page.reload()
    assert headline(first) == expected
    assert "many" in "\n".join(asked(first, {"ask": "estimate", "model_text": MISTAKEN})["error"]["lines"])


@pytest.mark.parametrize("form", ["exported", "single"])
def test_a_mistake_in_a_pasted_yaml_is_told(
    form: str, visit: Visiting, served: str, request: pytest.FixtureRequest
) -> None:
    mistaken = {"ask": "estimate", "model_text": MISTAKEN}
    expected = asked(visit(served), mistaken)
    page = visit(request.getfixturevalue(form))
    assert asked(page, mistaken) == expected
    assert "layers" in "\n".join(expected["error"]["lines"])


@pytest.mark.parametrize(
    "request_",
    [
        {"model": "/etc/hostname"},
        {"model_text": "<script>alert(1)</script>"},
        {"model_text": '{"model_type": "<img src=x onerror=alert(1)>"}'},
        {"model_text": "[" * 100_000},
        {"model": "llama-3-8b", "options": {"trace": "/etc/passwd"}},
    ],
    ids=range(5),
)
def test_what_is_refused_by_the_server_is_refused_alone(
    visit: Visiting, served: str, exported: str, request_: dict[str, Any]
) -> None:
    expected = asked(visit(served), {"ask": "estimate", **request_})
    found = asked(visit(exported), {"ask": "estimate", **request_})
    assert found["error"]["exit_code"] == expected["error"]["exit_code"] == 2
    # PyYAML in C says other words of what is nested deep.
    assert found == expected or "nested" in found["error"]["lines"][0]
