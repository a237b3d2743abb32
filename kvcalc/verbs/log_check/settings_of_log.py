"""The question that a log is: the options that its server was started with, as kvcalc takes them."""

from __future__ import annotations

import re
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.catalogue import find_model
from kvcalc.deployment import MAX_RANKS
from kvcalc.model.model import Model
from kvcalc.note import Note, note
from kvcalc.scenario.option import given_of, read_options
from kvcalc.scenario.options import ScenarioOptions
from kvcalc.units import parse_count
from kvcalc.verbs.log_check.card_of_log import LoggedCard, card_of
from kvcalc.verbs.log_check.engine_of_log import engine_of
from kvcalc.verbs.log_check.llama_cpp_settings import ENGINE as LLAMA_CPP
from kvcalc.verbs.log_check.llama_cpp_settings import said_by_llama_cpp, weights_of_cards
from kvcalc.verbs.log_check.model_of_log import LoggedModel, model_of
from kvcalc.verbs.log_check.overridden import overridden
from kvcalc.verbs.log_check.result import LogSetting
from kvcalc.verbs.log_check.sglang_memory import ENGINE as SGLANG
from kvcalc.verbs.log_check.sglang_memory import memory_of_card
from kvcalc.verbs.log_check.sglang_settings import said_by_sglang, uncounted_draft
from kvcalc.verbs.log_check.tensorrt_settings import said_by_tensorrt_llm
from kvcalc.verbs.log_check.vllm_settings import ranks_in_names, said_by_vllm, starts_so, tensor_ranks, v0_options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from kvcalc.logs import ServerLog
    from kvcalc.verbs.log_check.memory_by_graphs import Between

_METHOD = re.compile(r"\w{1,40}")
_CHOOSE_DEPLOYMENT = ("tp", "pp", "dp", "ep", "dcp", "dp_attention")


class AsLogged(NamedTuple):
    """What a log's server was started with.

    Attributes:
        model: as `make_scenario` takes it.
        options: likewise.
        settings: the same as a list, with where each is from.
        notes: what was assumed.
        card_told: whether anything but the cache's memory tells its card.
        card_by_cache: whether that told it.
    """

    model: Model | str | Path
    options: dict[str, Any]
    settings: tuple[LogSetting, ...]
    notes: tuple[Note, ...]
    card_told: bool = True
    card_by_cache: bool = False


def as_logged(
    log: ServerLog,
    model: Model | str | Path | None,
    given: Mapping[str, Any],
    *,
    too_heavy: bool = False,
    by_cache: Between | None = None,
) -> AsLogged:
    """The options of a log's server; those that are given win.

    Args:
        log: what it printed.
        model: the one that it has; None: the log's, by the catalogue.
        given: options of a scenario.
        too_heavy: whether the model's own weights are more than the server loaded, so that those are used.
        by_cache: the card's memory by that of its cache, which counts where nothing else tells the card.

    Raises:
        KvcalcError: the log does not name a model that is known, and none is given.
    """
    given = given_of(given)
    read = read_options(ScenarioOptions, {name: given[name] for name in ("engine_option", "assume") if name in given})
    named = model if model is None or isinstance(model, Model) else find_model(str(model), read["assume"]).model
    known = model_of(log, named)
    likely = partial(starts_so, log, known.model)
    card = card_of(log, given.get("gpu"), likely, tensor_ranks(log, given), by_cache)
    said = said_by_engine(log, known, card)
    weights_printed = too_heavy or (not known.weights_known and not given.keys() & {"weights", "weight_dtype"})
    if weights_printed:
        said |= _weights_as_printed(log, said, given) if log.engine != LLAMA_CPP else weights_of_cards(log)
    if "gpus" in given:
        said = {name: value for name, value in said.items() if name not in _CHOOSE_DEPLOYMENT}
    if given.get("weights") is not None or "weights" in said:
        said.pop("weight_dtype", None)
    engine, engine_notes = engine_of(log, given.get("engine"))
    if log.engine == SGLANG:
        said |= memory_of_card(log, engine)
    assumed = set(_assumed(log, card))
    logged = {option: value for option, value in said.items() if option not in {"engine_option", *assumed}}
    other = overridden(log, named, logged, said["engine_option"], {**given, "engine_option": read["engine_option"]})
    given_own: dict[str, Any] = read["engine_option"] or {}
    logged_own = said.pop("engine_option")
    name, _, version = engine.partition("@")
    own = {**(logged_own if name == log.engine else {}), **given_own}
    if log.generation == "v0" and name == log.engine:
        own = {**v0_options(version), **own}
    if given.get("block_size") is not None:
        own.pop("block-size", None)
    options = {**said, **given, "engine": engine}
    if own:
        options["engine_option"] = own
    stated = None if given.keys() & {"weights", "weight_dtype"} else known.weight_format
    weights = _notes(log, stated, weights_printed=weights_printed)
    notes = (*known.notes, *card.notes, *engine_notes, *other, *weights, *uncounted_draft(log, given))
    settings = tuple(_settings(options, own, {*given, *given_own}, assumed))
    found = known.model if model is None else model
    return AsLogged(found, options, settings, notes, card.told, card.by_cache)


