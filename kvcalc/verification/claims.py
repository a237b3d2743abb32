"""The rungs of a verification in words: what each proves, why one did not run, and what none of them shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.verification.result import Rung
from kvcalc.verification.torchrun import processes_started

if TYPE_CHECKING:
    from kvcalc.verification.devices import Device
    from kvcalc.verification.report import RankReport

NOT_PROVEN = (
    "that a serving engine allocates the same: engines round to blocks and keep pools",
    "that the model's file describes the published model: its figures have their source in it",
)


def rungs(device: Device | None, reports: list[RankReport]) -> tuple[Rung, ...]:
    """Which rungs ran, from the least to the most real."""
    first = reports[0]
    return (
        Rung("shapes", ran=True, about="each layer's module stores the tensors that the formula counts, at full size"),
        Rung(
            "sufficient",
            ran=True,
            about="decoding from what is kept equals attention without a cache, in float64 with small widths; and all "
            "of it is needed",
        ),
        _allocated(device),
        _allocator(device, first),
        _sharded(reports),
        _decoded(first),
    )


def _allocated(device: Device | None) -> Rung:
    if device is None:
        return Rung("allocated", ran=False, about="the meta device has no memory")
    return Rung("allocated", ran=True, about=f"every layer's cache was allocated on {device.kind} and written once")


def _allocator(device: Device | None, report: RankReport) -> Rung:
    if device is None or device.kind != "cuda":
        return Rung("allocator", ran=False, about="only CUDA's allocator has rules that are modelled")
    if report.no_allocator:
        return Rung("allocator", ran=False, about=f"not predicted: {report.no_allocator}")
    return Rung("allocator", ran=True, about="allocated and reserved bytes follow from the allocator's rules")


def _sharded(reports: list[RankReport]) -> Rung:
    if len(reports) == 1:
        return Rung("sharded", ran=False, about="one rank holds everything (--tp N, or torchrun, splits it)")
    how = "a process each" if processes_started() > 1 else "one after another in this process"
    return Rung("sharded", ran=True, about=f"{len(reports)} ranks, {how}: each holds its part, and the parts add up")


def _decoded(report: RankReport) -> Rung:
    if report.no_decode:
        return Rung("decoded", ran=False, about=report.no_decode)
    return Rung(
        "decoded",
        ran=True,
        about="the real cache was filled by prefill and decoded from; one sequence of each kind of layer was compared",
    )
