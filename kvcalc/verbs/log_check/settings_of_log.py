"""The question that a log is: the options that its server was started with, as kvcalc takes them."""

from __future__ import annotations

import re
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.catalogue import find_model
from kvcalc.deployment import MAX_RANKS
from kvcalc.engines import ENGINES
from kvcalc.model.model import Model
from kvcalc.note import Note, note
from kvcalc.scenario.option import given_of, read_options
from kvcalc.scenario.options import ScenarioOptions
from kvcalc.units import parse_count
from kvcalc.verbs.log_check.card_of_log import LoggedCard, card_of
from kvcalc.verbs.log_check.engine_of_log import engine_of, newest
from kvcalc.verbs.log_check.llama_cpp_settings import ENGINE as LLAMA_CPP
from kvcalc.verbs.log_check.llama_cpp_settings import said_by_llama_cpp, weights_of_cards
from kvcalc.verbs.log_check.model_of_log import LoggedModel, model_of
from kvcalc.verbs.log_check.overridden import overridden
from kvcalc.verbs.log_check.result import LogSetting
from kvcalc.verbs.log_check.sglang_settings import ENGINE as SGLANG
from kvcalc.verbs.log_check.sglang_settings import memory_of_card, said_by_sglang
from kvcalc.verbs.log_check.vllm_defaults import default_tokens_of_a_step, v0_options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from kvcalc.gpu import Gpu
    from kvcalc.logs import ServerLog

_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32"}
_SIZES = {"--tp": "tp", "--pp": "pp", "--dp": "dp", "--dcp": "dcp"}
_TEXTS = {"--utilization": "utilization", "--context": "context"}
_PARALLEL = re.compile(r"(TP|PP|DP)(\d{1,6})")
"""A worker's ranks in its name (vLLM, v1/executor/multiproc_executor.py, setup_proc_title_and_log_prefix)."""
_AUTO_FIT = {"-1", "auto"}
"""What leaves the longest request to vLLM, which prints it then."""
_METHOD = re.compile(r"\w{1,40}")
_LONG = 7
"""Digits of a number of ranks that is none."""
_CHOOSE_DEPLOYMENT = ("tp", "pp", "dp", "ep", "dcp", "dp_attention")


class AsLogged(NamedTuple):
    """What a log's server was started with.

    Attributes:
        model: as `make_scenario` takes it.
        options: likewise.
        settings: the same as a list, with where each is from.
        notes: what was assumed.
    """

    model: Model | str | Path
    options: dict[str, Any]
    settings: tuple[LogSetting, ...]
    notes: tuple[Note, ...]


def as_logged(log: ServerLog, model: Model | str | Path | None, given: Mapping[str, Any]) -> AsLogged:
    """The options of a log's server; those that are given win.

    Raises:
        KvcalcError: the log does not name a model that is known, and none is given.
    """
    given = given_of(given)
    read = read_options(ScenarioOptions, {name: given[name] for name in ("engine_option", "assume") if name in given})
    named = model if model is None or isinstance(model, Model) else find_model(str(model), read["assume"]).model
    known = model_of(log, named)
    card = card_of(log, given.get("gpu"), partial(_starts_so, log, known.model), _tensor_ranks(log, given))
    said = said_by_engine(log, known, card)
    weights_printed = not known.weights_known and not given.keys() & {"weights", "weight_dtype"}
    if weights_printed:
        said |= _weights_as_printed(log, said, given) if log.engine != LLAMA_CPP else weights_of_cards(log)
    if "gpus" in given:
        said = {name: value for name, value in said.items() if name not in _CHOOSE_DEPLOYMENT}
    if given.get("weights") is not None:
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
    notes = (*known.notes, *card.notes, *engine_notes, *other, *_notes(log, stated, weights_printed=weights_printed))
    settings = tuple(_settings(options, own, {*given, *given_own}, assumed))
    return AsLogged(known.model if model is None else model, options, settings, notes)


def _starts_so(log: ServerLog, model: Model, gpu: Gpu) -> bool:
    """Whether the tokens of a step that the log prints are the default on that card."""
    step, longest = log.most("tokens of a step"), log.least("longest request")
    if log.engine != "vllm" or step is None or "max-num-batched-tokens" in log.settings:
        return True
    context = int(longest.value) if longest is not None else model.max_context or 0
    return default_tokens_of_a_step(log.version or newest(log), gpu, model, context) in {None, int(step.value)}