_SAID: Mapping[str, Callable[[ServerLog, LoggedModel, LoggedCard], dict[str, Any]]] = MappingProxyType(
    {
        "vllm": said_by_vllm,
        "sglang": lambda log, known, card: _stored(known) | said_by_sglang(log, known.model, card),
        "tensorrt-llm": lambda log, known, card: _stored(known) | _card(card) | said_by_tensorrt_llm(log, known.model),
        "llama-cpp": lambda log, known, card: _stored(known) | said_by_llama_cpp(log, known.model, card),
    }
)
"""Options by the log, of each engine."""


def said_by_engine(log: ServerLog, known: LoggedModel, card: LoggedCard) -> dict[str, Any]:
    """Options by what a server of the log's engine was told and has printed; `engine_option` has the engine's own."""
    return _SAID[log.engine](log, known, card)


def _card(card: LoggedCard) -> dict[str, Any]:
    memory = {} if card.memory_bytes is None else {"gpu_memory": card.memory_bytes}
    return {"gpu": card.gpu, **memory}


def _stored(known: LoggedModel) -> dict[str, Any]:
    return {} if known.weight_format is None else {"weight_dtype": known.weight_format}


def _weights_as_printed(log: ServerLog, said: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Of a replica, where a rank's are printed."""
    printed = log.most("weights")
    if printed is None:
        return {}
    tp, pp = (parse_count(str(given.get(name) or said.get(name, 1)), f"--{name}", MAX_RANKS) for name in ("tp", "pp"))
    return {"weights": int(printed.value) * tp * pp}


def _notes(log: ServerLog, weight_format: str | None, *, weights_printed: bool) -> Iterator[Note]:
    if log.starts > 1:
        yield note("several-starts", f"the log holds {log.starts:,} starts: the last is compared", starts=log.starts)
    if weights_printed:
        named = _METHOD.fullmatch(log.settings.get("--weight-dtype", ""))
        method = named[0] if named else "quantised"
        yield note(
            "weights-as-printed",
            f"the weights are {method}, whose format is not known: they are used as printed (--weight-dtype sets it)",
            method=method,
        )
    elif weight_format is not None:
        yield note(
            "weights-by-name",
            f"the weights are assumed to be {weight_format}, by their name (--weight-dtype sets it)",
            weight_dtype=weight_format,
        )


def _assumed(log: ServerLog, card: LoggedCard) -> Iterator[str]:
    """Options that the log does not say."""
    if not card.certain:
        yield "gpu"
    if not card.told:
        yield "gpu_memory"
    if "--tp" not in log.settings and "tp" not in ranks_in_names(log):
        yield "tp"
    if "--context" not in log.settings and log.least("longest request") is None:
        yield "context"


def _settings(
    options: Mapping[str, Any], own: Mapping[str, Any], given: Collection[str], assumed: Collection[str]
) -> Iterator[LogSetting]:
    for name, value in options.items():
        if name != "engine_option":
            shown = value.name if hasattr(value, "name") else str(value)
            source = "given" if name in given else "assumed" if name in assumed else "log"
            yield LogSetting(f"--{name.replace('_', '-')}", shown, source)
    for name, value in own.items():
        yield LogSetting(name, str(value), "given" if name in given else "log")
