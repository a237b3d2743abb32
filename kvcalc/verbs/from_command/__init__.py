"""`capacity --from-command`: the question that a server's command line is, with the options of kvcalc that it means."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kvcalc.deployment import MAX_RANKS
from kvcalc.engines import ENGINES, version_number
from kvcalc.errors import KvcalcError
from kvcalc.formats.weights import find_weight_format, may_be_in_gguf
from kvcalc.gpu import Gpu
from kvcalc.logs import ServerLog
from kvcalc.logs.launchers import OPTION
from kvcalc.note import Note, note
from kvcalc.scenario.make import gpu_of
from kvcalc.scenario.option import given_of, read_options
from kvcalc.scenario.options import ScenarioOptions
from kvcalc.units import MAX_BATCH, parse_count
from kvcalc.verbs.from_command.beside import said_beside
from kvcalc.verbs.from_command.blamed import blamed_on_the_line
from kvcalc.verbs.from_command.files import model_of_line
from kvcalc.verbs.from_command.layouts import check_layouts
from kvcalc.verbs.from_command.llama_server import said_by_llama_server
from kvcalc.verbs.from_command.mmproj import towers_loaded
from kvcalc.verbs.from_command.ollama import as_ollama_has_it, completed
from kvcalc.verbs.log_check.card_of_log import LoggedCard
from kvcalc.verbs.log_check.model_of_log import model_of
from kvcalc.verbs.log_check.settings_of_log import said_by_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from kvcalc.logs.command import Command
    from kvcalc.model.model import Model
    from kvcalc.verbs.log_check.model_of_log import LoggedModel

_LIMITS = {"vllm": "max-num-seqs", "sglang": "max-running-requests"}
"""The engine's own option that limits the sequences of a replica."""


def asked_by(command: Command, given: Mapping[str, Any]) -> tuple[Model | str | Path, dict[str, Any], tuple[Note, ...]]:
    """The model, the options as `make_scenario` takes them, and what was assumed.

    Args:
        command: what a server is told.
        given: options beside it, which win.

    Raises:
        KvcalcError: the model is not known, its weights are not, or an option cannot be.
    """
    given = given_of(given)
    first = given.keys() & {"engine_option", "assume", "gpu"}
    read = read_options(ScenarioOptions, {name: given[name] for name in first})
    found = model_of_line(command, read["assume"])
    check_layouts(command, found.model, {**given, "engine_option": read["engine_option"]})
    log = ServerLog(command.engine, model=command.model, settings=dict(command.settings))
    known = model_of(log, found.model)
    taken: tuple[Note, ...] = ()
    if command.by_ollama:
        known, taken = as_ollama_has_it(command.model, known)
    weighed = given.keys() & {"weights", "weight_dtype"}
    if not weighed and not (known.weights_known and _may_be_a_file(command, known)):
        method = command.settings.get("--weight-dtype", "")
        told = f"what --quantization {method[:40]} makes of the weights" if method else "the GGUF file that is served"
        raise KvcalcError(
            f"{OPTION}: kvcalc does not know {told}; give its format as --weight-dtype FORMAT, or --weights SIZE"
        )
    gpu = read["gpu"] if isinstance(read["gpu"], Gpu) else gpu_of(read["gpu"])
    if command.by_ollama:
        settings, more = completed(log.settings, known, gpu)
        log, taken = replace(log, settings=settings), (*taken, *more)
    with blamed_on_the_line(given):
        said = _SAID[command.engine](log, known, LoggedCard(gpu, None, certain=True, notes=()))
    del said["gpu"]
    if known.weight_format is not None and not weighed:
        said["weight_dtype"] = known.weight_format
    if "gpus" in given:
        said = {name: value for name, value in said.items() if name not in _CHOOSE_DEPLOYMENT}
    if given.keys() & {"input_tokens", "output_tokens"}:
        said.pop("context", None)
    own = {**said.pop("engine_option", {}), **(read["engine_option"] or {})}
    if given.get("block_size") is not None:
        own.pop(str(ENGINES[command.engine].block_option), None)
    options = {**said, **given, "engine": _engine(command, given.get("engine"))}
    if own:
        options["engine_option"] = own
    if not given.keys() & {"reserve", "weights"}:
        reserved, of_towers = towers_loaded(command, found.model)
        options, taken = ({**options, "reserve": reserved} if reserved else options), (*taken, *of_towers)
    windows = any(layer.span is not None for layer in found.model.layout.kinds)
    by_launcher = (note("launcher-default", each.text) for each in command.taken if windows or not each.of_windows)
    return found.model, options, (*found.notes, *taken, *by_launcher, *_notes(command, given))


