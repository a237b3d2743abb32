"""The picture of a GPU's memory: a bar of parts for each deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.charts.chart import Axis, Bar, BarChart, Level, Part
from kvcalc.errors import KvcalcError
from kvcalc.verbs.estimate import estimate
from kvcalc.verbs.plotting.lines import in_common, names_of
from kvcalc.verbs.plotting.shared import engines, subtitle, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.verbs.estimate_result import Estimate
    from kvcalc.verbs.plotting.lines import Line


def memory_chart(lines: Sequence[Line], unit: str, *, asked: bool) -> BarChart:
    """The parts of the fullest GPU's memory, and what of it may be used.

    Copies of a latent or of heads, which further ranks hold again, are a part of their own.

    Args:
        lines: one a bar.
        unit: of sizes.
        asked: whether the sizes of deployments were asked for; others that cannot be are left out without a word.

    Raises:
        KvcalcError: no bar can be.
    """
    found: list[tuple[Line, Estimate | KvcalcError]] = []
    for line in lines:
        try:
            found.append((line, estimate(line.scenario(line.batch, line.context))))
        except KvcalcError as error:
            found.append((line, error))
    results = [each for _, each in found if not isinstance(each, KvcalcError)]
    if not results:
        raise next(each for _, each in found if isinstance(each, KvcalcError))
    if not asked:
        found = [(line, each) for line, each in found if not isinstance(each, KvcalcError)]
    names, common = names_of([line for line, _ in found]), in_common([line for line, _ in found])
    names = names if len(found) > 1 else [str(results[0].deployment)]
    varies = {key for line, _ in found for key in line.shown} - common.keys()
    said = [words for key, words in common.items() if key not in {"model", "engine", "context", "batch", "gpu"}]
    first = results[0]
    return BarChart(
        title="Memory of each GPU" + (f": {common['model']}" if "model" in common else ""),
        subtitle=subtitle(
            first.workload.words if _same([each.workload for each in results]) else "",
            *said,
            engines(results),
        ),
        x=Axis("tensor-parallel size" if varies == {"tp"} else "", ""),
        y=Axis("memory of the fullest GPU", unit),
        bars=tuple(_bar(name, each) for name, (_, each) in zip(names, found, strict=True)),
        levels=_levels(results),
        notes=told([note for name, (_, each) in zip(names, found, strict=True) for note in _notes(name, each)]),
    )


def _same(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)


def _bar(name: str, result: Estimate | KvcalcError) -> Bar:
    if isinstance(result, KvcalcError):
        return Bar(name, (), result.sentence)
    rank, cache = result.memory.per_rank, result.cache
    once = rank.cache_bytes * cache.one_copy_bytes // cache.bytes if cache.bytes else 0
    parts = (
        ("weights", rank.weights_bytes or 0),
        ("cache", once),
        ("copies of the cache", rank.cache_bytes - once),
        ("temporary", rank.temporary_bytes),
        ("overhead", rank.overhead_bytes),
        ("reserve", rank.reserve_bytes),
    )
    return Bar(name, tuple(Part(part, size) for part, size in parts if size))


def _levels(results: Sequence[Estimate]) -> tuple[Level, ...]:
    found = dict.fromkeys((each.gpus.gpu, each.gpus.usable_bytes) for each in results)
    return tuple(Level(f"usable of {gpu}", usable) for gpu, usable in found)


def _notes(name: str, result: Estimate | KvcalcError) -> list[str]:
    if isinstance(result, KvcalcError):
        return [f"{name}: {result.sentence}"]
    if result.memory.per_rank.weights_bytes is None:
        return [f"{result.model.name}: the weights are not known, and not in the bar: --weights SIZE or --parameters N"]
    return []
