"""What `verify` takes."""

from functools import partial
from typing import Annotated, TypedDict

from kvcalc.scenario.option import Option
from kvcalc.scenario.options.deployment import PP, TP, GpuMemory, Utilization
from kvcalc.scenario.options.drafting import Drafting
from kvcalc.scenario.options.memory import CacheDtype, Memory, StateDtypes
from kvcalc.scenario.options.model import Assumptions
from kvcalc.scenario.options.workload import Batch, Context

of_verify = partial(Option, panel="Verification")
of_verify_switch = partial(of_verify, "", default=False)
DEVICES = ("auto", "meta", "cpu", "cuda")


class VerifiedOptions(
    Batch, Context, CacheDtype, StateDtypes, GpuMemory, Utilization, Memory, Drafting, Assumptions, total=False
):
    """Of a scenario that is verified."""

    tp: Annotated[int | str | None, TP._replace(help="Tensor-parallel size; under torchrun, a process for each rank.")]
    pp: Annotated[int | str | None, PP]


class Proof(TypedDict, total=False):
    """How it is verified."""

    device: Annotated[
        str,
        of_verify(
            "|".join(DEVICES),
            "Where to allocate: meta is shapes without memory; auto is a GPU where there is one, else cpu.",
            default="auto",
            values=lambda: DEVICES,
        ),
    ]
    decode: Annotated[
        bool,
        of_verify(
            "", "Fill the cache by prefill and decode from it on the CPU too (slow); on CUDA always.", default=False
        ),
    ]
    skip_unsupported: Annotated[
        bool, of_verify_switch("Leave the verdict alone for kinds of layers that cannot be verified.")
    ]
    boundary: Annotated[
        bool,
        of_verify(
            "", "Find the most sequences that allocate beside the rest of a rank: one more must not.", default=False
        ),
    ]


class VerifyOptions(VerifiedOptions, Proof, total=False):
    """Of `verify`."""
