"""The tools, each once: a verb, what it takes, and the function of Python that answers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc import api
from kvcalc.access import in_folder
from kvcalc.catalogue import find_gpu, find_model
from kvcalc.catalogue.models import named_model
from kvcalc.catalogue.pasted import pasted_model
from kvcalc.errors import KvcalcError
from kvcalc.logs import read_log_text
from kvcalc.logs.lines import MAX_BYTES, STDIN
from kvcalc.mcp.inputs import MODEL, MODEL_TEXT, Schema, schema_of_option, schema_of_options
from kvcalc.scenario.options import (
    GPU,
    Assumptions,
    CapacityOptions,
    CompareOptions,
    DemandOptions,
    PlanOptions,
    ScenarioOptions,
    VerifyOptions,
)
from kvcalc.verbs.explain import explain, topics
from kvcalc.verbs.listing import list_gpus, show_gpu, show_model
from kvcalc.verbs.log_check import check_log
from kvcalc.verbs.model_list import list_models
from kvcalc.verbs.model_list_options import WORD, Chosen, TriedWith

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.record import Result

    Arguments = dict[str, Any]


class Tool(NamedTuple):
    """A verb for agents.

    Attributes:
        command: whose JSON it answers with.
        about: what it answers, for an agent that chooses.
        takes: argument -> its schema.
        needs: arguments that it cannot do without.
        answer: gives the result; what cannot be is a KvcalcError.
    """

    command: str
    about: str
    takes: Mapping[str, Schema]
    answer: Callable[[Arguments], Result]
    needs: tuple[str, ...] = ()

    @property
    def input_schema(self) -> Schema:
        """Of all its arguments."""
        return {
            "type": "object",
            "properties": dict(self.takes),
            "required": list(self.needs),
            "additionalProperties": False,
        }


_OF_A_MODEL: Mapping[str, Schema] = {"model": MODEL, "model_text": MODEL_TEXT}
_NOT_BY_AGENTS = ("device", "decode", "boundary")
"""What allocates memory of this machine, or keeps it busy."""


@cache
def tools() -> Mapping[str, Tool]:
    """Every tool by its name: the command's words, joined by an underscore."""
    return {
        "estimate": Tool(
            "estimate",
            "KV cache, memory and number of GPUs of a model at a batch and a context, with the formula of every byte. "
            "`answer` is what to tell first.",
            {**_OF_A_MODEL, **schema_of_options(ScenarioOptions)},
            lambda given: api.estimate(_model(given), **given),
        ),
        "capacity": Tool(
            "capacity",
            "The inverse: the most tokens, sequences and context that fit in the memory of a deployment.",
            {**_OF_A_MODEL, **schema_of_options(CapacityOptions)},
            lambda given: api.capacity(_model(given), **given),
        ),
        "plan": Tool(
            "plan",
            "The smallest legal deployments that hold a workload, best first, on accelerators to choose from.",
            {**_OF_A_MODEL, **schema_of_options(PlanOptions)},
            lambda given: api.plan(_model(given), **given),
        ),
        "compare": Tool(
            "compare",
            "One model under each attention mechanism (MHA, GQA, MQA, MLA), or in several cache formats or under "
            "several engines; or several models side by side.",
            {
                **_OF_A_MODEL,
                "models": {"type": "array", "items": MODEL, "maxItems": 20, "description": "Several, side by side."},
                **schema_of_options(CompareOptions),
            },
            _compare,
        ),
        "demand": Tool(
            "demand",
            "What the requests of a trace hold over time: cache, tokens and requests as mean, percentiles the most, "
            "and GPUs for each. `trace` is a file of requests, CSV or JSON Lines; chat and agents ship with kvcalc.",
            {**_OF_A_MODEL, **schema_of_options(DemandOptions, without=("gpus",))},
            _demand,
            needs=("trace",),
        ),
        "verify": Tool(
            "verify",
            "Proves the formulas of a model with shapes of torch tensors, without memory (device meta).",
            {**_OF_A_MODEL, **schema_of_options(VerifyOptions, without=_NOT_BY_AGENTS)},
            lambda given: api.verify(_model(given), **given, device="meta"),
        ),
        "capacity_from_log": Tool(
            "capacity",
            "A server's start-up log (vLLM, SGLang, llama.cpp) beside what is predicted of it, and why they differ.",
            {
                "log": {"type": "string", "description": "The text of the log, from its start on."},
                **_OF_A_MODEL,
                **schema_of_options(ScenarioOptions),
            },
            _from_log,
            needs=("log",),
        ),
        "explain": Tool(
            "explain",
            "What a word means (a mechanism, format, engine, option or figure), with its formula and source; all words "
            "without one.",
            {"name": {"type": "string", "description": "tp, tight, kv-cache, mla, q8_0, vllm, articles ..."}},
            lambda given: explain(given["name"]) if "name" in given else topics(),
        ),
        "models_list": Tool(
            "models-list",
            "The models of the catalogue: all of them, those that a word names, those that fit an accelerator.",
            {"word": schema_of_option(WORD), **schema_of_options(Chosen), **schema_of_options(TriedWith)},
            _list_models,
        ),
        "models_show": Tool(
            "models-show",
            "One model as its YAML file has it; of a pasted config.json, what was understood of it.",
            {**_OF_A_MODEL, **schema_of_options(Assumptions)},
            _show_model,
        ),
        "gpus_list": Tool(
            "gpus-list", "The accelerators, with the memory that software sees.", {}, lambda _: list_gpus()
        ),
        "gpus_show": Tool(
            "gpus-show",
            "One accelerator, with the source of its figures.",
            {"gpu": schema_of_option(GPU)},
            lambda given: show_gpu(find_gpu(given["gpu"])),
            needs=("gpu",),
        ),
    }


def _model(given: Arguments) -> Any:
    """The model of a call, taken out of its arguments: a name, or what a text describes."""
    name, text = given.pop("model", None), given.pop("model_text", None)
    if name is not None and text is not None:
        raise KvcalcError("model: give its name or its text, not both")
    if text is not None:
        return pasted_model(text, "model_text", given.pop("assume", None))
    return None if name is None else _located(name)


def _located(name: str) -> str:
    """A name of the catalogue, or the path of a file that is named as in a folder which may be read."""
    return in_folder(name) if named_model(name) is None else name


def _compare(given: Arguments) -> Result:
    several = given.pop("models", None)
    if several is None:
        model = _model(given)
        return api.compare(None if model is None else [model], **given)
    if not several or "model" in given or "model_text" in given:
        raise KvcalcError("models: one or more of them, and neither model nor model_text beside them")
    return api.compare([_located(each) for each in several], **given)


def _demand(given: Arguments) -> Result:
    trace = given.pop("trace")
    if trace == STDIN:
        raise KvcalcError("trace: a server has no standard input for it; name a file")
    return api.demand(_model(given), trace=in_folder(trace), **given)


def _from_log(given: Arguments) -> Result:
    log = given.pop("log")
    model = _model(given)
    return check_log(read_log_text(log[:MAX_BYTES]), model, given, cut=len(log) > MAX_BYTES)


def _list_models(given: Arguments) -> Result:
    chosen = {name: given.pop(name, None) for name in ("word", *Chosen.__annotations__)}
    return list_models(chosen.pop("word"), **chosen, options=given)


def _show_model(given: Arguments) -> Result:
    assumed = given.get("assume")
    model = _model(given)
    if model is None:
        raise KvcalcError("model: missing; give its name (models_list has them) or its text")
    found = find_model(model, assumed) if isinstance(model, str) else model
    return show_model(found.model, found.text)
