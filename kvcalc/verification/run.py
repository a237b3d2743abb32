"""The order of a verification: a proof in float64, shapes, real memory on each rank, then the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kvcalc.reference import KeepsNothing, reference_of
from kvcalc.verification.devices import choose_device
from kvcalc.verification.measurements import used_by_gpu
from kvcalc.verification.processes import processes
from kvcalc.verification.proof import combine, compute, made_small, prove
from kvcalc.verification.rank_report import memory_errors_explained, real_report, shape_report
from kvcalc.verification.scope import scope_of
from kvcalc.verification.verdict import verdict

if TYPE_CHECKING:
    from kvcalc.scenario import Scenario
    from kvcalc.verification.devices import Device
    from kvcalc.verification.processes import Processes
    from kvcalc.verification.progress import Progress
    from kvcalc.verification.proof import Part, Proof
    from kvcalc.verification.rank_report import RankReport
    from kvcalc.verification.result import Verification
    from kvcalc.verification.scope import Rank, Scope


def run(
    scenario: Scenario, device_name: str, *, decode: bool, skip_unsupported: bool, progress: Progress
) -> Verification:
    """Verify; see `kvcalc.verification.verify_scenario`."""
    scope = scope_of(scenario)
    with processes(scope.deployment.tp, scope.deployment.pp) as team:
        # Where CUDA has started, what was used before cannot be found any more.
        started: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch has no type for it
        used_before = {} if started or device_name in {"meta", "cpu"} else used_by_gpu()
        device = team.together(lambda: choose_device(device_name, team.local_index))
        with memory_errors_explained():
            proofs = _proofs(scope, team, device, progress)
        reports = team.together(
            lambda: [_report(scope, rank, device, decode, used_before, progress) for rank in team.ranks(scope)]
        )
        everyone = [report for own in team.gather(reports) for report in own]
        return verdict(scope, device, proofs, everyone, skip_unsupported=skip_unsupported)


def _proofs(scope: Scope, team: Processes, device: Device | None, progress: Progress) -> dict[str, Proof]:
    """A proof for each kind of layer that keeps something; GPUs add up their ranks' parts over their own network."""
    parts = team.together(lambda: _parts(scope, team, progress))
    send_from = torch.device("cpu") if device is None else device.torch_device
    mine = {label: prove(part, team.add_up(part.outputs_BTD, send_from)) for label, part in parts.items()}
    everyone = team.gather(mine)
    return {label: combine([proofs[label] for proofs in everyone]) for label in parts}


def _parts(scope: Scope, team: Processes, progress: Progress) -> dict[str, Part]:
    """What this process's ranks compute of each kind. Every stage's ranks do so for all kinds."""
    kinds = [layer for layer in scope.kinds if reference_of(layer.attention) is not KeepsNothing]
    places = [rank.place for rank in team.ranks(scope) if rank.stage == team.ranks(scope)[0].stage]
    tp = scope.deployment.tp
    parts: dict[str, Part] = {}
    known: dict[object, Part] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices this small lose more to threads that wait for each other than they win
    try:
        for done, layer in enumerate(kinds):
            progress("proving", done, len(kinds))
            small = made_small(layer, tp)
            part = known[small] = known.get(small) or compute(layer, tp, places)
            parts[layer.label] = part._replace(outputs_BTD=part.outputs_BTD.clone())  # to which others' are added
    finally:
        torch.set_num_threads(threads)
    progress("proving", len(kinds), len(kinds))
    return parts


def _report(
    scope: Scope, rank: Rank, device: Device | None, decode: bool, used_before: dict[str, int], progress: Progress
) -> RankReport:
    if device is None:
        return shape_report(scope, rank)._replace(no_decode="the meta device has no memory")
    decoding = decode or device.kind == "cuda"
    return real_report(scope, rank, device, decoding=decoding, used_before=used_before, progress=progress)
