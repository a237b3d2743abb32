"""Which version of an engine wrote a log: as it says, else by the wording of its lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.engines import ENGINES, version_number
from kvcalc.errors import KvcalcError
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from kvcalc.logs import ServerLog

FORMULAS = "exact"
"""The engine that may stand beside any log."""

_RELEASE = re.compile(r"v?(\d{1,4}(?:\.\d{1,4}){1,2}(?:\.post\d{1,4})?).*")
SINCE = "since "
"""Before the version that was the first to have a setting."""
_BUILD = re.compile(r"b?(\d{3,6})")
"""llama.cpp's; a fork counts its own, which may be far smaller."""


def engine_of(log: ServerLog, given: str | None) -> tuple[str, tuple[Note, ...]]:
    """NAME@VERSION: the log's, unless another is given; what leads to a release is used for it.

    Raises:
        KvcalcError: another engine than the log's is given, or the log's version is newer or older than all known.
    """
    name, _, version = (given or log.engine).partition("@")
    if name in ENGINES and name not in {log.engine, FORMULAS}:
        raise KvcalcError(f"--engine {name}: the log is {log.engine}'s; leave it out, or --engine {FORMULAS}")
    if name != log.engine or version:
        return given or name, ()
    found = (_BUILD if name == "llama-cpp" else _RELEASE).fullmatch(log.version or "")
    if found is not None and name == "llama-cpp":
        return _build_of(name, int(found[1]))
    if found is not None:
        _check_known(name, found[1])
        return f"{name}@{found[1]}", ()
    taken = newest(log)
    lines = ", the newest that is known" if log.between is None else ", the newest with the wording of its lines"
    lines = ", the first that has all of its settings" if _since(log) else lines
    if name == "llama-cpp" and log.between is not None:
        lines = ", whose rules hold for builds with the wording of its lines"
    told = f"the log does not say its version: {taken} is used{lines} (--engine {name}@VERSION sets it)"
    return f"{name}@{taken}", (note("version-not-logged", told, version=taken),)


def _build_of(name: str, build: int) -> tuple[str, tuple[Note, ...]]:
    """A build of llama.cpp; beyond those that are known, or of a fork that counts its own, the nearest."""
    known = ENGINES[name].versions
    first, last = ((version_number(each) or (0,))[0] for each in (known[0], known[-1]))
    if first <= build <= last:
        return f"{name}@b{build}", ()
    taken = known[0] if build < first else known[-1]
    told = f"the log is of build {build}, and {taken} is the nearest that is known (--engine {name}@VERSION sets it)"
    return f"{name}@{taken}", (note("build-not-known", told, build=build, taken=taken),)


def _check_known(name: str, version: str) -> None:
    known, number = ENGINES[name].versions, version_number(version)
    oldest, latest = (version_number(each) for each in (known[0], known[-1]))
    if number is None or oldest is None or latest is None or (oldest <= number and number[: len(latest)] <= latest):
        return
    far, nearest = ("newer than the newest", known[-1]) if number > latest else ("older than the oldest", known[0])
    told = f"--from-log: the log is of {name} {version}, {far} that is known"
    raise KvcalcError(f"{told}; --engine {name}@{nearest} compares it with {nearest}")


def newest(log: ServerLog) -> str:
    """The newest version that is known and prints such lines; where none does, the newest before those that do."""
    known = ENGINES[log.engine].versions
    since = _since(log)
    if since:
        return max(since, key=lambda version: version_number(version) or ())
    if log.between is None:
        return known[-1]
    first, last = log.between
    numbers = {each: version_number(each) or () for each in known}
    alike = [each for each, number in numbers.items() if first <= number and number[: len(last)] <= last]
    older = [each for each, number in numbers.items() if number[: len(last)] <= last]
    return (alike or older or known[:1])[-1]


def _since(log: ServerLog) -> list[str]:
    """Versions that were the first to have a setting that the log prints."""
    return [option.removeprefix(SINCE) for option in log.settings if option.startswith(SINCE)]
