"""From the options of a command line to the scenario that they describe."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from kvcalc.catalogue import find_model
from kvcalc.cli.scenario_options import NUMBERS, OPTIONS
from kvcalc.errors import KvcalcError
from kvcalc.model.ad_hoc import MAX_DIM, AdHoc
from kvcalc.model.layers import MAX_LAYERS
from kvcalc.model.model import Model
from kvcalc.note import Note, note
from kvcalc.scenario.make import make_scenario
from kvcalc.units import MAX_CONTEXT, parse_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvcalc.scenario import Scenario

_LIMITS = {"layers": MAX_LAYERS, "window": MAX_CONTEXT}
_PASSED_ON = (
    "batch",
    "shared_prefix",
    "cache_dtype",
    "weight_dtype",
    "state_dtype",
    "conv_dtype",
    "weights",
    "temporary",
    "overhead",
    "engine",
    "block_size",
    "gpu",
    "gpu_memory",
    "utilization",
    "node_size",
    "tp",
    "pp",
    "dp",
    "ep",
    "dcp",
    "dp_attention",
    "gpus",
    "allow_pp",
    "spill",
    "parameters",
    "dtype",
)
"""Options that `make_scenario` takes as they are."""


def scenario_of(model: str | None, given: Mapping[str, Any], **replaced: Any) -> Scenario:
    """The scenario of a command's options.

    Args:
        model: the argument MODEL; without it, the options describe a model.
        given: option -> value, of the options that the command takes.
        replaced: arguments of `make_scenario` that the command works out itself.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    found, options = model_options(model, given)
    return make_scenario(found, **{**options, **replaced})


def model_options(model: str | None, given: Mapping[str, Any]) -> tuple[Model, dict[str, Any]]:
    """The model, and the arguments of `make_scenario` that the command's options give."""
    numbers = AdHoc(**{name: _number(given, name) for name in NUMBERS})
    found, origin, notes = _model(model, numbers, assumed_of(given.get("assume")))
    options: dict[str, Any] = {name: given[name] for name in _PASSED_ON if name in given}
    options |= {
        "context": context_of(given),
        "engine_option": pairs_of(
            "--engine-option", given.get("engine_option") or [], "KEY=VALUE, named as the engine names it"
        ),
        "reserve": pairs_of("--reserve", given.get("reserve") or [], "NAME=SIZE (for example lora=2GiB)"),
        "origin": origin,
        "notes": (*notes, *_default_dims(numbers)),
    }
    return found, options


def typed(words: Iterable[str], *left_out: str) -> str:
    """The command line, to be continued, without some flags."""
    return shlex.join(["kvcalc", *(word for word in words if word not in left_out)])


def typed_anew(command: str, model: str | None, given: Mapping[str, Any], names: Iterable[str]) -> str:
    """A command line with the same model, and of the named options, which take values, those that were given."""
    words = ["kvcalc", command, *([] if model is None else [model])]
    for name in names:
        value = given[name]
        if value not in (OPTIONS[name].default, []):
            several = value if isinstance(value, list) else [value]
            words += [word for each in several for word in (f"--{name.replace('_', '-')}", str(each))]
    return shlex.join(words)


def context_of(given: Mapping[str, Any]) -> int | str | None:
    """--context, or the sum of --input and --output."""
    context: str | None = given.get("context")
    prompt, generated = given.get("input_tokens"), given.get("output_tokens")
    if prompt is None and generated is None:
        return context
    if context is not None:
        raise KvcalcError("--context: is --input plus --output; give one or the other")
    if prompt is None or generated is None:
        raise KvcalcError("--input and --output go together: the context is their sum")
    return parse_count(prompt, "--input", MAX_CONTEXT) + (
        0 if generated == "0" else parse_count(generated, "--output", MAX_CONTEXT)
    )


def _number(given: Mapping[str, Any], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    return parse_count(text, f"--{name.replace('_', '-')}", _LIMITS.get(name, MAX_DIM))


def assumed_of(texts: list[str] | None) -> dict[str, Any]:
    """--assume, each value read as JSON where it is some, else as a word."""
    pairs = pairs_of("--assume", texts or [], "KEY=VALUE (for example head_dim=128)")
    return {name.strip(): _json_or_word(value.strip()) for name, value in pairs.items()}


def _json_or_word(text: str) -> Any:
    from json import loads  # noqa: PLC0415  # for start-up time

    try:
        return loads(text)
    except (ValueError, RecursionError):
        return text


def _model(text: str | None, numbers: AdHoc, assumed: dict[str, Any]) -> tuple[Model, str, tuple[Note, ...]]:
    """The model that is named, or the one that the numbers describe, where it is from, and what to know of it."""
    if text is None:
        if not numbers.given:
            raise KvcalcError("MODEL: missing; name a model (kvcalc models list) or describe one with --layers ...")
        if assumed:
            raise KvcalcError("--assume: decides what an imported file does not say, and MODEL is not given")
        return numbers.model(), "the command line", ()
    if numbers.given:
        raise KvcalcError(f"{numbers.given[0]}: describes a model without a file, and '{text[:100]}' names one")
    found = find_model(text, assumed)
    return found.model, found.origin, found.notes


def pairs_of(option: str, texts: list[str], form: str) -> dict[str, str]:
    """'NAME=VALUE', several times over, as a mapping."""
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.strip() and value.strip() and name.isprintable()):
            raise KvcalcError(f"{option}: '{text[:60]}' is not {form}")
        if name in values:
            raise KvcalcError(f"{option}: '{name[:60]}' is given twice")
        values[name] = value
    return values


def _default_dims(numbers: AdHoc) -> Iterator[Note]:
    if numbers.kv_lora_rank is not None:
        yield note(
            "default-mla-dims",
            "qk_nope_head_dim and v_head_dim do not enter the cache: 128 is taken for what is not given",
        )
