"""How a verification looks: claims with their verdicts, what was measured beside them, and what is not proven."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render import Report
from kvcalc.render.view import Column, Grid, Line, Lines, Row, Span, Tone, View, right
from kvcalc.units import format_size, with_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verification.result import Check, Measurement, Verification


def verification_report(result: Verification, unit: str) -> Report:
    """One verification: CSV has a line for each check."""
    return Report(result, result.checks, lambda: _view(result, unit), result.notes, unit=unit)


def _view(result: Verification, unit: str) -> View:
    workload, deployment = result.workload, result.deployment
    ranks = deployment.tp * deployment.pp
    question = (
        Row((result.model.name, " + ".join(result.model.mechanisms), f"{result.model.layers:,} layers")),
        Row(
            (
                f"{workload.batch:,} x {workload.context:,} tokens",
                f"cache in {result.cache_dtype}",
                "1 rank" if ranks == 1 else f"{ranks} ranks (tp {deployment.tp}, pp {deployment.pp})",
            )
        ),
        Row((result.device, result.device_name, f"torch {result.torch}")),
    )
    blocks: list[Grid | Lines] = [_verdict(result), Grid((Column(), Column(), Column()), question)]
    blocks.append(_checks(result.checks))
    if result.measurements:
        blocks.append(_measurements(result.measurements, unit))
    blocks += [_rungs(result, unit), Lines(tuple(with_unit(line, unit) for line in _not_verified(result)))]
    return View(tuple(blocks))


def _checks(checks: tuple[Check, ...]) -> Grid:
    columns = (
        Column("claim"),
        Column("of"),
        right("predicted"),
        right("measured"),
        Column("verdict"),
        Column("unit", drop=1),
    )
    return Grid(columns, tuple(_check(check) for check in checks))


def _check(check: Check) -> Row:
    relation = "" if check.relation == "=" else f"{check.relation} "
    verdict = "ok" if check.ok else "DIFFERS"
    return Row(
        (
            check.name,
            check.subject,
            f"{relation}{_number(check.predicted)}",
            "nothing" if check.measured is None else _number(check.measured),
            verdict,
            check.unit,
        ),
        tone=Tone.PLAIN if check.ok else Tone.BAD,
    )


def _measurements(measurements: tuple[Measurement, ...], unit: str) -> Grid:
    columns = (
        Column("measured"),
        Column("of"),
        right("expected"),
        right("found"),
        Column("unit"),
        Column("about", drop=1),
    )
    return Grid(columns, tuple(_measurement(measurement, unit) for measurement in measurements))


def _measurement(measurement: Measurement, unit: str) -> Row:
    in_bytes = measurement.unit == "bytes"

    def shown(value: float | None) -> str:
        if value is None:
            return ""
        return format_size(int(value), unit) if in_bytes else _number(value)

    return Row(
        (
            measurement.name,
            measurement.subject,
            shown(measurement.expected),
            shown(measurement.measured),
            unit if in_bytes else measurement.unit,
            with_unit(measurement.about, unit),
        )
    )


def _rungs(result: Verification, unit: str) -> Grid:
    rows = tuple(
        Row((rung.name, "ran" if rung.ran else "not run", with_unit(rung.about, unit))) for rung in result.rungs
    )
    return Grid((Column("rung"), Column(""), Column("proves, or why not")), rows)


def _verdict(result: Verification) -> Lines:
    verdict, tone = ("verified", Tone.GOOD) if result.verified else ("NOT verified", Tone.BAD)
    return Lines((Line((Span(verdict, tone), Span(f": {result.summary}"))),))


def _not_verified(result: Verification) -> Iterator[str]:
    for unsupported in result.unsupported:
        yield f"not verified: {unsupported.subject}: {unsupported.reason}"
    yield "not proven here:"
    yield from (f"- {each.text}" for each in result.not_proven)


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:g}"  # noqa: PLR2004  # a figure that a person can read
