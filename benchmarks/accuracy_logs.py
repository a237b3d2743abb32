"""Public start-up logs of servers, as facts, beside what is predicted of each from its settings alone."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.logs import Figure, Printed, ServerLog, Unit
from kvcalc.scenario.options import DEFAULT_GPU
from kvcalc.verbs.log_check import check_log
from kvcalc.verbs.log_check.card_of_log import WSL
from kvcalc.verbs.log_check.result import GIVEN
from kvcalc.verbs.log_check.vllm_settings import COMPILES

DATA = Path(__file__).parents[1] / "tests" / "data"
FACTS = (DATA / "vllm" / "logs.json", DATA / "sglang" / "logs.json")

PARTS = (
    "weights",
    "temporary",
    "temporary and CUDA graphs",
    "temporary and non-torch memory",
    "cache memory",
    "tokens",
    f"tokens{GIVEN}",
)
"""What is compared, in the order in which memory is shared out."""

SERIES = "known, vLLM 0.19.0 on H100"
OF_SGLANG = {True: "SGLang, known", False: "SGLang, later"}
FORKS = "later, forks of vLLM"
KERNELS = "later, with --moe-backend"
SHARED_WITH_THE_HOST = {"gb10", "strix-halo", "jetson-thor"}
"""Cards without memory of their own."""
STOCK_VLLM = (SERIES, "known, other versions and cards", "later")
GROUPS = (*STOCK_VLLM, KERNELS, FORKS, *OF_SGLANG.values())
"""Logs that are like each other, and when they became known."""
_SERIES = "llm-d-incubation/llm-d-planner#205"

_COUNTS = {"tokens": Unit.TOKENS, "concurrency": Unit.SEQUENCES}
_OF_THE_CARD = {"cache memory", "tokens"}
"""Parts that are not known where the card is not."""


_INPUTS = ("total memory", "free memory before loading")
"""Figures that tell the card's memory."""


NEWEST = "p"
"""What the ids of the logs begin with that were found last."""


class Log(NamedTuple):
    """One log.

    Attributes:
        group: one of GROUPS.
        settings: what it was started with, in words.
    """

    name: str
    source: str
    version: str
    model: str
    card: str
    settings: str
    group: str


class Compared(NamedTuple):
    """One figure of a log.

    Attributes:
        predicted: None where kvcalc refuses, with `refused`.
        error: predicted / printed - 1; None where printed is 0 or there is no prediction.
        of_card: the difference as a share of what the engine uses of its card's memory; None of counts.
        exact: whether what is predicted rounds to what is printed, or the printed memory's rounding covers it.
        range: the ends of what is predicted, where that is a range.
        covered: whether what was printed lies in it; None where there is none.
        width: of it, as a share of what the engine uses of its card's memory.
    """

    log: Log
    part: str
    unit: str
    printed: float
    predicted: float | None
    error: float | None
    of_card: float | None
    exact: bool
    range: tuple[float, float] | None
    refused: str | None
    covered: bool | None = None
    width: float | None = None


class FirstSight(NamedTuple):
    """How far off figures of one part were before any rule was mended in view of their logs.

    Attributes:
        errors: as shares of what was printed.
        of_card: as shares of what the engine uses of its card's memory.
        refused: how many were not predicted.
    """

    errors: list[float]
    of_card: list[float]
    refused: int


def first_sight(*, newest: bool = False) -> dict[tuple[str, str], FirstSight]:
    """By part and group, of the logs that keep it; or of the newest of them alone."""
    found = {}
    logs = [log for log in facts() if "first" in log and (not newest or log["id"].startswith(NEWEST))]
    for part, group in product(PARTS, GROUPS):
        kept = [log["first"][part] for log in logs if part in log["first"] and _group(log) == group]
        seen = [each for each in kept if each is not None]
        if kept:
            errors, of_card = [each[0] for each in seen], [each[1] for each in seen if len(each) > 1]
            found[part, group] = FirstSight(errors, of_card, len(kept) - len(seen))
    return found


def facts() -> list[dict[str, Any]]:
    """As they are kept."""
    return [log for path in FACTS for log in json.loads(path.read_text(encoding="utf-8"))["logs"]]


