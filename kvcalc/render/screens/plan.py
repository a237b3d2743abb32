"""How a plan looks: deployments, best first, and why smaller ones do not hold the workload."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from kvcalc.record import contents, keys
from kvcalc.render import Report
from kvcalc.render.screens.answer import cards, headline
from kvcalc.render.screens.decode import shown
from kvcalc.render.screens.ending import next_line, not_modelled_line, not_modelled_list
from kvcalc.render.screens.question import count, question_grid, workload
from kvcalc.render.screens.rounding import figure, steps
from kvcalc.render.screens.tiers import planned_lines
from kvcalc.render.screens.tree import term_rows
from kvcalc.render.view import Block, Column, Command, Grid, Line, Lines, Row, Span, Tone, View, right
from kvcalc.units import format_size, with_unit
from kvcalc.verbs.planning.result import Planned
from kvcalc.verbs.planning.why_not import NOT_SERVED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verbs.planning.result import Plan
    from kvcalc.verbs.planning.why_not import Rejected

MOST_REJECTED_SHOWN = 12
"""Lines of what is rejected; JSON has all."""

MOST_SIZES_NAMED = 3
"""Sizes that follow each other and are told one by one."""


def plan_report(result: Plan, unit: str, *, explain: bool, command: str) -> Report:
    """One plan: a line of CSV for each deployment.

    Args:
        result: the plan.
        unit: of sizes in tables.
        explain: whether to show the terms of the first deployment.
        command: the estimate of the same model and formats, to which a deployment is added.
    """
    return Report(
        result,
        [
            {**contents(row), "batch": result.workload.batch, "context": result.workload.context}
            for row in result.deployments
        ],
        lambda: _view(result, unit, explain=explain, command=command),
        result.notes,
        (*keys(Planned), "batch", "context"),
        unit,
    )


def _view(result: Plan, unit: str, *, explain: bool, command: str) -> View:
    blocks = [*plan_screen(result, unit, explain=explain, command=command)]
    if explain:
        blocks += plan_formulas(result)
        blocks.extend(not_modelled_list(result.not_modelled, unit))
    return View(tuple(blocks))


def plan_screen(result: Plan, unit: str, *, explain: bool, command: str) -> Iterator[Block]:
    """The answer, deployments, why smaller ones do not hold the workload, the question, and what else is to be said."""
    several = len({*(row.gpu for row in result.deployments), *(row.gpu for row in result.rejected)}) > 1
    yield Lines(tuple(_answer(result, unit)))
    if result.deployments:
        yield _deployments(result, unit, several=several)
    smaller = _rejected(result, unit, several=several)
    if smaller.rows:
        yield smaller
    yield question_grid(result.question, unit, accelerator=not several)
    yield Lines(tuple(_further(result, unit, explain=explain, command=command)))


def plan_formulas(result: Plan) -> Iterator[Grid]:
    """Every term of a GPU of the first deployment with its formula."""
    if result.best is not None:
        columns = (Column("a GPU of the first"), right("bytes"), Column("formula"), Column("in numbers"))
        yield Grid(columns, tuple(term_rows(result.best, 0)))


def _answer(result: Plan, unit: str) -> Iterator[str | Line]:
    """The first deployment, and how far it reaches."""
    asked = workload(result.question)
    if not result.deployments:
        nothing = f"nothing of at most {count(result.max_gpus, 'GPU')} holds it"
        yield Line((Span(f"{asked}: ", Tone.STRONG), Span(nothing, Tone.BAD)))
        return
    best = result.deployments[0]
    yield headline(_gpus(best, whole_nodes=result.whole_nodes), "tight" if best.tight else "fits", f"for {asked}")
    price = "" if best.usd_per_hour is None else f"; {best.usd_per_hour:,.2f} USD an hour"
    yield f"{_reach(best, result)}{price}"
    for each in result.unserved:
        yield Line((Span(f"{each.gpu}: ", Tone.STRONG), Span(with_unit(each.reason, unit), Tone.BAD)))


def _gpus(best: Planned, *, whole_nodes: bool) -> str:
    if not (best.spare or whole_nodes):
        return cards(best.deployment, best.gpu)
    told = [str(best.deployment)]
    told += [f"{count(best.spare, 'spare replica')} among them"] if best.spare else []
    told += [count(best.nodes, "whole node")] if whole_nodes else []
    return f"{best.count:,} x {best.gpu} ({', '.join(told)})"


def _reach(best: Planned, result: Plan) -> str:
    """The most that it holds, with the usual temporary memory."""
    if best.max_batch is None or best.max_context is None:
        return "another token costs no memory"
    mixed = bool(result.question.mix)
    most = f"{count(best.max_batch, 'request' if mixed else 'sequence')} of that {'mix' if mixed else 'context'}"
    if best.max_batch < result.workload.batch:
        return f"with the usual temporary memory it holds {most}, or {count(best.max_context, 'token')} of that batch"
    return f"holds at most {most}, or {count(best.max_context, 'token')} of that batch"


def _deployments(result: Plan, unit: str, *, several: bool) -> Grid:
    priced = any(row.usd_per_hour is not None for row in result.deployments)
    spares = result.deployments[0].spare > 0
    columns = [
        right("GPUs"),
        *((right("of them spare"),) if spares else ()),
        *((Column("of"),) if several else ()),
        Column("deployment", at_commas=True),
        Column(""),
        right(f"{unit} per GPU", drop=1),
        right("free", drop=2),
        right("max batch"),
        right("max context", drop=3),
        right("tokens/s <=", drop=4),
        *((right("USD/hour"), right("USD/month", drop=5), right("USD/1M tokens >=", drop=6)) if priced else ()),
    ]
    return Grid(tuple(columns), tuple(_row(row, unit, several=several, priced=priced) for row in result.deployments))


def _row(row: Planned, unit: str, *, several: bool, priced: bool) -> Row:
    deployment = row.deployment
    cells = [
        f"{row.count:,}",
        *((f"{row.count - deployment.gpus:,}",) if row.spare else ()),
        *((row.gpu,) if several else ()),
        str(deployment),
        "tight" if row.tight else "fits",
        format_size(row.bytes_per_rank, unit),
        _spare(row, unit),
        "unbounded" if row.max_batch is None else f"{row.max_batch:,}",
        "unbounded" if row.max_context is None else f"{row.max_context:,}",
        "?" if row.tokens_per_second is None else shown(row.tokens_per_second),
        *(map(_usd, (row.usd_per_hour, row.usd_per_month, row.usd_per_million_tokens)) if priced else ()),
    ]
    return Row(tuple(cells), tone=Tone.CLOSE if row.tight else Tone.PLAIN)


def _usd(figure: float | None) -> str:
    return "?" if figure is None else f"{figure:,.2f}" if figure >= 1 else f"{figure:,.3g}"


def _spare(row: Planned, unit: str) -> str:
    """On the fullest stage; what its GPU holds and this make what is usable, as they are printed.

    Below zero where memory lacks.
    """
    size, most = abs(row.headroom_bytes), row.usable_bytes - row.headroom_bytes
    left = figure(abs(steps(row.usable_bytes, unit) - steps(most, unit)), size, unit)
    return left if row.headroom_bytes >= 0 else f"-{left}"


def _rejected(result: Plan, unit: str, *, several: bool) -> Grid:
    """Rejected ways of the accelerators that are shown, or of all where none is; sizes with one reason together."""
    names = {row.gpu for row in result.deployments}
    rows = [row for row in result.rejected if not names or row.gpu in names]
    lines = [_line(list(group), unit, several=several) for _, group in groupby(rows, key=_kind)]
    columns = (*((Column("of"),) if several else ()), Column("smaller"), Column("why not"))
    left_out = len(lines) - MOST_REJECTED_SHOWN
    if left_out > 0:
        more = Row((*(("",) if several else ()), "...", f"{count(left_out, 'line')} more: --json has all"))
        lines = [*lines[:MOST_REJECTED_SHOWN], more]
    return Grid(columns, tuple(lines))


def _kind(row: Rejected) -> tuple[str, object]:
    """Illegal sizes that follow each other make one line, and those that the engine refuses in the same words."""
    if not row.legal:
        return row.gpu, None
    return row.gpu, row.reason if row.reason.startswith(NOT_SERVED) else (row.tp, row.pp)


def _line(rows: list[Rejected], unit: str, *, several: bool) -> Row:
    first = rows[0]
    tps = [str(row.tp) for row in rows]
    sizes = "tp " + (", ".join(tps) if len(tps) <= MOST_SIZES_NAMED else f"{tps[0]} to {tps[-1]}")
    sizes += f" x pp {first.pp}" if first.pp > 1 else ""
    alike = all(row.reason == first.reason for row in rows)
    reason = with_unit(first.reason, unit) if alike else "illegal: the heads do not spread over them"
    return Row((*((first.gpu,) if several else ()), sizes, reason))


def _further(result: Plan, unit: str, *, explain: bool, command: str) -> Iterator[str | Line | Command]:
    yield from planned_lines(result.pools)
    if any(row.tight for row in result.deployments):
        yield "tight: fits only if temporary memory is less than the most that was observed"
    if any(row.headroom_bytes != row.usable_bytes - row.bytes_per_rank for row in result.deployments):
        yield f"free: on the fullest GPU; {unit} per GPU: on the one with the most cache"
    if any(row.tokens_per_second for row in result.deployments):
        yield "tokens/s: a bound of decoding, not a prediction"
    if any(row.usd_per_million_tokens for row in result.deployments):
        yield "USD/1M tokens: at least, with all GPUs at that bound all the time; a month has 730 hours"
    yield from not_modelled_line(result.not_modelled, explain=explain)
    if result.deployments and command and not explain:
        yield from next_line(f"{command} {' '.join(_options(result))}")


def _options(result: Plan) -> Iterator[str]:
    """The first deployment and its workload, as estimate takes them."""
    best = result.deployments[0]
    deployment = best.deployment
    yield from (f"--gpu {best.gpu}", f"--tp {deployment.tp}")
    sizes = ((name, getattr(deployment, name)) for name in ("pp", "dp", "ep", "dcp"))
    yield from (f"--{name} {value}" for name, value in sizes if value > 1)
    if deployment.dp_attention:
        yield "--dp-attention"
    yield f"-b {result.workload.batch}"
    if not result.question.mix:  # which stands in the command line that was typed
        yield f"-c {result.workload.context}"
