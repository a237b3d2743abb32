"""The verdict: what the ranks found, beside what the formulas say."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from kvcalc.deployment import heads_on_rank
from kvcalc.note import Note, note
from kvcalc.scenario import compute_format
from kvcalc.verbs.estimate import estimate
from kvcalc.verbs.notes.of_models import context_above_max_context
from kvcalc.verification.default_formats import default_formats, formats_asked_for
from kvcalc.verification.devices import Cuda
from kvcalc.verification.measurements import round_trips
from kvcalc.verification.proof import NEEDED, TOLERANCE
from kvcalc.verification.result import Check, Measurement, Verification, at_least, at_most, exactly
from kvcalc.verification.rungs import NOT_PROVEN, rungs
from kvcalc.verification.shapes import COMPUTES_IN
from kvcalc.verification.torchrun import processes_started

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.model.layers import Layer
    from kvcalc.verification.devices import Device
    from kvcalc.verification.proof import Proof
    from kvcalc.verification.rank_report import RankReport
    from kvcalc.verification.scope import Scope


def verdict(
    scope: Scope,
    device: Device | None,
    proofs: Mapping[str, Proof],
    reports: list[RankReport],
    *,
    skip_unsupported: bool,
) -> Verification:
    """Every claim with its verdict.

    Args:
        scope: what was verified.
        device: where; None for shapes alone.
        proofs: of each kind of layer, by label.
        reports: of every rank of a replica.
        skip_unsupported: whether kinds that could not be verified leave the verdict alone.
    """
    result = estimate(scope.scenario)
    checks = (
        *_tensors(scope, reports),
        *default_formats(scope),
        *_proved(proofs),
        *_kinds(scope, reports),
        *_ranks(scope, reports),
        *_whole(scope, result.cache.bytes, reports),
        *(check for report in reports for check in report.allocator),
        *_decoded(reports),
    )
    complete = not scope.unsupported or skip_unsupported
    return Verification(
        verified=complete and bool(scope.kinds) and all(check.ok for check in checks),
        device=device.kind if device else "meta",
        device_name=device.name if device else "no memory, shapes only",
        torch=str(torch.__version__),
        model=result.model,
        workload=result.workload,
        engine=result.engine,
        engine_version=result.engine_version,
        deployment=result.deployment,
        cache_dtype=scope.scenario.cache_format.name,
        checks=checks,
        measurements=(*round_trips(scope), *_measurements(device, reports)),
        rungs=rungs(device, proofs, reports),
        unsupported=scope.unsupported,
        not_proven=(*NOT_PROVEN, *formats_asked_for(scope)),
        notes=tuple(_notes(scope)),
    )


def _tensors(scope: Scope, reports: list[RankReport]) -> Iterator[Check]:
    """What a token or a sequence adds to each tensor, on the first rank that differs from the formula, if one does."""
    for layer in scope.kinds:
        on_ranks = [report.elements[layer.label] for report in reports if layer.label in report.elements]
        predicted = _elements(layer, scope.deployment.tp)
        tensors = layer.attention.cached()
        together = {each.name: f" of {each.tokens_per_row:,} tokens together" for each in tensors if each.every}
        names = dict.fromkeys([*predicted, *(name for elements in on_ranks for name in elements)])
        for name in names:
            expected = predicted.get(name, 0)
            found = [elements.get(name, 0) for elements in on_ranks]
            differing = next((elements for elements in found if elements != expected), expected) if found else None
            per = f"kept per {layer.attention.kept_per}"
            yield exactly(per, f"{layer.label}: {name}", expected, differing, f"elements{together.get(name, '')}")


def _elements(layer: Layer, tp: int) -> dict[str, int]:
    return {
        tensor.name: tensor.head_elements
        * (1 if tensor.heads is None else heads_on_rank(tensor.heads.value, tp))
        * (1 if tensor.rows is None else tensor.rows.value)
        for tensor in layer.attention.cached()
    }


def _proved(proofs: Mapping[str, Proof]) -> Iterator[Check]:
    for label, proof in proofs.items():
        subject = f"{label}: {proof.problem}" if proof.problem else label
        yield at_most("sufficient", subject, TOLERANCE, proof.difference, "difference from attention without a cache")
        yield at_least("needed", subject, NEEDED, proof.least_change, "change where something kept is left out")


def _kinds(scope: Scope, reports: list[RankReport]) -> Iterator[Check]:
    """Bytes of all layers of a kind, on all ranks."""
    for layer, count in scope.kinds.items():
        predicted = scope.content_bytes({layer: count}) * scope.deployment.tp
        held = sum(report.held.get(layer.label, 0) for report in reports)
        yield exactly("bytes of layers", f"{count:,} x {layer.label}", predicted, held)


def _ranks(scope: Scope, reports: list[RankReport]) -> Iterator[Check]:
    if len(reports) == 1:
        return
    for report in reports:
        predicted = scope.rank_bytes(report.rank)
        subject = f"rank {report.rank.number} of {len(reports)}"
        yield exactly("bytes of rank", subject, predicted, sum(report.held.values()))


def _whole(scope: Scope, reserved: int, reports: list[RankReport]) -> Iterator[Check]:
    """The whole cache: that the layers hold their content, and that the engine reserves no less.

    The engine `exact` reserves the content alone, so its figure must be what is held. Where some kinds of layers cannot
    be verified, the content of the others is compared instead.

    Args:
        scope: what was verified.
        reserved: by the scenario's engine for the whole cache, as `kvcalc estimate` has it.
        reports: of every rank.
    """
    engine, content = scope.scenario.engine.name, scope.content_bytes(scope.kinds) * scope.deployment.tp
    held = sum(sum(report.held.values()) for report in reports)
    whole = f"{scope.scenario.model.name}, {scope.sequences:,} x {scope.context:,} tokens"
    if scope.unsupported:
        yield exactly("cache bytes", f"{whole}, without the layers that are not verified", content, held)
    else:
        yield exactly("cache bytes", whole, reserved if scope.scenario.engine.plain else content, held)
    if not scope.scenario.engine.plain:
        yield at_least("reserved", f"{whole}, by engine {engine}", content, reserved, "bytes")


def _decoded(reports: list[RankReport]) -> Iterator[Check]:
    for report in reports:
        where = f", rank {report.rank.number}" if len(reports) > 1 else ""
        for label, decoded in report.decoded.items():
            yield exactly("finite", f"{label}{where}", 1, int(decoded.finite), "all outputs of decoding are numbers")
            yield at_most(
                "decoded",
                f"{label}{where}",
                decoded.tolerance,
                decoded.difference if math.isfinite(decoded.difference) else None,
                f"difference from attention without a cache, after {decoded.tokens:,} tokens",
            )


def _measurements(device: Device | None, reports: list[RankReport]) -> Iterator[Measurement]:
    """Every GPU's; where ranks share a device, the first one's."""
    for report in reports if isinstance(device, Cuda) and processes_started() > 1 else reports[:1]:
        where = f"rank {report.rank.number}: " if len(reports) > 1 else ""
        for measurement in report.measurements:
            yield replace(measurement, subject=f"{where}{measurement.subject}")


def _notes(scope: Scope) -> Iterator[Note]:
    scenario = scope.scenario
    yield from scenario.notes
    model, computing = scenario.model, compute_format(scenario.model).name
    if computing not in COMPUTES_IN:
        yield note(
            "modules-compute-in-bf16",
            f"the modules compute in bf16, since torch does not in {computing}",
            dtype=computing,
        )
    if model.hidden_size is None:
        yield note(
            "default-hidden-size",
            "hidden_size is not in the model's file: 4,096 is used for the projections; it never enters the cache",
            hidden_size=4096,
        )
    if model.max_context is not None and scope.context > model.max_context:
        yield context_above_max_context(scope.context, model.max_context)
