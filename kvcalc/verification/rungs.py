"""The rungs of a verification in words: what each proves, why one did not run, and what none of them shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.note import note
from kvcalc.verification.result import Rung
from kvcalc.verification.torchrun import processes_started

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.verification.devices import Device
    from kvcalc.verification.proof import Proof
    from kvcalc.verification.rank_report import RankReport

_NOTHING = "no layer that can be verified keeps anything"

NOT_PROVEN = (
    note(
        "engine-not-proven",
        "that a serving engine allocates the same: engines round to blocks, keep pools, and take formats of their own",
    ),
    note(
        "model-file-not-proven",
        "that the model's file describes the published model, and how its layers fall to pipeline stages",
    ),
    note("least-cache-not-proven", "that no smaller cache would do"),
)


def rungs(device: Device | None, proofs: Mapping[str, Proof], reports: list[RankReport]) -> tuple[Rung, ...]:
    """Which rungs ran, from the least to the most real. One ran only if it did on every rank."""
    return (
        Rung("shapes", ran=True, about="each layer's module stores the tensors that the formula counts, at full size"),
        _sufficient(proofs),
        _allocated(device, reports),
        _allocator(device, reports),
        _sharded(reports),
        _decoded(reports),
    )


def _sufficient(proofs: Mapping[str, Proof]) -> Rung:
    if not proofs:
        return Rung("sufficient", ran=False, about=_NOTHING)
    return Rung(
        "sufficient",
        ran=True,
        about="decoding from what is kept equals attention without a cache, in float64 with small widths; the oldest "
        "row and every element are used",
    )


def _allocated(device: Device | None, reports: list[RankReport]) -> Rung:
    if device is None:
        return Rung("allocated", ran=False, about="the meta device has no memory")
    if not any(any(report.held.values()) for report in reports):
        return Rung("allocated", ran=False, about=_NOTHING)
    return Rung("allocated", ran=True, about=f"every layer's cache was allocated on {device.kind} and written once")


def _allocator(device: Device | None, reports: list[RankReport]) -> Rung:
    if device is None or device.kind != "cuda":
        return Rung("allocator", ran=False, about="only CUDA's allocator has rules that are modelled")
    for report in reports:
        if report.no_allocator:
            return Rung("allocator", ran=False, about=f"not predicted{_where(report, reports)}: {report.no_allocator}")
    return Rung("allocator", ran=True, about="allocated and reserved bytes follow from the allocator's rules")


def _sharded(reports: list[RankReport]) -> Rung:
    if len(reports) == 1:
        return Rung("sharded", ran=False, about="one rank holds everything (--tp N, or torchrun, splits it)")
    how = "a process each" if processes_started() > 1 else "one after another in this process"
    return Rung("sharded", ran=True, about=f"{len(reports)} ranks, {how}: each holds its part, and the parts add up")


def _decoded(reports: list[RankReport]) -> Rung:
    for report in reports:
        if report.no_decode:
            return Rung("decoded", ran=False, about=f"{report.no_decode}{_where(report, reports)}")
    if not any(report.decoded for report in reports):
        return Rung("decoded", ran=False, about=_NOTHING)
    return Rung(
        "decoded",
        ran=True,
        about="the real cache was filled by prefill and decoded from; one sequence of each kind of layer was compared",
    )


def _where(report: RankReport, reports: list[RankReport]) -> str:
    return f" (rank {report.rank.number})" if len(reports) > 1 else ""
