"""How an estimate looks: whether it fits, where every byte of a GPU goes, and what else would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.screens.answer import cards, each_gpu, headline, size, small
from kvcalc.render.screens.decode import decode_lines
from kvcalc.render.screens.ending import next_line, not_modelled_line
from kvcalc.render.screens.estimate_terms import estimate_formulas
from kvcalc.render.screens.prefill import prefill_line
from kvcalc.render.screens.question import count, question_grid, sequences, workload
from kvcalc.render.screens.rank import rank_bar, rank_rows, total_row
from kvcalc.render.screens.tiers import pool_lines, tier_lines
from kvcalc.render.view import Bar, Block, Column, Command, Grid, Line, Lines, Row, Span, Tone, View, right
from kvcalc.units import format_size, with_unit
from kvcalc.verbs.bounds.prefill import prompt_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verbs.estimate_result import Estimate, RankResult


TIGHT = "tight"
"""The code of the note that says how much temporary memory may take."""


def estimate_view(result: Estimate, unit: str, *, explain: bool = False, command: str = "") -> View:
    """The screen of one estimate.

    Args:
        result: to be shown.
        unit: of sizes.
        explain: whether the tree of terms stands below it.
        command: to type next.
    """
    blocks = [*estimate_screen(result, unit, explain=explain, command=command)]
    if explain:
        blocks += estimate_formulas(result, unit)
    return View(tuple(blocks))


def estimate_screen(result: Estimate, unit: str, *, explain: bool, command: str) -> Iterator[Block]:
    """The answer, the bar, the question, what a GPU holds, and what else there is to say."""
    rank = result.shown_rank
    yield Lines(tuple(_answer(result, rank, unit)))
    yield from _bar(result, rank, unit)
    yield question_grid(result.question, unit)
    yield _rank_grid(result, rank, unit, explain=explain)
    yield Lines(tuple(_further(result, unit, explain=explain, command=command)))


def _answer(result: Estimate, rank: RankResult, unit: str) -> Iterator[Line | str]:
    answer = result.answer
    yield headline(cards(answer.deployment, answer.gpu), answer.state, _used(result, rank, unit))
    yield _cache(result, unit)
    if answer.tight:
        yield Line((Span("tight", Tone.CLOSE), Span(f": {_why_tight(result, rank, unit)}")))


def _used(result: Estimate, rank: RankResult, unit: str) -> str:
    """'56.05 of 72.85 GiB used on each GPU'; what the table below sums up."""
    total, usable = rank.total_bytes, result.gpus.usable_bytes
    if total is None:
        return ""
    if _fullest_differs(rank):
        least = rank.least_headroom_bytes or 0
        return f"{size(abs(least), unit)} {'free' if least >= 0 else 'too much'} on the fullest GPU"
    verb = "used" if total <= usable else "needed"
    where = f" on {each_gpu(result.gpus.gpu)}" if result.answer.gpus > 1 else ""
    return f"{format_size(total, unit)} of {size(usable, unit)} {verb}{where}"


def _fullest_differs(rank: RankResult) -> bool:
    return rank.least_headroom_bytes is not None and rank.least_headroom_bytes != rank.headroom_bytes


def _why_tight(result: Estimate, rank: RankResult, unit: str) -> str:
    """How much temporary memory the deployment holds, and how much there may be."""
    usual = size(rank.temporary_bytes, unit)
    most = size(max(result.temporary_seen or (rank.temporary_bytes,)), unit)
    held = next((each.data["temporary_bytes"] for each in result.notes if each.code == TIGHT), None)
    within = f"while temporary memory stays within {size(held, unit)}" if isinstance(held, int) else "with less"
    return f"holds only {within}; {usual} is usual, {most} the most observed"


def _cache(result: Estimate, unit: str) -> str:
    """'KV cache 80.00 GiB for 32 sequences x 8,192 tokens: 2.50 GiB each, 320 KiB a token'."""
    cache, asked = result.cache, result.question.deployment
    what = "KV cache" if cache.bytes_per_token else "cache"
    whole = f"{what} {size(cache.one_copy_bytes, unit)} for {workload(result.question)}"
    if result.question.mix:
        return f"{what} {_of_mix(result, unit)}"
    if asked is not None and asked.dp > 1:
        held = f"{asked.sequences(result.workload.batch):,}"
        whole = (
            f"{what} {size(cache.one_copy_bytes, unit)} a replica, which holds {held} of {workload(result.question)}"
        )
    if cache.bytes != cache.one_copy_bytes:
        whole += f", {size(cache.bytes, unit)} with copies"
    each = size(cache.bytes_per_sequence, unit)
    token = f"{small(cache.bytes_per_token, unit)} a token"
    if asked is not None and asked.ranks > 1:
        return f"{whole}; on {each_gpu(result.gpus.gpu)} {each} a sequence, {token}"
    return f"{whole}: {each} each, {token}" if result.workload.batch > 1 else f"{whole}: {token}"


def _of_mix(result: Estimate, unit: str) -> str:
    """'30.24 GiB on average, 30.98 GiB at the peak, for 20 requests of 2,548 to 131,072 tokens: ...'."""
    cache, asked = result.cache, result.question.deployment
    held = f"{size(cache.bytes, unit)} on average, {size(cache.peak_bytes, unit)} at the peak,"
    if cache.bytes == cache.peak_bytes:
        held = size(cache.bytes, unit)
    of_all = " a replica" if asked is not None and asked.dp > 1 else ""
    half, most = size(cache.percentiles.p50, unit), size(cache.percentiles.p99, unit)
    return f"{held}{of_all} for {workload(result.question)}; half of them take at most {half} each, 99 % at most {most}"


def _bar(result: Estimate, rank: RankResult, unit: str) -> Iterator[Bar]:
    if rank.total_bytes is not None:
        yield rank_bar(rank.tree, result.gpus.usable_bytes, unit)


def _rank_grid(result: Estimate, rank: RankResult, unit: str, *, explain: bool) -> Grid:
    columns = (Column(), right(f"{unit} per GPU"), Column())
    rows = list(rank_rows(rank.tree, result.temporary_seen, unit, all_terms=explain))
    if rank.total_bytes is None:
        rows.insert(0, Row(("weights", "?", "not known: --weights SIZE or --parameters N")))
        rows.append(Row(("total", "?", "needs the weights")))
    else:
        total = total_row(rank.total_bytes, result.gpus.usable_bytes, unit)
        if _fullest_differs(rank):
            left, where = total.cells[-1], "on the GPU with the most cache"
            total = total._replace(cells=(*total.cells[:-1], f"{left} {where}; {_used(result, rank, unit)}"))
        rows.append(total)
    return Grid(columns, tuple(rows))


def _further(result: Estimate, unit: str, *, explain: bool, command: str) -> Iterator[str | Line | Command]:
    gpus = result.gpus
    yield with_unit(_exact_cache(result), unit)
    yield from _gpu_counts(result)
    if gpus.most_sequences:
        yield _sequences(result)
    if result.spill is not None:
        of_rank, of_replica = result.spill.bytes_per_rank, result.spill.bytes
        more = "" if of_replica == of_rank else f", {size(of_replica, unit)} of a replica's"
        yield f"spill: {size(of_rank, unit)} of each GPU's cache goes to host memory{more}"
    workload, rate = result.scenario.workload, result.scenario.beside.requests_per_second
    prompt = prompt_of(result.scenario)
    yield from tier_lines(result.tiers, result.handoff, workload.context, prompt, unit)
    yield from pool_lines(result.pools, float(rate or 0))
    if result.decode is not None:
        yield from decode_lines(result.decode)
    if result.measured is not None:
        yield result.measured.words
    if result.prefill is not None:
        yield prefill_line(result.prefill)
    yield from not_modelled_line(result.not_modelled, explain=explain)
    yield from next_line(command, explain=explain)


def _exact_cache(result: Estimate) -> str:
    """The cache in bytes, and what a token adds; of one copy where no deployment is asked for."""
    cache, asked = result.cache, result.question.deployment
    token = f"{count(cache.bytes_per_token, 'byte')} a token"
    if cache.bytes_per_token_at_context != cache.bytes_per_token:
        token += f" until windows are full, then {count(cache.bytes_per_token_at_context, 'byte')}"
    if cache.state_bytes_per_sequence:
        token += f", and {cache.state_bytes_per_sequence:,} bytes a sequence whatever its context"
    if asked is None or asked.gpus == 1:
        peak = f" on average, {cache.peak_bytes:,} bytes at the peak" if cache.peak_bytes != cache.bytes else ""
        return f"cache: {cache.bytes:,} bytes{peak}; {token}"
    if cache.bytes == cache.one_copy_bytes:
        return f"cache: {cache.bytes:,} bytes on the {count(asked.ranks, 'GPU')} of a replica; on one of them {token}"
    return (
        f"cache: {cache.bytes:,} bytes on the {count(asked.ranks, 'GPU')} of a replica, {cache.one_copy_bytes:,} bytes "
        f"in one copy; on one of them {token}"
    )


def _gpu_counts(result: Estimate) -> Iterator[str]:
    """The smallest deployment where another was asked for, and the articles' lower bound where it is one."""
    gpus = result.gpus
    if gpus.by_memory is None:
        return
    told = []
    if gpus.deployment is None:
        told.append("no legal deployment holds the workload")
    elif gpus.deployment != result.answer.deployment:
        tight = ", tight" if gpus.count_tight else ""
        told.append(f"{gpus.count:,} in the smallest legal deployment ({gpus.deployment}{tight})")
    if gpus.count is None or gpus.by_memory <= gpus.count:
        told.append(f"at least {gpus.by_memory:,} by memory alone (total / usable)")
    if told:
        yield f"GPUs: {', '.join(told)}"
    if result.question.deployment is None and result.scenario.model.is_mixture_of_experts:
        yield "the smallest by tensor and pipeline parallelism; kvcalc plan also tries others, such as --dp-attention"


def _sequences(result: Estimate) -> str:
    """'sequences of 8,192 tokens that fit: 3 on 2 GPUs, 58 on 4, 168 on 8'."""
    answer, listed = result.answer, result.gpus.most_sequences
    usual = ", with the usual temporary memory" if (answer.sequences or 0) < result.workload.batch else ""
    by_tp = ", ".join(
        f"{most.sequences:,} on {most.gpus:,}" if index else f"{most.sequences:,} on {count(most.gpus, 'GPU')}"
        for index, most in enumerate(listed)
    )
    what = f"{sequences(result.question)} that fit{usual}"
    plain = str(answer.deployment) == f"tp {answer.deployment.tp}"
    if plain or answer.sequences is None:
        return f"{what}: {by_tp}"
    return f"{what}: {answer.sequences:,} on these {count(answer.gpus, 'GPU')}; with tensor parallelism alone {by_tp}"
