"""How lists and cards look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render import Report
from kvcalc.render.view import Column, Grid, Lines, Row, Verbatim, View, right
from kvcalc.units import format_size, with_unit

if TYPE_CHECKING:
    from kvcalc.verbs.listing import GpuCard, GpuList, ModelCard, ModelList


def models_report(result: ModelList, unit: str) -> Report:
    """Every model, a row each."""
    return Report(result, result.models, lambda: _models_view(result, unit))


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
    in_words = "bytes" if unit == "B" else unit
    columns = (
        Column("model"),
        Column("mechanisms"),
        right("layers"),
        right(f"{in_words} per token"),
        right(f"state {in_words}"),
        Column("cache in"),
        right("parameters"),
        right("max context"),
    )
    rows = tuple(
        Row(
            (
                row.name,
                " + ".join(row.mechanisms),
                f"{row.layers:,}",
                format_size(row.bytes_per_token, unit),
                format_size(row.state_bytes_per_sequence, unit) if row.state_bytes_per_sequence else "",
                row.dtype,
                _number(row.parameters),
                _number(row.max_context),
            )
        )
        for row in result.models
    )
    return View((Grid(columns, rows), Lines((f"{len(rows)} models; kvcalc models show NAME",))))


def _gpus_view(result: GpuList, unit: str) -> View:
    columns = (
        Column("gpu"),
        Column("is"),
        right(unit),
        Column("reported by"),
        right("GB/s"),
        right("per node"),
        Column("also called"),
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
    return View((Grid(columns, rows), Lines((f"{len(rows)} accelerators; kvcalc gpus show NAME",))))


def _gpu_view(result: GpuCard, unit: str) -> View:
    rows = tuple(Row((key, _value(key, value, unit))) for key, value in result.gpu.items())
    return View((Grid((Column(), Column()), rows),))


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