def compared() -> list[Compared]:
    """Every figure of every log that belongs to a part."""
    return [each for fact in facts() for each in _compare(fact)]


def _compare(fact: dict[str, Any]) -> list[Compared]:
    log = Log(
        fact["id"],
        fact["source"],
        fact.get("version", "not said"),
        fact["model"],
        fact.get("gpu") or _card(fact),
        _settings(fact),
        _group(fact),
    )
    printed: dict[str, tuple[Printed, ...]] = {
        name: (_figure(name).printed(str(value), fact.get("process", "")),) for name, value in fact["printed"].items()
    }
    generation = fact.get("generation", "")
    engine = fact.get("engine", "vllm")
    told = {WSL: "WSL"} if fact.get("wsl") else {}
    if "compiled_before" in fact:
        told["compiled-before" if fact["compiled_before"] else COMPILES] = "said"
    server = ServerLog(engine, version=fact.get("version"), settings=told, printed=printed, generation=generation)
    given = {**fact["options"], "engine_option": fact.get("engine_options", {})}
    card_known = "gpu" in fact or not fact["printed"].keys().isdisjoint(_INPUTS)
    if "gpu" in fact or not card_known:
        given["gpu"] = fact.get("gpu", DEFAULT_GPU)  # else --from-log tells it by the memory of the cache
    parts = [part for part in PARTS if part.removesuffix(GIVEN) in printed and (card_known or part not in _OF_THE_CARD)]
    parts = [part for part in parts if GIVEN not in part or "cache memory" in printed]
    if not fact.get("share_said", True):
        parts = [part for part in parts if part not in _OF_THE_CARD]
    if not fact.get("weights_said", True):
        parts = [part for part in parts if part not in {"weights", *_OF_THE_CARD}]
    try:
        result = check_log(server, fact["model"], given)
    except KvcalcError as error:
        return [_refused(log, part, printed, str(error).partition("\n")[0]) for part in parts]
    found = []
    for part in parts:
        row = result.row(part)
        value = printed[part.removesuffix(GIVEN)][0]
        if row is None or row.predicted is None or row.printed is None:
            found.append(_refused(log, part, printed, "not predicted"))
            continue
        low, high = row.predicted_low or 0, row.predicted_high or 0
        usable = result.gpus.usable_bytes if result.gpus is not None else None
        within, ranged = low - value.off <= row.printed <= high + value.off, GIVEN not in part and low != high
        found.append(
            Compared(
                log,
                part,
                row.unit,
                row.printed,
                row.predicted,
                row.difference,
                (row.predicted - row.printed) / usable if usable and row.unit == "bytes" else None,
                exact=within if GIVEN in part else abs(row.predicted - row.printed) <= value.off,
                range=(low, high) if ranged else None,
                refused=None,
                covered=within if ranged else None,
                width=(high - low) / usable if usable and ranged else None,
            )
        )
    return found


def _refused(log: Log, part: str, printed: dict[str, tuple[Printed, ...]], why: str) -> Compared:
    value = float(printed[part.removesuffix(GIVEN)][0].value)
    unit = "tokens" if part.startswith("tokens") else "bytes"
    return Compared(log, part, unit, value, None, None, None, exact=False, range=None, refused=why)


def _group(fact: dict[str, Any]) -> str:
    if fact.get("engine") == "sglang":
        return OF_SGLANG[fact["known"]]
    if not fact["known"]:
        return FORKS if fact.get("fork") else KERNELS if "moe_backend" in fact else GROUPS[2]
    return SERIES if fact["source"].startswith(_SERIES) else GROUPS[1]


def _figure(name: str) -> Figure:
    unit = _COUNTS.get(name, Unit.GIB)
    return Figure(name, unit, decimals=2 if unit is Unit.GIB else 0)


def _card(fact: dict[str, Any]) -> str:
    total = fact["printed"].get("total memory")
    return "not said" if total is None else f"one of {total} GiB"


def _settings(fact: dict[str, Any]) -> str:
    told = [f"{name.replace('_', '-')} {value}" for name, value in fact["options"].items() if value is not True]
    told += [name.replace("_", "-") for name, value in fact["options"].items() if value is True]
    told += [f"{name} {value}" for name, value in fact.get("engine_options", {}).items()]
    return ", ".join(told)
