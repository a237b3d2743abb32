"""How lists and cards look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render import Report
from kvcalc.render.view import Column, Grid, Lines, Row, Verbatim, View, right
from kvcalc.units import format_size, with_unit

if TYPE_CHECKING:
    from kvcalc.verbs.listing.catalogue import GpuCard, GpuList, ModelCard, ModelList, ModelRow


_KEEP_NOTHING = {"none", "shared"}
ROUNDED_UP = 0.9995
"""The least that three figures round up to 1: 999,885,952 is 1B."""

SIZES = "GiB"
"""The unit of memory beside bytes of a token, which are too few for it."""


def models_report(result: ModelList, unit: str) -> Report:
    """Every model, a row each."""
    return Report(result, result.models, lambda: _models_view(result, unit), result.notes)


def model_report(result: ModelCard) -> Report:
    """One model, as its file has it."""
    view = View((Verbatim(result.text, "yaml"),))
    return Report(result, [result.model], lambda: view)


def gpus_report(result: GpuList, unit: str) -> Report:
    """Every accelerator, a row each."""
    return Report(result, result.gpus, lambda: _gpus_view(result, unit))


def gpu_report(result: GpuCard, unit: str) -> Report:
    """One accelerator, a row for each field."""
    return Report(result, [result.gpu], lambda: _gpu_view(result, unit))


def _models_view(result: ModelList, unit: str) -> View:
    """Beside a model and its cache what was asked about: its context, or its memory on an accelerator."""
    in_words = "bytes" if unit == "B" else unit
    sizes = SIZES if unit == "B" else unit
    asked = (right("max context"),) if result.gpu is None else (right(f"{sizes} used"), right("sequences"))
    rate = right(f"{in_words}/token", drop=1)
    columns = (Column("model", shorten=True), Column("kind", drop=2), right("size"), rate, *asked)
    rows = tuple(
        Row(
            (
                row.name,
                " + ".join(kind for kind in row.mechanisms if kind not in _KEEP_NOTHING),
                short(row.parameters),
                format_size(row.bytes_per_token, unit),
                *((_number(row.max_context),) if result.gpu is None else _on_accelerator(row, sizes)),
            )
        )
        for row in result.models
    )
    where = "" if result.gpu is None else f" that fit one {result.gpu}"
    many = "model" if len(rows) == 1 else "models"
    next_step = "kvcalc models show NAME" if rows else "kvcalc models list"
    grid = (Grid(columns, rows),) if rows else ()
    return View((*grid, Lines((f"{len(rows)} {many}{where}; {next_step}",))))


def _on_accelerator(row: ModelRow, unit: str) -> tuple[str, str]:
    used = format_size(row.bytes_per_gpu or 0, unit)
    return f"{used} tight" if row.tight else used, "any" if row.sequences is None else f"{row.sequences:,}"


def short(parameters: int | None) -> str:
    """671,026,419,200 as 671B."""
    if parameters is None:
        return "?"
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if parameters >= ROUNDED_UP * size:
            return f"{parameters / size:.3g}{letter}"
    return f"{parameters:,}"


def _gpus_view(result: GpuList, unit: str) -> View:
    columns = (
        Column("gpu"),
        Column("is", drop=1),
        right(unit),
        Column("reported by", drop=3),
        right("GB/s"),
        right("per node", drop=4),
        Column("also called", drop=2, at_commas=True),
    )
    rows = tuple(
        Row(
            (
                row.name,
                row.title or "",
                "?" if row.memory_bytes is None else format_size(row.memory_bytes, unit),
                row.memory_from or "not known: --gpu-memory",
                "?" if row.memory_bandwidth_gb_per_s is None else f"{row.memory_bandwidth_gb_per_s:,g}",
                _number(row.gpus_per_node),
                ", ".join(row.aliases),
            )
        )
        for row in result.gpus
    )
    grid = (Grid(columns, rows),) if rows else ()
    none = "no accelerator has that word in its name, vendor or architecture; kvcalc gpus list has all"
    return View((*grid, Lines((f"{result.brief}; kvcalc gpus show NAME" if rows else none,))))


def _gpu_view(result: GpuCard, unit: str) -> View:
    rows = tuple(Row((key, _value(key, value, unit))) for key, value in result.gpu.items())
    slices = (Row(("slices", ", ".join(result.slices))),) if result.slices else ()
    return View((Grid((Column(), Column()), (*rows, *slices)),))


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _value(key: str, value: object, unit: str) -> str:
    if key.endswith("_bytes"):
        return with_unit(f"{value:,} bytes", unit)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:,g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
