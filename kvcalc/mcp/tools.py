"""The tools, each once: a verb, what it takes, and the function of Python that answers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from kvcalc import api, measure
from kvcalc.catalogue import find_gpu
from kvcalc.mcp.answers import (
    MOST_ROWS,
    Arguments,
    Rows,
    compare,
    from_log,
    model_of,
    models_list,
    models_show,
    one_or_several,
    sweep,
)
from kvcalc.mcp.inputs import MODEL, MODEL_TEXT, Schema, schema_of_option, schema_of_options
from kvcalc.record import SCHEMA_VERSION
from kvcalc.scenario.options import (
    GPU,
    Assumptions,
    CapacityOptions,
    CompareOptions,
    DemandOptions,
    PlanOptions,
    ScenarioOptions,
    SweepOptions,
    VerifyOptions,
)
from kvcalc.schema.outputs import DIALECT
from kvcalc.schema.sweep_row import row_schema
from kvcalc.verbs.explain import explain, topics
from kvcalc.verbs.listing.catalogue import list_gpus, show_gpu
from kvcalc.verbs.listing.model_list_options import GPU_WORD, WORD, Chosen, TriedWith

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.record import Result


class Tool(NamedTuple):
    """A verb for agents.

    Attributes:
        command: whose JSON it answers with.
        about: what it answers, for an agent that chooses.
        takes: argument -> its schema.
        needs: arguments that it cannot do without.
        answer: gives the result; what cannot be is a KvcalcError.
        gives: the schema of what it answers, where no command prints that with --json.
    """

    command: str
    about: str
    takes: Mapping[str, Schema]
    answer: Callable[[Arguments], Result | Rows]
    needs: tuple[str, ...] = ()
    gives: Schema | None = None

    @property
    def input_schema(self) -> Schema:
        """Of all its arguments."""
        return {
            "type": "object",
            "properties": dict(self.takes),
            "required": list(self.needs),
            "additionalProperties": False,
        }


_ROWS: Schema = {
    "$schema": DIALECT,
    "type": "object",
    "properties": {
        "schema_version": {"type": "integer", "const": SCHEMA_VERSION},
        "command": {"type": "string", "const": "sweep"},
        "rows": {"type": "array", "items": row_schema()},
    },
    "required": ["schema_version", "command", "rows"],
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
            "`answer` is what to tell first. Several values, as '4Ki,16Ki', give `rows`.",
            {**_OF_A_MODEL, **schema_of_options(ScenarioOptions)},
            lambda given: one_or_several(api.estimate, model_of(given), given),
        ),
        "capacity": Tool(
            "capacity",
            "The inverse: the most tokens, sequences and context that fit in the memory of a deployment.",
            {**_OF_A_MODEL, **schema_of_options(CapacityOptions)},
            lambda given: one_or_several(api.capacity, model_of(given), given),
        ),
        "plan": Tool(
            "plan",
            "The smallest legal deployments that hold a workload, best first, on accelerators to choose from.",
            {**_OF_A_MODEL, **schema_of_options(PlanOptions)},
            lambda given: api.plan(model_of(given), **given),
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
            compare,
        ),
        "demand": Tool(
            "demand",
            "What the requests of a trace hold over time: cache, tokens and requests as mean, percentiles and most, "
            "and GPUs for each. `trace` is a file of requests, CSV or JSON Lines; chat and agents ship with kvcalc.",
            {**_OF_A_MODEL, **schema_of_options(DemandOptions, without=("gpus",))},
            lambda given: api.demand(model_of(given), **given),
            needs=("trace",),
        ),
        "verify": Tool(
            "verify",
            "Proves the formulas of a model with shapes of torch tensors, without memory (device meta).",
            {**_OF_A_MODEL, **schema_of_options(VerifyOptions, without=_NOT_BY_AGENTS)},
            lambda given: measure.verify(model_of(given), **given, device="meta"),
        ),
        "sweep": Tool(
            "sweep",
            f"Many scenarios as rows, up to {MOST_ROWS:,}: every combination of the values of model, batch, context, "
            "cache_dtype, weight_dtype, gpu, tp, pp and engine. Ranges: 1Ki..1Mi*2 doubles, 8..64+8 adds 8.",
            schema_of_options(SweepOptions, without=("yes", "shard")),
            sweep,
            gives=_ROWS,
        ),
        "capacity_from_command": Tool(
            "capacity",
            "What a server holds that a command line of vLLM, SGLang, llama-server, Ollama or trtllm-serve starts.",
            {
                "command": {"type": "string", "description": "vllm serve Qwen/Qwen3-8B --max-model-len 32768 ..."},
                **schema_of_options(CapacityOptions),
            },
            lambda given: api.capacity_from_command(given.pop("command"), **given),
            needs=("command",),
        ),
        "capacity_from_log": Tool(
            "capacity",
            "A server's start-up log (vLLM, SGLang, llama.cpp) beside what is predicted of it, and why they differ.",
            {
                "log": {"type": "string", "description": "The text of the log, from its start on."},
                **_OF_A_MODEL,
                **schema_of_options(ScenarioOptions),
            },
            from_log,
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
            models_list,
        ),
        "models_show": Tool(
            "models-show",
            "One model as its YAML file has it; of a pasted config.json, what was understood of it.",
            {**_OF_A_MODEL, **schema_of_options(Assumptions)},
            models_show,
        ),
        "gpus_list": Tool(
            "gpus-list",
            "The accelerators, all of them or those that a word names, with the memory that software sees.",
            {"word": schema_of_option(GPU_WORD)},
            lambda given: list_gpus(given.get("word")),
        ),
        "gpus_show": Tool(
            "gpus-show",
            "One accelerator, with the source of its figures.",
            {"gpu": schema_of_option(GPU)},
            lambda given: show_gpu(find_gpu(given["gpu"])),
            needs=("gpu",),
        ),
    }
