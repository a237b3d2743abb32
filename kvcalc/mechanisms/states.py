"""What mechanisms with a constant state have in common: the inputs of a convolution, and what a recurrence carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.mechanisms.base import CachedTensor, Role
from kvcalc.term import Factor

if TYPE_CHECKING:
    from kvcalc.formats.element import ElementFormat

STATE_FORMATS = ("fp32", "bf16", "fp16")
"""What states are kept in: they are computed with at every step, so no engine known to us quantises them."""


def find_state_format(name: str, what: str) -> ElementFormat:
    """The format of that name, where states can be kept in it.

    Raises:
        KvcalcError: they cannot.
    """
    found = find_format(name, what)
    if found.name not in STATE_FORMATS:
        raise KvcalcError(f"{what}: states are kept in {', '.join(STATE_FORMATS)}, not in {found.name}")
    return found


def check_state_formats(conv_dtype: str | None, state_dtype: str | None) -> None:
    """The formats that a model's file names.

    Raises:
        ValueError: no such format, or one that states are not kept in.
    """
    for key, name in (("conv_dtype", conv_dtype), ("state_dtype", state_dtype)):
        if name is not None:
            try:
                find_state_format(name, key)
            except KvcalcError as error:
                raise ValueError(str(error)) from error


def convolution(
    name: str,
    conv_kernel: int,
    heads: Factor | None,
    dims: tuple[Factor, ...],
    conv_dtype: str | None,
    dilation: int = 1,
) -> tuple[CachedTensor, ...]:
    """The last conv_kernel - 1 inputs of a causal convolution, or so many times its dilation: they fill its kernel."""
    if conv_kernel == 1:
        return ()
    said, figures = "conv_kernel - 1", f"{conv_kernel} - 1"
    if dilation > 1:
        said, figures = f"({said}) x dilation", f"({figures}) x {dilation}"
    inputs = Factor("conv_inputs", (conv_kernel - 1) * dilation, "input", derived=(said, figures))
    return (CachedTensor(name, dims, heads, inputs, Role.CONV, conv_dtype),)


def state(heads: Factor, dims: tuple[Factor, ...], state_dtype: str | None) -> CachedTensor:
    """What a recurrence carries, once for each sequence."""
    return CachedTensor("state", dims, heads, Factor("states", 1, "state"), Role.STATE, state_dtype or "fp32")


def state_label(conv_dtype: str | None, state_dtype: str | None) -> str:
    """', conv fp32, state bf16': formats of the layer's own."""
    conv = "" if conv_dtype is None else f", conv {conv_dtype}"
    return conv + ("" if state_dtype is None else f", state {state_dtype}")
