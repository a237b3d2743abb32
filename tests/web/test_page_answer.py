"""What the page is answered: the figures of the command line, and refusals in its words, whatever is asked."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from conftest import Kvcalc

from kvcalc.catalogue import gpu_names, model_names
from kvcalc.engines import ENGINES
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import ScenarioOptions
from kvcalc.web.answer import MOST_CHARACTERS, answer
from kvcalc.web.form import FIELDS, MOST_NAMES

CONFIG = '{"model_type":"llama","hidden_size":4096,"num_hidden_layers":32,"num_attention_heads":32}'


def ask(**request: Any) -> Any:
    return json.loads(answer(json.dumps(request)))


def refusal(**request: Any) -> Any:
    return ask(ask="estimate", **request)["error"]["lines"]


def scenarios() -> list[tuple[str, dict[str, str]]]:
    chosen = random.Random(7)  # noqa: S311  # the same every time
    models, gpus = model_names(), gpu_names()
    return [
        (
            chosen.choice(models),
            {
                "gpu": chosen.choice(gpus),
                "engine": chosen.choice(list(ENGINES)),
                "batch": str(chosen.choice((1, 7, 32, 500))),
                "context": chosen.choice(("1000", "8Ki", "100_000", "max")),
                **chosen.choice(({}, {"cache_dtype": "fp8"}, {"tp": "2"}, {"weight_dtype": "fp8", "pp": "2"})),
            },
        )
        for _ in range(50)
    ]


def test_the_figures_are_those_of_the_command_line(kvcalc: Kvcalc) -> None:
    """Fifty scenarios, of which engines refuse about half: then the page says what the command line says."""
    computed = 0
    for model, options in scenarios():
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
        run = kvcalc("estimate", model, *words, "--json")
        found = ask(ask="estimate", model=model, options=options)
        if "error" in found:
            assert run.code == found["error"]["exit_code"], (model, options)
            assert run.stderr.removeprefix("error: ").splitlines() == found["error"]["lines"]
        else:
            assert json.loads(run.stdout) == found["estimate"], (model, options)
            computed += 1
    assert computed > 20


def test_the_capacity_is_that_of_the_deployment_shown(kvcalc: Kvcalc) -> None:
    found = ask(ask="estimate", model="llama-3-70b", options={"batch": "32", "context": "8Ki"})
    run = kvcalc("capacity", "llama-3-70b", "--batch", "32", "--context", "8Ki", "--tp", "4", "--json")
    assert found["estimate"]["answer"]["tp"] == 4
    assert found["capacity"]["result"] == json.loads(run.stdout)


def test_an_answer_has_the_screen_and_the_formulas(kvcalc: Kvcalc) -> None:
    screen = kvcalc("estimate", "deepseek-v3", "--gpu", "h200", "--tp", "8", "--explain").stdout
    found = ask(ask="estimate", model="deepseek-v3", options={"gpu": "h200", "tp": "8"})
    for line in found["headline"]["lines"]:
        assert all(span["text"] in screen for span in line["spans"])
    assert [part["name"] for part in found["bar"]["parts"]] == ["weights", "cache", "other", "free"]
    assert sum(part["length"] for part in found["bar"]["parts"]) == 1000
    terms = [row for block in found["formulas"] if block["kind"] == "grid" for row in block["rows"]]
    assert all(" ".join(row["cells"][2]) in screen for row in terms)
    assert found["command"] == "kvcalc estimate deepseek-v3 --gpu h200 --tp 8"


def test_every_field_is_an_option_and_its_help() -> None:
    options = options_of(ScenarioOptions)
    form = ask(ask="form")
    assert [field["name"] for field in form["fields"]] == list(FIELDS)
    assert all(field["help"] == options[field["name"]].sentence for field in form["fields"])
    assert "error" not in ask(ask="estimate", **form["start"])


def test_names_are_searched_as_people_type_them() -> None:
    assert ask(ask="models", word="llama 3 70")["found"][0]["name"] == "llama-3-70b"
    assert ask(ask="gpus", word="H100 SXM")["found"][0] == {"name": "h100-sxm", "about": "NVIDIA H100 SXM, 79.18 GiB"}
    assert len(ask(ask="models", word="")["found"]) == MOST_NAMES
    assert ask(ask="models", word="no such") == {"found": [], "told": "no model has such a name"}


@pytest.mark.parametrize(
    "name",
    ["/etc/hostname", "./x", "~/x", "../x.yaml", "C:\\x.json", "hf:Qwen/Qwen3-8B", "HF:a/b", "file:///etc/passwd"],
)
@pytest.mark.parametrize("option", ["model", "gpu"])
def test_neither_this_machine_nor_the_network_is_looked_at(name: str, option: str) -> None:
    """Also where the file is there: /etc/hostname is, and its line is not in the message."""
    asked = {"model": name} if option == "model" else {"model": "llama-3-8b", "options": {"gpu": name}}
    lines = refusal(**asked)
    assert len(lines) == 1
    told = ("not read here", "not asked here", "no file, name or hub id", "no accelerator")
    assert any(words in lines[0] for words in told)
    assert "hf:" not in lines[0].replace(name, "")


def test_this_machines_accelerator_is_not_looked_at() -> None:
    assert refusal(model="llama-3-8b", options={"gpu": "auto"}) == [
        "gpu: auto: this machine is not looked at here; name an accelerator"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x" * 1_000_001, "pasted text: more than 1,000,000 characters: not a model file"),
        ('{"a":' * 100_000, "pasted text: nested more than 40 deep"),
        ("[" * 100_000, "pasted text:1:1001: not valid YAML: exceeded maximum nesting depth"),
        ("a: &a [x]\nb: [*a, *a]\n", "pasted text:1:4: an anchor (&name): write the value out where it is used"),
        ("", "pasted text: the file is empty"),
        ("\x00\x07", "pasted text"),
        ("name: <script>alert(1)</script>\nlayers: []", "pasted text:2:9: layers: must not be empty"),
        ('{"model_type":"<img onerror=x>"}', "pasted text"),
    ],
    ids=["long", "deep-json", "deep-yaml", "laughs", "empty", "binary", "html", "html-json"],
)
def test_a_pasted_text_is_refused_with_its_place(text: str, told: str) -> None:
    lines = refusal(model_text=text)
    assert lines[0].startswith(told)
    assert all(line.isprintable() for line in lines)


def test_a_pasted_config_is_a_model_like_another(kvcalc: Kvcalc, tmp_path: Any) -> None:
    (tmp_path / "config.json").write_text(CONFIG, encoding="utf-8")
    run = kvcalc("estimate", str(tmp_path), "--json", "--engine", "vllm")
    found = ask(ask="estimate", model_text=CONFIG, options={"engine": "vllm"})
    assert found["estimate"]["cache"] == json.loads(run.stdout)["cache"]
    assert found["command"] is None


def test_what_a_pasted_config_lacks_is_assumed_in_the_field_for_it() -> None:
    text = CONFIG.replace('"num_hidden_layers":32,', "")
    lines = refusal(model_text=text)
    assert lines[-1].startswith("next: assume") or "--assume num_hidden_layers" in lines[0]
    assumed = ask(ask="estimate", model_text=text, options={"assume": "num_hidden_layers=32"})
    assert assumed["estimate"]["cache"] == ask(ask="estimate", model_text=CONFIG)["estimate"]["cache"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "request: no JSON"),
        ("[" * 200_000, "request: nested too deep"),
        ("[]", "request: no JSON object"),
        ("x" * (MOST_CHARACTERS + 1), "request: more than 4,000,000 characters"),
        ('{"ask":"files"}', "ask: 'files' cannot be asked"),
        ('{"ask":7}', "ask: must be a text"),
        ('{"ask":"estimate"}', "MODEL: missing"),
        ('{"ask":"estimate","model":["x"]}', "model: must be a text"),
        ('{"ask":"estimate","model":"llama-3-8b","model_text":"{}"}', "model: give its name or its text"),
        ('{"ask":"estimate","model":"llama-3-8b","options":[1]}', "options: must be an object"),
        ('{"ask":"estimate","model":"llama-3-8b","options":{"batch":8}}', "batch: must be a text"),
        (
            '{"ask":"estimate","model":"llama-3-8b","options":{"draft":"x"}}',
            "options: the page has no 'draft'",
        ),
        ('{"ask":"estimate","model":"llama-3-8b","options":{"context":"128k"}}', "--context: '128k' could mean two"),
        ('{"ask":"estimate","model":"llama-3-8b","options":{"batch":"1e400"}}', "--batch"),
        ('{"ask":"estimate","model":"\\ud800"}', "model: no"),
        ('{"ask":"models","word":"' + "x" * 1001 + '"}', "word: more than 1,000 characters"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(text: str, told: str) -> None:
    found = json.loads(answer(text))
    assert found["error"]["lines"][0].startswith(told)
    assert found["error"]["exit_code"] == 2


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"model": "llama-3-8b", "options": {"gpu": "auto"}}, "gpu"),
        ({"model": "llama-3-8b", "options": {"tp": "3"}}, "tp"),
        ({"model": "llama-3-8b", "options": {"cache_dtype": "x"}}, "cache_dtype"),
        ({"model": "llama-3-8b", "options": {"draft": "x"}}, None),
        ({"model": "no-such"}, "model"),
        ({"model": "/etc/hostname"}, "model"),
        ({}, "model"),
        ({"model_text": "name: mine\nlayers: []"}, "model_text"),
        ({"model_text": ""}, "model_text"),
    ],
)
def test_a_refusal_names_the_field_to_blame(asked: dict[str, Any], field: str | None) -> None:
    assert ask(ask="estimate", **asked)["error"]["field"] == field


def test_limits_end_with_the_answer(kvcalc: Kvcalc, tmp_path: Any) -> None:
    refusal(model="/etc/hostname")
    (tmp_path / "config.json").write_text(CONFIG, encoding="utf-8")
    assert kvcalc("estimate", str(tmp_path), "--json").code == 0


def test_the_curve_passes_through_the_answer() -> None:
    asked = {"model": "llama-3-70b", "options": {"batch": "32", "context": "5000"}}
    found = ask(ask="curve", **asked)
    assert found["context"] == 5000
    drawn = found["svg"]
    rank = ask(ask="estimate", **asked)["estimate"]["gpus"]["per_rank"]
    for name, value in (("all of it", rank["total_bytes"]), ("cache", rank["cache_bytes"])):
        assert re.search(rf'data-series="{name}"[^>]*data-x="5000"[^>]*data-y="{value}"', drawn)
    assert "<style" not in drawn
    assert "style=" not in drawn
    assert 'viewBox="0 0 360 ' in ask(ask="curve", narrow=True, **asked)["svg"]
    assert ask(ask="curve", model="/etc/hostname")["error"]["exit_code"] == 2


def test_what_is_too_much_lies_over_the_end_of_the_bar() -> None:
    found = ask(ask="estimate", model="llama-3-70b", options={"tp": "1", "batch": "32", "context": "8Ki"})
    *_, other, over = found["bar"]["parts"]
    assert over["name"] == "too much"
    assert over["start"] + over["length"] == other["start"] + other["length"] == 1000
