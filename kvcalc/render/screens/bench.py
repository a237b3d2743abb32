"""How a measurement of speed looks: the mechanisms beside their bounds, the paths, the growth, the articles' claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render import Report
from kvcalc.render.view import Block, Column, Grid, Line, Lines, Row, Span, Tone, View, Weight, right
from kvcalc.units import format_size

if TYPE_CHECKING:
    from kvcalc.speed.result import Bench, Claim, Growth, Measured, Offloaded, Part, Tried

_GIGA = 10**9
_WHAT = (
    "bytes and operations are what a step needs at least, by kvcalc's formulas; of MLA with the expansion absorbed. "
    "The bound is the longer of bytes / read bandwidth and operations / matrix rate."
)
_PROJECTIONS = "+ projections: with those of query, key, value and output, and the new row stored."
_VERDICTS = {"held": Tone.GOOD, "not here": Tone.BAD}


def bench_report(result: Bench, unit: str) -> Report:
    """One measurement: CSV has a line for each mechanism."""
    return Report(result, result.rows, lambda: bench_view(result, unit), result.notes, unit=unit)


def bench_view(result: Bench, unit: str) -> View:
    """The screen of one measurement."""
    blocks: list[Block] = [_answer(result), _question(result, unit), _parts(result), _paths(result)]
    if result.growth:
        blocks.append(_growth(result.growth))
    if result.offload is not None:
        blocks.append(_offload(result.offload, unit))
    blocks.append(_claims(result.claims))
    blocks.append(Lines((_WHAT, _PROJECTIONS, *_network(result.feed_forward))))
    return View(tuple(blocks))


def _answer(result: Bench) -> Lines:
    best = result.fastest
    time = _ms(best.attention.median_s)
    told = f" is the fastest of {len(result.rows)} here" if len(result.rows) > 1 else ""
    times = None if best.mechanism == "mha" else best.speedup_over_mha
    faster = "" if times is None else f", {times:.2f} times as fast as MHA"
    words = f"{told}: {time} ms for attention of a layer{faster}, {best.attention.share_of_bound:.0%} of its bound"
    return Lines((Line((Span(best.mechanism, Tone.STRONG), Span(words))),))


def _question(result: Bench, unit: str) -> Grid:
    machine, workload = result.machine, result.workload
    rates = (
        f"read {machine.read.per_s / _GIGA:.1f} GB/s ({machine.read.how}), matrix "
        f"{machine.matrix.per_s / _GIGA:,.0f} GFLOP/s ({machine.matrix.how}), processor's caches "
        f"{format_size(machine.processor_cache_bytes, unit)} {unit}"
    )
    rows = (
        Row((result.model.name, f"{workload.words}, cache in {result.cache_dtype}")),
        Row((machine.device, f"{machine.device_name}, {_threads(result)}torch {machine.torch}, {machine.system}")),
        Row(("measured", rates)),
    )
    return Grid((Column(), Column()), rows)


def _threads(result: Bench) -> str:
    threads = result.machine.threads
    if result.machine.device != "cpu":
        return ""
    return "1 thread, " if threads == 1 else f"{threads} threads, "


def _parts(result: Bench) -> Grid:
    columns = (
        Column("mechanism"),
        Column("of a layer"),
        right("ms"),
        right("spread", drop=3),
        right("MB", drop=5),
        right("MFLOP", drop=5),
        right("GB/s"),
        right("of read", drop=2),
        right("of matrix", drop=2),
        right("bound ms"),
        right("of bound"),
        right("speed-up"),
    )
    rows = []
    for each in result.rows:
        name = f"{each.mechanism} (own)" if each.own else each.mechanism
        rows.append(_part(name, "attention", each.attention, each.speedup_over_mha, weight=Weight.PLAIN))
        rows.append(_part("", "+ projections", each.with_projections, None, weight=Weight.PART))
        if each.whole_layer is not None:
            rows.append(_part("", "whole layer", each.whole_layer, _speed_up(result, each), weight=Weight.PART))
    return Grid(columns, tuple(rows))


def _network(label: str | None) -> tuple[str, ...]:
    if label is None:
        return ()
    return (f"whole layer: with norms and a feed-forward network of {label}.",)


def _speed_up(result: Bench, measured: Measured) -> float | None:
    """MHA's whole layer over this one."""
    mha = next((each.whole_layer for each in result.rows if each.mechanism == "mha"), None)
    own = measured.whole_layer
    return None if mha is None or own is None else mha.median_s / own.median_s


