"""The first lines of a screen: the answer, then where the memory goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.gpu import TOGETHER
from kvcalc.render.screens.question import count
from kvcalc.render.view import Line, Span, Tone
from kvcalc.units import KIB, format_size

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment

STATES = {"fits": Tone.GOOD, "tight": Tone.CLOSE, "does not fit": Tone.BAD, "weights unknown": Tone.CLOSE}
"""What is said of a deployment, and how."""


def cards(deployment: Deployment, gpu: str) -> str:
    """'4 x h100-sxm, tensor parallel 4'."""
    number = gpu if TOGETHER in gpu else f"{deployment.gpus:,} x {gpu}"
    if deployment.gpus == 1:
        return number
    how = f"tensor parallel {deployment.tp}" if str(deployment) == f"tp {deployment.tp}" else str(deployment)
    return f"{number}, {how}"


def each_gpu(gpu: str) -> str:
    """Which one a rank's figures are of, in words: of unlike cards the one with the least headroom."""
    return "the GPU with the least headroom" if TOGETHER in gpu else "each GPU"


def headline(what: str, state: str, aside: str = "") -> Line:
    """'4 x h100-sxm, tensor parallel 4: fits', with a second sentence beside it."""
    return Line((Span(f"{what}: ", Tone.STRONG), Span(state, STATES.get(state, Tone.STRONG))), aside)


def size(bytes_: int, unit: str) -> str:
    """'2.50 GiB'; with every digit where the unit is bytes."""
    return f"{format_size(bytes_, unit)} {'bytes' if unit == 'B' else unit}"


def small(bytes_: int, unit: str) -> str:
    """A size of a few KiB: '320 KiB' where sizes are in GiB and it is whole, else '70,272 bytes'."""
    if unit == "GiB" and bytes_ and bytes_ % KIB == 0:
        return f"{bytes_ // KIB:,} KiB"
    return count(bytes_, "byte")
