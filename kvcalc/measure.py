"""kvcalc from Python: what is measured on this machine instead of computed. Both functions need torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from kvcalc.errors import KvcalcError
from kvcalc.scenario.make import exact_unless_asked, scenario_of
from kvcalc.scenario.option import accepts, given_of, options_of, read_options, split_options
from kvcalc.scenario.options import (
    BenchOptions,
    MeasuredOptions,
    Measurement,
    Memory,
    Proof,
    VerifiedOptions,
    VerifyOptions,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario
    from kvcalc.speed.result import Bench
    from kvcalc.verification.result import Verification

    AnyModel = Model | str | Path | Scenario


@accepts(VerifyOptions)
def verify(
    model: AnyModel | None = None,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Unpack[VerifyOptions],
) -> Verification:
    """Allocate a cache for real and check every byte: `verify("llama-3-8b", device="cpu").verified`.

    Args:
        model: a scenario, or what `make_scenario` takes.
        progress: is told what is being done, how much of it, of how much.
        options: as below.

    Raises:
        CannotRunError: no torch, no such device, or no memory for the cache there.
        KvcalcError: anything that cannot be, with the option named.
    """
    from kvcalc.verification import verify_scenario

    asked, how = split_options(VerifiedOptions, options)
    read = read_options(Proof, how)
    _refuse_beside_the_cache(asked, boundary=read["boundary"])
    return verify_scenario(scenario_of(model, {**exact_unless_asked(model), **asked}), progress=progress, **read)


@accepts(BenchOptions)
def bench(
    model: AnyModel | None = None,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Unpack[BenchOptions],
) -> Bench:
    """Measure one decode step of a layer under each mechanism: `bench("llama-3-8b", batch=16).fastest.mechanism`.

    Args:
        model: a scenario, or what `make_scenario` takes.
        progress: is told what is being done, how much of it, of how much.
        options: as below.

    Raises:
        CannotRunError: no torch, no such device, no memory, or times that spread too far to mean anything.
        KvcalcError: anything that cannot be, with the option named.
    """
    from kvcalc.speed import bench_scenario

    asked, how = split_options(MeasuredOptions, options)
    scenario = scenario_of(model, {**exact_unless_asked(model), **asked})
    return bench_scenario(scenario, **read_options(Measurement, how), progress=progress)


def _refuse_beside_the_cache(asked: Mapping[str, Any], *, boundary: bool) -> None:
    """--boundary alone looks at what stands beside the cache, and finds the batch itself."""
    given = given_of(asked)
    if boundary and "batch" in given:
        raise KvcalcError("--batch: --boundary finds the most sequences itself")
    for name in ("gpu_memory", "utilization", *options_of(Memory)):
        if not boundary and name in given:
            raise KvcalcError(f"--{name.replace('_', '-')}: is beside the cache, which only --boundary looks at")
