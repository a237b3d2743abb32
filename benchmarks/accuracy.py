"""Writes docs/accuracy.md: predictions beside what was allocated, what engines' code computes, and public logs.

`python benchmarks/accuracy.py` prints the page, `--write` writes it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from accuracy_cards import by_card, quantile
from accuracy_llama_cpp import llama_cpp
from accuracy_logs import GROUPS, PARTS, SHARED_WITH_THE_HOST, Compared, compared, first_sight
from accuracy_vectors import vectors

from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"

_ISSUE = re.compile(r"([\w.-]+/[\w.-]+)#(\d+)")

_OPENING = """\
# Accuracy

Written by `make accuracy`; a test compares it with what kvcalc predicts today. There are three kinds of evidence. They
prove different things, and are kept apart.

| kind | what it shows | what it does not show |
| --- | --- | --- |
| allocation | that tensors of these shapes take these bytes on a real device | that an engine allocates the same |
| an engine's code, run | that blocks, groups and printed tokens are the engine's | how much memory the engine finds |
| public logs | what these servers printed | anything of other versions, cards and models |

## 1. Proven by allocation

`kvcalc verify` builds the cache of a model and compares every byte with the estimate of the engine `exact`: a byte of
difference is a failure. What it proves, and reports of runs on a GPU, are in [verification.md](verification.md).
"""

_LOGS = """\
## 3. Public logs

Figures that servers of vLLM and SGLang printed as they started, in public places. `tests/data/vllm/logs.json` and
`tests/data/sglang/logs.json` have them with their sources; where no link is known, a stored file id is the number of
the file in the collection of public repositories that it was found in. Each is predicted from the settings that its log
or its post gives, else from the engine's defaults for that version and card. Nothing that a server printed enters but
the total memory of its card (of SGLang, which does not print it, what was free before loading), whether the server runs
under WSL, which has the whole of a card, whether it compiled or loaded what it compiled before (where the log was read
for that), and, in the last part, the memory of its cache.

*Known* logs were there before the first formula of temporary memory was written, and some constants rest on them.
*Later* logs were found after it. The rules have been mended since with both in view, so neither tells how far off the
next log will be. *Forks* are servers with kernels or formats that no release of vLLM has; kvcalc does not follow those.
Logs *with --moe-backend* name kernels for experts that vLLM does not choose itself; of those kvcalc
follows vLLM's own CUTLASS kernels for nvfp4, and counts the others as what vLLM chooses.

Three rows are no evidence for the rules, since what the log printed chose their inputs: v10 (what it drafted and shared
is told from its tokens), f15 (a model with an untied head is taken, as its weights need) and f24 (that its experts
alone are quantised is told from the kernels that the log names, and is a rule of that log alone).

Where a log does not say what its weights are stored in, what depends on them is left out: its weights, the memory of
its cache, its tokens.

A log that kvcalc refuses, or whose model it does not have, counts as a failure: it is worse than any error in the
median and in p90. `of the card` is the difference as a share of the memory that the engine uses of its card. Where a
range is predicted, the error is that of its usual figure; of temporary memory, where compiling decides it, that is the
most, of a start that compiles, unless the log says that it loaded what it compiled before. `as printed` counts figures
that round to what was printed; of tokens given the printed memory, those within the rounding of that memory.
"""


_RANGES = """
### Ranges

What takes the rest of a card cannot always be told from the settings: other processes, what the host does with memory
that it shares, what PyTorch's allocator keeps. kvcalc prints the memory of the cache with the least and the most that
this would leave. `within` counts the logs whose printed memory lies in that range, and `width` is its median as a share
of the memory that the engine uses of its card.

| cache memory of logs | figures | within | width |
| --- | ---: | ---: | ---: |
"""

_FIRST = """
### At first sight

Some of the later logs were found after all rules but the last. What kvcalc predicted of them before any rule was mended
in their view is kept with them (`first` in `tests/data/vllm/logs.json`). Of the newest of them, found in November 2026,
it is the best that is known of how far off the next log will be. The tables below have them among the later ones, as
they are predicted today.

| part | logs | figures | refused | median | p90 | worst | median of the card | p90 of the card |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""


def page() -> str:
    """The whole page."""
    found = compared()
    lines = [
        _OPENING,
        *vectors(),
        _LOGS,
        *_summary(found),
        _RANGES.rstrip("\n"),
        *_ranges(found),
        *by_card(found),
        _FIRST.rstrip("\n"),
        *_first_sight(),
    ]
    for part in PARTS:
        for group, rows in _groups(found, part):
            lines += [f"\n### {part[0].upper()}{part[1:]}: {group}\n", *_table(rows)]
    lines += [*_causes(found), *llama_cpp()]
    return "\n".join(lines).rstrip() + "\n"


