"""Options given beside a log that it contradicts or does not state: the given value is used, with a note."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kvcalc.catalogue import find_gpu
from kvcalc.engines import version_number
from kvcalc.errors import KvcalcError
from kvcalc.note import Note, note
from kvcalc.scenario.option import read_options
from kvcalc.scenario.options import ScenarioOptions
from kvcalc.verbs.log_check.card_of_log import LoggedCard, card_of
from kvcalc.verbs.log_check.model_of_log import model_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.logs import ServerLog
    from kvcalc.model.model import Model

MAX_SHOWN = 60
"""Letters of a value that a note repeats."""
MAX_LIST = 400
"""Letters of a note that lists."""

_SAID_BY_LOGS = {"gpu", "dtype", "cache_dtype", "weight_dtype", "context", "utilization", "tp", "pp", "dp", "dcp", "ep"}
"""Options that logs tell; their engine is always told."""


def overridden(
    log: ServerLog, model: Model | None, said: Mapping[str, Any], own: Mapping[str, str], given: Mapping[str, Any]
) -> Iterator[Note]:
    """A note for each setting that is given and that the log has otherwise.

    Args:
        log: what a server said.
        model: the one that is named beside it; None where none is.
        said: options of kvcalc that the log has, by their names in Python.
        own: options of the engine that it has.
        given: what is given beside the log.
    """
    logged = _model(log)
    if model is not None and logged is not None and logged.name != model.name:
        yield _told("model", logged.name, model.name, model.name)
    card = _card(log)
    if card is not None and "gpu" in given:
        gpu = find_gpu(given["gpu"]) if isinstance(given["gpu"], str) else given["gpu"]
        if gpu.name != card.gpu.name:
            yield _told("gpu", card.gpu.name, gpu.name, f"--gpu {gpu.name}")
    if (version := _version(log, given)) is not None:
        yield _told("engine version", log.version, version, f"--engine {given['engine']}")
    for name in said.keys() & given.keys() - {"gpu"}:
        if _read(name, said[name]) != _read(name, given[name]):
            flag = f"--{name.replace('_', '-')}"
            yield _told(name, said[name], given[name], f"{flag} {given[name]}")
    given_own = {key.replace("_", "-"): str(value) for key, value in (given.get("engine_option") or {}).items()}
    for key in own.keys() & given_own.keys():
        if str(own[key]).lower() != given_own[key].lower():
            yield _told(key, own[key], given_own[key], f"--engine-option {key}={given_own[key]}")
    unsaid = [name for name in given if name in _SAID_BY_LOGS and name not in said and not (name == "gpu" and card)]
    unsaid += [key for key in given_own if key not in own]
    if unsaid:
        names = tuple(name.replace("_", "-") for name in unsaid)
        told = f"the log does not say {', '.join(names)}: as given"
        yield note("log-silent", told[:MAX_LIST], settings=names)


def _version(log: ServerLog, given: Mapping[str, Any]) -> str | None:
    """The version that is given, where the log has another release."""
    name, _, version = str(given.get("engine") or "").partition("@")
    logged, asked = (version_number(each.removeprefix("v")) for each in (log.version or "", version))
    return version if name == log.engine and logged and asked and logged[:3] != asked[:3] else None


def _told(name: str, logged: object, given: object, taken: str) -> Note:
    text = f"the log has {name} {str(logged)[:MAX_SHOWN]}, {taken[:MAX_SHOWN]} is used"
    return note("log-overridden", text, setting=name, logged=str(logged)[:MAX_SHOWN], given=str(given)[:MAX_SHOWN])


def _model(log: ServerLog) -> Model | None:
    with suppress(KvcalcError):
        return model_of(log, None).model
    return None


def _card(log: ServerLog) -> LoggedCard | None:
    """The accelerator that the log names."""
    card = card_of(log, None, lambda _: True)
    return card if card.certain else None


def _read(name: str, value: object) -> object:
    """A value as its option reads it; the log's may be one that the option refuses."""
    with suppress(KvcalcError):
        return read_options(ScenarioOptions, {name: value})[name]
    return value