def _part(name: str, what: str, part: Part, speedup_over_mha: float | None, *, weight: Weight) -> Row:
    return Row(
        (
            name,
            what,
            _ms(part.median_s),
            f"{part.spread:.0%}",
            f"{part.bytes / 1e6:,.1f}",
            f"{part.flops / 1e6:,.0f}",
            f"{part.bytes_per_s / _GIGA:.3g}",
            f"{part.share_of_bandwidth:.0%}",
            f"{part.share_of_flops:.0%}",
            _ms(part.bound_s),
            f"{part.share_of_bound:.0%} ({part.limited_by})",
            "" if speedup_over_mha is None else f"{speedup_over_mha:.2f}",
        ),
        weight=weight,
    )


def _paths(result: Bench) -> Grid:
    columns = (Column("mechanism"), Column("path"), right("ms"), right("x best"), Column("what became of it"))
    rows = [_path(each, path) for each in result.rows for path in each.paths]
    return Grid(columns, tuple(rows))


def _path(measured: Measured, path: Tried) -> Row:
    best = measured.attention.median_s
    time, slower = "", ""
    if path.attention is not None:
        time, slower = _ms(path.attention.median_s), f"{path.attention.median_s / best:.2f}"
    told = {"stopped": "slow: stopped after one sample", "slower": "slower"}.get(path.state, path.state)
    told = f"{told}: {path.why}" if path.why else told
    tone = Tone.GOOD if path.state == "chosen" else Tone.BAD if path.state in {"wrong", "failed"} else Tone.PLAIN
    return Row((measured.mechanism, path.name, time, slower, told), tone=tone)


def _growth(growth: tuple[Growth, ...]) -> Grid:
    columns = (Column("growth"), Column("of"), Column("ms at tokens"), right("exponent"), Column("path", drop=1))
    rows = []
    for each in growth:
        points = ", ".join(f"{_ms(point.median_s)} at {point.tokens:,}" for point in each.points)
        exponent = "" if each.exponent is None else f"{each.exponent:.2f}"
        step = "decode step" if each.step == "decode" else "prefill, one prompt"
        rows.append(Row((each.mechanism, step, points, exponent, each.path)))
    return Grid(columns, tuple(rows))


def _offload(away: Offloaded, unit: str) -> Lines:
    told = (
        f"offload: {format_size(away.bytes, unit)} {unit} of {away.mechanism}'s cache in {away.where}, read at "
        f"{away.link.per_s / _GIGA:.3g} GB/s: {_ms(away.median_s)} ms a layer, {away.fall:.1f} x the "
        f"time with all of it in memory; bound {_ms(away.bound_s)} ms, {away.share_of_bound:.0%} of the time"
    )
    return Lines((told,))


def _claims(claims: tuple[Claim, ...]) -> Grid:
    columns = (
        Column("articles on"),
        Column("say"),
        Column("measured"),
        right("figure"),
        Column("here"),
    )
    return Grid(columns, tuple(_claim(each) for each in claims))


def _claim(claim: Claim) -> Row:
    wanted = " to ".join(
        word
        for word in (
            f"at least {claim.least:g}" if claim.least is not None else "",
            f"at most {claim.most:g}" if claim.most is not None else "",
        )
        if word
    )
    figure = "" if claim.figure is None else f"{claim.figure:.2f}"
    tone = _VERDICTS.get(claim.verdict, Tone.PLAIN)
    return Row((claim.mechanism, claim.words, f"{claim.asked}: {wanted}", figure, claim.verdict), tone=tone)


def _ms(seconds: float) -> str:
    """Milliseconds with three figures."""
    value = seconds * 1000
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004  # three figures