def _may_be_a_file(command: Command, known: LoggedModel) -> bool:
    """Whether the weights that a name tells are what a GGUF file holds, where it is one.

    Files converted of a checkpoint keep its name: Qwen3-8B-FP8.gguf is in a type that llama.cpp has, and fp8 is none.
    """
    if command.engine != "llama-cpp" or not command.model.lower().endswith(".gguf"):
        return True
    model, asked = known.model, known.weight_format
    own = [part.format for part in model.weights] or [model.weight_dtype or model.dtype or "bf16"]
    return all(may_be_in_gguf(find_weight_format(each, "format")) for each in (own if asked is None else [asked]))


_CHOOSE_DEPLOYMENT = ("tp", "pp", "dp", "ep", "dcp", "dp_attention")


def _engine(command: Command, given: str | None) -> str:
    """NAME@VERSION: as given, else of the version that the line tells.

    Raises:
        KvcalcError: another engine than the line's is given.
    """
    name, _, version = (given or command.engine).partition("@")
    if name != command.engine:
        raise KvcalcError(f"--engine {name[:40]}: the line starts {command.engine}; leave it out")
    if not version and command.version is not None:
        _check_known(name, command.version)
    asked = version or command.version
    return f"{name}@{asked}" if asked else name


def _check_known(name: str, version: str) -> None:
    known, number = ENGINES[name].versions, version_number(version)
    oldest, latest = (version_number(each) or () for each in (known[0], known[-1]))
    if number is None or oldest <= number <= latest:
        return
    far, nearest = ("newer than the newest", known[-1]) if number > latest else ("older than the oldest", known[0])
    raise KvcalcError(
        f"{OPTION}: the line is of {name} {version}, {far} that is known; --engine {name}@{nearest} counts it so"
    )


def _notes(command: Command, given: Mapping[str, Any]) -> Iterator[Note]:
    if command.version is None and "@" not in str(given.get("engine") or ""):
        taken = ENGINES[command.engine].versions[-1]
        text = f"the command line does not say its version: {command.engine} {taken} is used"
        yield note("command-version", f"{text} (--engine {command.engine}@VERSION sets it)", version=taken)
    if command.noted:
        text = f"not counted, and may change memory beside the cache: {', '.join(command.noted)}"
        yield note("flags-not-counted", text, flags=command.noted)
    if command.unknown:
        yield note("flags-not-known", f"kvcalc has no rule for: {', '.join(command.unknown)}", flags=command.unknown)


def _said_by_server(log: ServerLog, known: LoggedModel, card: LoggedCard) -> dict[str, Any]:
    """Of vLLM and SGLang, whose lines limit the sequences of a replica."""
    said = said_by_engine(log, known, card)
    beside = said_beside(log.engine, log.settings, log.model)
    own = {**said.pop("engine_option"), **beside.pop("engine_option", {})}
    if "mtp" in beside or "draft" in beside:
        own = {name: value for name, value in own.items() if name != "num-speculative-tokens" or "draft" in beside}
    said |= {**beside, "engine_option": own}
    limit = log.settings.get(_LIMITS[log.engine])
    if limit is not None:
        each = parse_count(limit, f"--{_LIMITS[log.engine]}", MAX_BATCH)
        dp = parse_count(str(said.get("dp", 1)), "--dp", MAX_RANKS)
        of_all = log.engine == "sglang" and said.get("dp_attention")
        said["batch"] = each if of_all else min(MAX_BATCH, each * dp)
    return said


def _said_by_trtllm(log: ServerLog, known: LoggedModel, card: LoggedCard) -> dict[str, Any]:
    said: dict[str, Any] = {"gpu": card.gpu, "tp": 1}
    for option, value in log.settings.items():
        if option.startswith("--"):
            said[option.removeprefix("--").replace("-", "_")] = value
    if "context" not in said and known.model.max_context is not None:
        said["context"] = known.model.max_context
    own = {name: value for name, value in log.settings.items() if name in ENGINES[log.engine].options}
    return {**said, "engine_option": own}


_SAID: Mapping[str, Callable[[ServerLog, LoggedModel, LoggedCard], dict[str, Any]]] = {
    "vllm": _said_by_server,
    "sglang": _said_by_server,
    "llama-cpp": said_by_llama_server,
    "tensorrt-llm": _said_by_trtllm,
}
