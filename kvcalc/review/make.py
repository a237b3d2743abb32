"""A review from Python: the same as `kvcalc report`."""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from kvcalc import __version__
from kvcalc.catalogue import find_model
from kvcalc.catalogue.shipped import CONFIGS
from kvcalc.errors import KvcalcError
from kvcalc.review.asking import CAPACITY, COMPARE, ESTIMATE, PLAN, ask, is_sized
from kvcalc.review.pictures import accelerators, pictures
from kvcalc.review.question import settings_of
from kvcalc.review.review import Review, Reviewed, Version
from kvcalc.scenario.option import accepts, given_of, options_of, read_options
from kvcalc.scenario.options import ReportOptions
from kvcalc.scenario.options.plan import ALL_GPUS, Sizing
from kvcalc.scenario.spelled import typed_anew
from kvcalc.verbs.capacity_result import Capacity
from kvcalc.verbs.estimate_result import Estimate
from kvcalc.verbs.explain import explain
from kvcalc.verbs.planning.result import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvcalc.review.review import Asked
    from kvcalc.verbs.explanation import Explanation
    from kvcalc.verbs.question import Question

_OF_ONE_MODEL = ("weights", "parameters", "assume")
_SAYABLE = (str, int, float, bool, Path)


@accepts(ReportOptions)
def report(models: str | Path | Sequence[str | Path] | None = None, **options: Unpack[ReportOptions]) -> Review:
    """An estimate, a capacity, a plan and a comparison of one question: `report("llama-3-70b", tp=4).html()`.

    What one of them refuses stands in the review as that refusal. Whatever a review is made of can be typed, since it
    says how it is made again: names and paths, no values of Python's own.

    Args:
        models: what `load_model` takes, one or several; None where numbers of the options describe one.
        options: as below.

    Raises:
        KvcalcError: an option or a model that cannot be read; or all of them refused, with the first refusal.
    """
    given = given_of(options)
    names = _names(models)
    _refuse(names, given)
    reviewed = [_reviewed(name, given, several=len(names) > 1) for name in (names or (None,))]
    sized = _sized(given, reviewed[0].asked)
    together = ask(COMPARE, names, sized) if len(names) > 1 else None
    answers = [each for one in reviewed for each in one.answers()]
    if not answers:
        raise KvcalcError(*reviewed[0].asked[0].refused)
    return Review(
        tuple(reviewed),
        together,
        () if is_sized(sized) else tuple(pictures(names, sized, reviewed[0].answer(Estimate))),
        tuple(_explained([each.question for each in answers])),
        (
            Version("kvcalc", __version__),
            Version("catalogue", _catalogue()),
            *(Version("engine", each) for each in dict.fromkeys(each.question.engine for each in answers)),
        ),
        typed_anew("report", names, given, options_of(ReportOptions)),
    )


def _names(models: str | Path | Sequence[str | Path] | None) -> list[str]:
    several = [models] if isinstance(models, (str, Path)) else models or []
    for each in several:
        if not isinstance(each, (str, Path)):
            raise KvcalcError("MODEL: a report says how it is made again, so it takes a name or a path of the model")
    return list(dict.fromkeys(map(str, several)))


def _refuse(names: Sequence[str], given: Mapping[str, Any]) -> None:
    """Refuse what no verb could be asked with.

    Raises:
        KvcalcError: an option or a model cannot be read, or an option is of one model among several.
    """
    read_options(ReportOptions, given)
    for name, value in given.items():
        label = options_of(ReportOptions)[name].label
        several = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
        if any(not isinstance(each, _SAYABLE) for each in several):
            raise KvcalcError(f"{label}: a report says how it is made again, so it takes what can be typed")
        if len(names) > 1 and name in _OF_ONE_MODEL:
            raise KvcalcError(f"{label}: is of one model, and {len(names)} are given")
    if "gpu" in given and ALL_GPUS in accelerators(given):
        raise KvcalcError("--gpu: a report is about accelerators by name; kvcalc plan --gpu all looks at every one")
    for name in names:
        find_model(name, read_options(ReportOptions, given)["assume"])


def _reviewed(name: str | None, given: Mapping[str, Any], *, several: bool) -> Reviewed:
    given_as, planned = name or "", ask(PLAN, name, given)
    if is_sized(given) and planned.answer is None:
        return Reviewed(given_as, given_as, settings_of(given, None, None), (planned,))
    sized = _sized(given, (planned,))
    compared = () if several else (ask(COMPARE, name, sized),)
    asked = (ask(ESTIMATE, name, sized), ask(CAPACITY, name, sized), planned, *compared)
    model = Reviewed(given_as, given_as, (), asked)
    first = model.answer(Estimate) or model.answer(Capacity) or model.answer(Plan)
    if first is None:
        return Reviewed(given_as, given_as, settings_of(given, None, None), asked)
    return Reviewed(first.model.name, given_as, settings_of(given, first.question, first.scenario), asked)


def _sized(given: Mapping[str, Any], asked: Sequence[Asked]) -> dict[str, Any]:
    """The options, with the batch that the plan found in the place of what it follows from."""
    found = next((each.answer for each in asked if isinstance(each.answer, Plan)), None)
    if found is None or not is_sized(given):
        return dict(given)
    return {name: value for name, value in given.items() if name not in options_of(Sizing)} | {
        "batch": found.workload.batch
    }


def _explained(questions: Sequence[Question]) -> Iterator[Explanation]:
    """Mechanisms, formats and engines that play a part; a format that is written by hand has no word of its own."""
    names = [name for each in questions for name in each.mechanisms]
    names += [name for each in questions for name in (each.dtype, each.cache_dtype)]
    names += [each.engine.partition("@")[0].partition(" ")[0] for each in questions]
    found = {}
    for name in dict.fromkeys(names):
        try:
            word = explain(name)
        except KvcalcError:
            continue
        found[word.name] = word
    yield from found.values()


@cache
def _catalogue() -> str:
    """A checksum over every file of models and accelerators that ships."""
    files = sorted(path for path in CONFIGS.rglob("*") if path.suffix in {".yaml", ".csv"})
    total = 0
    for path in files:
        total = zlib.crc32(path.read_bytes(), zlib.crc32(path.relative_to(CONFIGS).as_posix().encode(), total))
    return f"{len(files)} files, checksum {total:08x}"
