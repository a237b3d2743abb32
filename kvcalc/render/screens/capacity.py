"""How a capacity looks: what is held, what one GPU holds at the limit, and what one more would lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.record import contents, keys
from kvcalc.render import Report
from kvcalc.render.screens.answer import cards, each_gpu, size
from kvcalc.render.screens.ending import next_line, not_modelled_line, not_modelled_list
from kvcalc.render.screens.question import count, lengths, question_grid, sequences
from kvcalc.render.screens.rank import rank_bar, rank_rows, total_row
from kvcalc.render.screens.tiers import pool_lines, tier_lines
from kvcalc.render.screens.tree import term_rows
from kvcalc.render.view import Bar, Block, Column, Command, Grid, Line, Lines, Row, Span, Tone, View, right
from kvcalc.term import Sum
from kvcalc.units import format_size, with_unit
from kvcalc.verbs.bounds.prefill import prompt_of
from kvcalc.verbs.requests.tiers import Handoff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verbs.capacity_result import Capacity


def capacity_report(result: Capacity, unit: str, *, explain: bool, command: str) -> Report:
    """One capacity: one line of CSV."""
    row = contents(result)
    row["mix"] = result.question.mix
    row["handoff"] = result.handoff or dict.fromkeys(keys(Handoff))
    del row["tiers"], row["pools"]
    row["gpus"] = result.gpus or {"gpu": None, "memory_bytes": None, "utilization": None, "usable_bytes": None}
    return Report(
        result, (row,), lambda: _view(result, unit, explain=explain, command=command), result.notes, unit=unit
    )


def _view(result: Capacity, unit: str, *, explain: bool, command: str) -> View:
    blocks = [*capacity_screen(result, unit, explain=explain, command=command)]
    if explain:
        blocks.append(capacity_formulas(result))
        blocks.extend(not_modelled_list(result.not_modelled, unit))
    return View(tuple(blocks))


def capacity_screen(result: Capacity, unit: str, *, explain: bool, command: str) -> Iterator[Block]:
    """The answer, the bar, the question, what is held at most, what a GPU holds then, and what else there is to say."""
    yield Lines((_answer(result, unit),))
    yield from _bar(result, unit)
    yield question_grid(result.question, unit)
    yield _held(result)
    yield _rank(result, unit, explain=explain)
    yield Lines(tuple(_further(result, unit, explain=explain, command=command)))


def capacity_formulas(result: Capacity) -> Grid:
    """Every term at the limit with its formula."""
    columns = (Column("term"), right("bytes"), Column("formula"), Column("in numbers"))
    return Grid(columns, tuple(term_rows(result.at_limit, 0)))


def _answer(result: Capacity, unit: str) -> Line:
    """'4 x h100-sxm, tensor parallel 4: 58 sequences of 8,192 tokens fit'."""
    most = result.total.sequences
    fit = f"{_number(most)} {sequences(result.question)} fit"
    if most in {0, 1}:
        fit = f"{'1' if most else 'no'} {sequences(result.question, 1)} fits"
    where = f"{size(result.cache_memory_bytes, unit)} for the cache"
    if result.gpus is not None:
        where = cards(result.deployment, result.gpus.gpu)
    tone = Tone.BAD if most == 0 else Tone.GOOD
    return Line((Span(f"{where}: ", Tone.STRONG), Span(fit, tone)), _used(result, unit))


def _used(result: Capacity, unit: str) -> str:
    """'72.30 of 72.85 GiB used on each GPU', as the table below sums it up."""
    if result.gpus is None:
        return ""
    total, usable = result.at_limit.bytes, result.gpus.usable_bytes
    each = f" on {each_gpu(result.gpus.gpu)}" if result.deployment.gpus > 1 else ""
    return f"{format_size(total, unit)} of {size(usable, unit)} {'used' if total <= usable else 'needed'}{each}"


def _bar(result: Capacity, unit: str) -> Iterator[Bar]:
    if result.gpus is not None and result.sequences is not None:
        yield rank_bar(result.at_limit, result.gpus.usable_bytes, unit)


def _held(result: Capacity) -> Grid:
    """Exact numbers: each fits, one more does not."""
    deployment, total = result.deployment, result.total
    context, batch = result.workload.context, result.workload.batch
    replicas = deployment.dp > 1
    columns = [Column("holds at most"), right("a replica" if replicas else "")]
    columns += [right(f"{deployment.dp:,} replicas")] if replicas else []

    def row(name: str, held: float | None, of_all: int | None, about: str) -> Row:
        cells = [name, _number(held)] + ([_number(of_all) if of_all is not None else ""] if replicas else [])
        return Row((*cells, about))

    of_each = f"of the mix, {lengths(result.question)}" if result.question.mix else f"of {count(context, 'token')}"
    rows = [row("sequences", result.sequences, total.sequences, f"{of_each}{_range(result)}")]
    of_tokens, of_concurrency = f"in sequences of at most {context:,}", "headroom / one sequence"
    if result.question.mix:
        of_tokens, of_concurrency = "of these requests, and the most beside them", "with the part of one more that fits"
    if result.blocks is not None:
        printed = f"as {result.question.engine} prints"
        where = "in its blocks" if result.question.engine.startswith("lmdeploy") else f"{printed} them"
        of_tokens = f"{where}, of requests of at most {context:,}"
        of_concurrency = "tokens / tokens of a request"
        if result.question.engine.startswith("vllm"):  # the one that prints it
            of_concurrency = f"{printed} it: blocks / blocks of a request"
        if any(each.code == "hisparse-host-pool" for each in result.notes):
            of_concurrency = "requests with hot sets, the last as its prompt is read"
        rows.append(row("blocks", result.blocks, None, f"of {count(result.block_size or 0, 'token')} on a rank"))
    rows += (
        row("tokens", result.tokens, total.tokens, of_tokens),
        row("longest context", result.max_context, None, f"of {count(deployment.sequences(batch), 'sequence')}"),
        row("concurrency", result.concurrency, None, of_concurrency),
    )
    if result.n_gpu_layers is not None:
        layers = f"of {result.model.layers + 1:,} with the output head, beside the workload"
        rows.append(row("layers on the GPU", result.n_gpu_layers, None, layers))
    if result.n_cpu_moe:
        about = f"of {result.model.layers:,} layers in host memory, for all else to fit"
        rows.append(row("or experts", result.n_cpu_moe, None, about))
    return Grid((*columns, Column("")), tuple(rows))


def _range(result: Capacity) -> str:
    low, high = result.sequences_at_temporary_high, result.sequences_at_temporary_low
    if low == high:
        return ""
    return f"; {_number(low)} to {_number(high)} over the range of temporary memory"


def _rank(result: Capacity, unit: str, *, explain: bool) -> Grid:
    """What one GPU holds at the limit."""
    columns = (Column("at the limit"), right(f"{unit} per GPU"), Column())
    usable = result.cache_memory_bytes if result.gpus is None else result.gpus.usable_bytes
    tree = Sum("rank", (result.at_limit,)) if result.gpus is None else result.at_limit
    rows = tuple(rank_rows(tree, result.temporary_seen, unit, all_terms=explain))
    return Grid(columns, (*rows, total_row(result.at_limit.bytes, usable, unit)))


def _further(result: Capacity, unit: str, *, explain: bool, command: str) -> Iterator[str | Line | Command]:
    low, high = result.cache_memory_low_bytes, result.cache_memory_high_bytes
    seen = f"; {format_size(low, unit)} to {size(high, unit)} over the ranges of temporary memory and overhead"
    line = with_unit(f"for the cache: {result.cache_memory_bytes:,} bytes of a GPU", unit)
    yield line if low == high else f"{line}{seen}"
    if result.one_more_lacks_bytes is not None:
        lacks = f"{result.one_more_lacks_bytes:,} bytes"
        yield with_unit(f"limited by memory: one sequence more lacks {lacks} on a GPU", unit)
    if result.limited_by == "sequences":
        yield f"limited by {result.question.engine}: it holds no more sequences on a replica, whatever its memory"
    workload, rate = result.scenario.workload, result.scenario.beside.requests_per_second
    prompt = prompt_of(result.scenario)
    yield from tier_lines(result.tiers, result.handoff, workload.context, prompt, unit)
    yield from pool_lines(result.pools, float(rate or 0))
    yield from not_modelled_line(result.not_modelled, explain=explain)
    yield from next_line(command, explain=explain)


def _number(value: float | None) -> str:
    if value is None:
        return "unbounded"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