def _said(log: ServerLog, known: LoggedModel, card: LoggedCard) -> dict[str, Any]:
    """Options by the log."""
    said: dict[str, Any] = {"gpu": card.gpu}
    if card.memory_bytes is not None:
        said["gpu_memory"] = card.memory_bytes
    said |= {name: log.settings[option] for option, name in (_SIZES | _TEXTS).items() if option in log.settings}
    if str(said.get("context", "")).lower() in _AUTO_FIT:
        del said["context"]
    longest = log.least("longest request")
    if "utilization" not in said and (share := _share(log)) is not None:
        said["utilization"] = share
    if longest is not None:
        said["context"] = int(longest.value)
    if "context" not in said and known.model.max_context is not None:
        said["context"] = known.model.max_context
    said |= {name: value for name, value in _formats(log) if value is not None}
    if known.weight_format is not None:
        said["weight_dtype"] = known.weight_format
    said = {"tp": 1, **_workers(log), **said}
    said |= _experts(log, known.model, said)
    own = {name: value for name, value in log.settings.items() if not name.startswith("--")}
    step = log.most("tokens of a step")
    if step is not None and "max-num-batched-tokens" in ENGINES[log.engine].options:
        own.setdefault("max-num-batched-tokens", str(int(step.value)))
    sequences = log.most("sequences of a step")
    if sequences is not None and "max-num-seqs" in ENGINES[log.engine].options:
        own.setdefault("max-num-seqs", str(int(sequences.value)))
    stated = log.most("cache memory, as given")
    if stated is not None:
        own.setdefault("kv-cache-memory-bytes", str(int(stated.value)))
    said["engine_option"] = {name: value for name, value in own.items() if name in ENGINES[log.engine].options}
    return said


_SAID: Mapping[str, Callable[[ServerLog, LoggedModel, LoggedCard], dict[str, Any]]] = MappingProxyType(
    {
        "vllm": _said,
        "sglang": lambda log, known, card: _stored(known) | said_by_sglang(log, known.model, card),
        "llama-cpp": lambda log, known, card: said_by_llama_cpp(log, known.model, card),
    }
)
"""Options by the log, of each engine."""


def said_by_engine(log: ServerLog, known: LoggedModel, card: LoggedCard) -> dict[str, Any]:
    """Options by what a server of the log's engine was told and has printed; `engine_option` has the engine's own."""
    return _SAID[log.engine](log, known, card)


def _stored(known: LoggedModel) -> dict[str, Any]:
    return {} if known.weight_format is None else {"weight_dtype": known.weight_format}


def _workers(log: ServerLog) -> dict[str, int]:
    """As many ranks of each kind as the names of the workers tell."""
    workers = {each.process for values in log.printed.values() for each in values}
    ranks = [(kind.lower(), int(rank)) for worker in workers for kind, rank in _PARALLEL.findall(worker)]
    return {kind: 1 + max(rank for each, rank in ranks if each == kind) for kind in dict(ranks)}


def _tensor_ranks(log: ServerLog, given: Mapping[str, Any]) -> int:
    said = str(given.get("tp") or log.settings.get("--tp", ""))
    return int(said) if said.isdecimal() and len(said) < _LONG else _workers(log).get("tp", 1)


def _share(log: ServerLog) -> str | None:
    """The share of the memory that is used, as printed, or as its figures tell where it is rounded."""
    share, total, usable = (log.most(name) for name in ("utilization", "total memory", "usable memory"))
    if share is None or not 0 < share.value <= 1:
        return None
    if total is None or usable is None or total.value <= 0:
        return share.text
    off = usable.off + total.off * share.value
    if abs(share.value * total.value - usable.value) <= off:
        return share.text
    told = usable.value / total.value
    return f"{float(told):.4f}" if abs(told - share.value) <= share.off + off / total.value else share.text


def _formats(log: ServerLog) -> Iterator[tuple[str, str | None]]:
    dtype = log.settings.get("--dtype", "").removeprefix("torch.")
    yield "dtype", _DTYPES.get(dtype)
    cache = log.settings.get("--cache-dtype", "").lower()
    yield "cache_dtype", _DTYPES.get(cache, cache) or None
    yield "state_dtype", _DTYPES.get(log.settings.get("--state-dtype", ""))


def _experts(log: ServerLog, model: Model, said: Mapping[str, Any]) -> dict[str, Any]:
    """Of vLLM, which shares experts over all replicas (config/parallel.py): whole ones with enable_expert_parallel."""
    tp, dp = (parse_count(str(said.get(name, 1)), f"--{name}", MAX_RANKS) for name in ("tp", "dp"))
    if not model.num_experts:
        return {}
    shared: dict[str, Any] = {"dp_attention": True} if dp > 1 else {}
    if log.settings.get("--ep", "").lower() == "true" or dp > 1:
        shared["ep"] = tp * dp
    return shared if shared.get("ep", 1) > 1 else {}


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
            f"the weights are {method}, whose format is not known: they are taken as printed (--weight-dtype sets it)",
            method=method,
        )
    elif weight_format is not None:
        yield note(
            "weights-by-name",
            f"the weights are taken to be {weight_format}, by their name (--weight-dtype sets it)",
            weight_dtype=weight_format,
        )


def _assumed(log: ServerLog, card: LoggedCard) -> Iterator[str]:
    """Options that the log does not say."""
    if not card.certain:
        yield "gpu"
    if "--tp" not in log.settings and "tp" not in _workers(log):
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
