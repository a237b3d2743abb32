"""Pictures against context: the cache of a GPU, and the sequences that fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.charts.chart import Axis, Level, LineChart, Point, Scale, Series
from kvcalc.errors import KvcalcError, one_line
from kvcalc.units import format_size
from kvcalc.verbs.plotting.lines import contexts_of, in_common, names_of, without
from kvcalc.verbs.plotting.shared import (
    Drawn,
    answered,
    engines,
    refusals,
    refuse_without_values,
    scale_of,
    subtitle,
    told,
)
from kvcalc.verbs.sweeping.columns import ERROR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvcalc.verbs.estimate_result import Estimate
    from kvcalc.verbs.plotting.lines import Line

_DEPLOYED = ("tp", "pp", "dp", "ep", "dcp", "dp_attention", "gpus")
_MOST_LEVELS = 6


def cache_chart(lines: Sequence[Line], given: Mapping[str, Any], unit: str) -> LineChart:
    """The cache of the fullest GPU against context; what each GPU has for it is a level."""
    every = [_drawn(line, contexts_of(line, given.get("context")), "cache_bytes_per_rank") for line in lines]
    refuse_without_values([point for each in every for point in each.points])
    drawn = _merged(every)
    scale, names, common = (
        _scale(drawn),
        names_of([each.line for each in drawn]),
        in_common([each.line for each in drawn]),
    )
    levels, notes = _levels(every, unit)
    return LineChart(
        title=_title("KV cache against context", common),
        subtitle=subtitle(_subtitle(drawn, common, batched=True), "" if _placed(given) else "one GPU holds all of it"),
        x=Axis("context", "tokens", scale),
        y=Axis("cache of the fullest GPU", unit, scale),
        series=tuple(Series(name, each.points) for name, each in zip(names, drawn, strict=True)),
        levels=levels,
        notes=told([*_gaps(drawn, names), *notes]),
    )


def sequences_chart(lines: Sequence[Line], given: Mapping[str, Any], unit: str) -> LineChart:
    """The most sequences that fit against their context, of the deployment given, else of the smallest."""
    del unit  # counts have none
    placed = _placed(given)
    drawn = []
    for line in lines:
        contexts = contexts_of(line, given.get("context"))
        drawn.append(_drawn(line if placed else _on_smallest(line, contexts), contexts, "most_sequences"))
    refuse_without_values([point for each in drawn for point in each.points])
    scale, names, common = (
        _scale(drawn),
        names_of([each.line for each in drawn]),
        in_common([each.line for each in drawn]),
    )
    found = "each on the smallest deployment that holds one sequence of its longest context (--tp N sets it)"
    return LineChart(
        title=_title("Sequences that fit against context", common),
        subtitle=_subtitle(drawn, {key: words for key, words in common.items() if key != "batch"}, batched=False),
        x=Axis("context", "tokens", scale),
        y=Axis("sequences", "sequences", Scale.LOG10 if scale is Scale.LOG2 else Scale.LINEAR),
        series=tuple(Series(name, each.points) for name, each in zip(names, drawn, strict=True)),
        notes=told([*(() if placed else (found,)), *_gaps(drawn, names)]),
    )


def _placed(given: Mapping[str, Any]) -> bool:
    """Whether a deployment is asked for."""
    return any(given.get(name) for name in _DEPLOYED)


def _drawn(line: Line, contexts: Sequence[Any], field: str) -> Drawn:
    columns = line.columns((field,), [line.batch], contexts)
    points = tuple(
        Point(x, y if y or field != "most_sequences" else None, one_line(error or _why(y, field)))
        for x, y, error in zip(columns["context"], columns[field], columns[ERROR], strict=True)
        if isinstance(x, int)
    )
    if not points:
        raise KvcalcError(next(str(error) for error in columns[ERROR] if error))
    last = next((point.x for point in reversed(points) if point.y is not None), None)
    return Drawn(line, points, None if last is None else answered(line.scenario(line.batch, last)))


def _why(value: int | None, field: str) -> str:
    if field != "most_sequences" or value:
        return ""
    return "not one sequence fits" if value == 0 else "sequences are unbounded, or the weights are not known"


def _merged(drawn: Sequence[Drawn]) -> list[Drawn]:
    """Lines that differ in their GPU alone are one where the GPU changes nothing."""
    alike: dict[tuple[tuple[str, str], ...], list[Drawn]] = {}
    for each in drawn:
        alike.setdefault(tuple(without(each.line, "gpu").shown.items()), []).append(each)
    found: list[Drawn] = []
    for group in alike.values():
        same = len(group) > 1 and all(each.points == group[0].points for each in group)
        found += [group[0]._replace(line=without(group[0].line, "gpu"))] if same else group
    return found


def _levels(drawn: Sequence[Drawn], unit: str) -> tuple[tuple[Level, ...], list[str]]:
    """What the fullest GPU has for its cache beside weights and the rest, at the longest context of a line."""
    found: dict[tuple[str, int], list[str]] = {}
    notes = []
    for each, name in zip(drawn, names_of([without(each.line, "gpu") for each in drawn]), strict=True):
        if each.result is None:
            continue
        rank, gpu = each.result.memory.per_rank, each.result.gpus.gpu
        if rank.headroom_bytes is None:
            notes.append(f"{name}: what a GPU has for its cache needs the weights: --weights SIZE or --parameters N")
        elif (left := rank.cache_bytes + rank.headroom_bytes) > 0:
            found.setdefault((gpu, left), []).append(name)
            notes += _falls(each, left, name, unit)
        else:
            notes.append(_no_memory(each.result, name))
    if len(found) > _MOST_LEVELS:
        return (), [*notes, f"levels of {len(found)} memories are left out; plot fewer models or GPUs to see them"]
    of_all = {name for names in found.values() for name in names}
    return tuple(
        Level(f"left on {gpu}" + ("" if of_all <= {*names} else f" beside {', '.join(dict.fromkeys(names))}"), left)
        for (gpu, left), names in found.items()
    ), notes


def _falls(each: Drawn, left: int, name: str, unit: str) -> list[str]:
    """An engine may take more memory beside a longer context."""
    first = next(point.x for point in each.points if point.y is not None)
    result = answered(each.line.scenario(each.line.batch, first))
    before = None if result is None else result.memory.per_rank
    if before is None or before.headroom_bytes is None or (most := before.cache_bytes + before.headroom_bytes) == left:
        return []
    shown = [f"{format_size(size, unit)} {unit}" for size in (most, left)]
    return [f"{name}: what is left is {shown[0]} at {first:,} tokens, {shown[1]} at the longest"]


def _no_memory(result: Estimate, name: str) -> str:
    beside = f"{name}: on {result.gpus.gpu} nothing is left for the cache beside the weights"
    found = result.gpus.deployment
    if found is None or found.ranks == result.deployment.ranks:
        return beside
    pp = f" --pp {found.pp}" if found.pp > 1 else ""
    return f"{beside}; --tp {found.tp}{pp} holds them"


def _on_smallest(line: Line, contexts: Sequence[Any]) -> Line:
    """The line on the smallest deployment that holds one sequence of its longest context, else of its shortest."""
    for context in (contexts[-1], contexts[0]):
        try:
            result = answered(line.scenario(1, context))
        except KvcalcError:
            continue
        if result is not None and result.gpus.deployment is not None:
            found = result.gpus.deployment
            gpus = f"{found.gpus:,} x {result.gpus.gpu}"
            placed = line.at({"tp": found.tp, "pp": found.pp, "dp": found.dp})
            return placed._replace(shown={**placed.shown, "gpu": gpus})
    return line


def _scale(drawn: Sequence[Drawn]) -> Scale:
    return scale_of(max((list(dict.fromkeys(point.x for point in each.points)) for each in drawn), key=len))


def _gaps(drawn: Sequence[Drawn], names: Sequence[str]) -> list[str]:
    return [note for each, name in zip(drawn, names, strict=True) for note in refusals(name, each.points, "context")]


def _title(what: str, common: Mapping[str, str]) -> str:
    return f"{what}: {common['model']}" if "model" in common else what


def _subtitle(drawn: Sequence[Drawn], common: Mapping[str, str], *, batched: bool) -> str:
    words = [text for key, text in common.items() if key not in {"model", "engine", "cache_dtype"}]
    if batched and all("batch" not in each.line.shown for each in drawn):
        words.append("1 sequence")
    cache = f"cache {common['cache_dtype']}" if "cache_dtype" in common else ""
    return subtitle(*words, cache, engines([each.result for each in drawn]))
