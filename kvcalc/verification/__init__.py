"""Verifying an estimate by building the cache for real. The first import of torch is behind `verify`."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.scenario.options import DEVICES

if TYPE_CHECKING:
    from kvcalc.scenario import Scenario
    from kvcalc.verification.progress import Progress
    from kvcalc.verification.result import Verification


TORCH = "torch>=2.6"
"""As the extra `verify` of pyproject.toml has it."""

_OLDEST = (2, 6)


def verify_scenario(
    scenario: Scenario,
    *,
    device: str = "auto",
    decode: bool = False,
    skip_unsupported: bool = False,
    boundary: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Allocate a scenario's cache and check every byte; under torchrun, every process one rank.

    Args:
        scenario: the model, the workload, the cache's formats; a deployment's tp and pp.
        device: where to allocate: meta (shapes only), cpu, cuda, or auto: cuda where there is a GPU, else cpu.
        decode: whether to fill the cache by prefill and decode from it on the CPU too; on CUDA it always is.
        skip_unsupported: whether kinds of layers that cannot be verified leave the others' verdict alone.
        boundary: whether to find the most sequences that allocate beside the rest of a rank; they are then verified.
        progress: is told how far things are.

    Raises:
        CannotRunError: no torch, no such device, or not enough memory there.
        KvcalcError: the scenario cannot be.
    """
    if device not in DEVICES:
        raise KvcalcError(f"--device: no device '{device[:40]}'; there are {', '.join(DEVICES)}")
    require_torch("verify")
    from kvcalc.verbs.searching.resolve import resolve
    from kvcalc.verification.host_memory import only_new_garbage  # torch from here on
    from kvcalc.verification.progress import silent
    from kvcalc.verification.run import run

    progress, scenario = progress or silent, resolve(scenario)
    if boundary and scenario.drafting is not None:
        raise KvcalcError("--boundary: is found of a model alone; leave --draft and --mtp out")
    with only_new_garbage():
        if not boundary:
            from kvcalc.verification.drafting import verify_both

            def alone(one: Scenario) -> Verification:
                return run(one, device, decode=decode, skip_unsupported=skip_unsupported, progress=progress)

            return verify_both(scenario, alone)
        from kvcalc.verification.boundary import find_boundary

        found = find_boundary(scenario, device)
        result = run(found.scenario, device, decode=decode, skip_unsupported=skip_unsupported, progress=progress)
    return replace(
        result,
        verified=result.verified and found.check.ok,
        checks=(*result.checks, found.check),
        rungs=(*result.rungs, found.rung),
    )


def require_torch(verb: str) -> None:
    """Refuse where PyTorch is missing, does not start or is too old.

    Args:
        verb: that needs it.

    Raises:
        CannotRunError: it does.
    """
    command = f"python -m pip install '{TORCH}'"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Failed to initialize NumPy")  # which nothing here needs
            import torch  # only where something is verified
    except ModuleNotFoundError as error:
        raise CannotRunError(
            f"{verb} needs PyTorch, which is not installed here: {command}",
            f"without a GPU, a smaller build does: {command} --index-url https://download.pytorch.org/whl/cpu",
        ) from error
    except (ImportError, OSError) as error:
        raise CannotRunError(f"{verb} needs PyTorch, which does not start here: {error}") from error
    version = tuple(int(part) for part in str(torch.__version__).split(".")[:2])
    if version < _OLDEST:
        raise CannotRunError(f"{verb} needs a newer PyTorch than {torch.__version__}: {command}")
