"""How fast each mechanism decodes on this machine, measured beside its bound. torch is behind `bench_scenario`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from fractions import Fraction

    from kvcalc.scenario import Scenario
    from kvcalc.speed.result import Bench
    from kvcalc.verification.progress import Progress

DEVICES = ("auto", "cpu", "cuda")


def bench_scenario(
    scenario: Scenario,
    *,
    mechanism: tuple[str, ...] | None = None,
    device: str = "auto",
    samples: int = 20,
    compile: bool = False,  # noqa: A002  # as the option is called
    offload: Fraction | None = None,
    progress: Progress | None = None,
) -> Bench:
    """Measure one decode step of a layer under each mechanism, and prefill.

    Args:
        scenario: the model, the workload, the format of the cache.
        mechanism: names of mechanisms; None for mha, gqa, mqa and mla, as far as the model can have them.
        device: cpu, cuda, or auto: cuda where there is a GPU, else cpu.
        samples: of each figure.
        compile: whether torch.compile's flex_attention is tried too.
        offload: the share of the cache that is kept in host memory, or of a CPU in a file.
        progress: is told how far things are.

    Raises:
        CannotRunError: no torch, no such device, no memory, or times that spread too far to mean anything.
        KvcalcError: a mechanism or a format that cannot be measured.
    """
    if device not in DEVICES:
        raise KvcalcError(f"--device: no device '{device[:40]}'; there are {', '.join(DEVICES)}")
    from kvcalc.verification import require_torch

    require_torch("bench")
    from kvcalc.speed.run import run  # torch from here on
    from kvcalc.verification.progress import silent

    return run(
        scenario,
        mechanisms=mechanism,
        device_name=device,
        samples=samples,
        compiling=compile,
        offload=offload,
        progress=progress or silent,
    )