def _first_sight() -> Iterator[str]:
    newest = {(part, f"{group}, newest"): seen for (part, group), seen in first_sight(newest=True).items()}
    for (part, group), seen in {**first_sight(), **newest}.items():
        errors, of_card = (sorted(abs(each) for each in of) for of in (seen.errors, seen.of_card))
        cells = [part, group, str(len(errors) + seen.refused), str(seen.refused)]
        cells += [quantile(errors, seen.refused, share) for share in (0.5, 0.9, 1.0)]
        cells += [quantile(of_card, seen.refused, share) if of_card else "" for share in (0.5, 0.9)]
        yield f"| {' | '.join(cells)} |"


def _groups(found: Sequence[Compared], part: str) -> Iterator[tuple[str, list[Compared]]]:
    for group in GROUPS:
        rows = [each for each in found if each.part == part and each.log.group == group]
        if rows:
            yield group, rows


def _summary(found: Sequence[Compared]) -> Iterator[str]:
    """Errors by part, and by when a log became known."""
    yield "| part | logs | figures | refused | as printed | median | p90 | worst | p90 of the card | too high |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for part in PARTS:
        for group, rows in _groups(found, part):
            yield f"| {' | '.join(_summary_cells(part, group, rows))} |"


def _ranges(found: Sequence[Compared]) -> Iterator[str]:
    """How often the memory of a cache lies in the range that is printed of it."""
    shared = "memory shared with the host"
    for group, rows in _groups(found, "cache memory"):
        for told in (group, f"{group}, {shared}"):
            of_kind = [each for each in rows if (each.log.card in SHARED_WITH_THE_HOST) is told.endswith(shared)]
            ranged = [each for each in of_kind if each.covered is not None]
            if ranged:
                width = median(each.width for each in ranged if each.width is not None)
                yield f"| {told} | {len(of_kind)} | {sum(bool(each.covered) for each in ranged)} | {width:.1%} |"


def _summary_cells(part: str, group: str, rows: Sequence[Compared]) -> Iterator[str]:
    yield from (part, group, str(len(rows)))
    refused = sum(each.refused is not None for each in rows)
    yield from (str(refused), str(sum(each.exact for each in rows)))
    errors = sorted(abs(each.error) for each in rows if each.error is not None)
    yield from (quantile(errors, refused, share) for share in (0.5, 0.9, 1.0))
    of_card = sorted(abs(each.of_card) for each in rows if each.of_card is not None)
    yield quantile(of_card, refused, 0.9) if of_card else ""
    off = [each.error for each in rows if each.error and not each.exact]
    yield f"{sum(error > 0 for error in off)} of {len(off)}"


def _table(rows: Sequence[Compared]) -> Iterator[str]:
    """The worst first; what is refused before that."""
    memory = rows[0].unit == "bytes"
    unit = "GiB" if memory else "tokens"
    yield f"| off | of the card | predicted, {unit} | printed | model | card | version | settings | log |"
    yield "| ---: | ---: | ---: | ---: | --- | --- | --- | --- | --- |"
    for each in sorted(rows, key=_badness):
        log = each.log
        off = "refused" if each.refused else _signed(each.error)
        predicted = "" if each.predicted is None else _number(each.predicted, memory=memory)
        if each.range is not None:
            predicted += f" ({' to '.join(_number(end, memory=memory) for end in each.range)})"
        cells = [off, _signed(each.of_card), predicted, _number(each.printed, memory=memory)]
        cells += [log.model, log.card, log.version, log.settings, _source(log.name, log.source)]
        yield f"| {' | '.join(cells)} |"


def _badness(each: Compared) -> tuple[bool, float, str]:
    return each.refused is None, -abs(each.error or 0.0), each.log.name


def _signed(share: float | None) -> str:
    return "" if share is None else f"{round(share, 4) or 0.0:+.2%}"


def _number(value: float, *, memory: bool) -> str:
    if not memory:
        return f"{value:,.0f}"
    return f"-{format_size(-round(value), 'GiB')}" if value < 0 else format_size(round(value), "GiB")


def _source(name: str, source: str) -> str:
    found = _ISSUE.match(source)
    return f"[{name}](https://github.com/{found[1]}/issues/{found[2]})" if found else f"{name}: {source}"


def _causes(found: Sequence[Compared]) -> Iterator[str]:
    """Why logs are refused, without what a user can do: how many names are in the catalogue changes."""
    refused = {each.log.name: (each.log.model, each.refused.split("; ")[0]) for each in found if each.refused}
    if refused:
        yield "\n### Why logs are refused\n"
        yield "| log | model | reason |"
        yield "| --- | --- | --- |"
        for name, (model, why) in refused.items():
            yield f"| {name} | {model} | {why} |"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())
