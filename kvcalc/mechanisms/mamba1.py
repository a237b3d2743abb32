"""Mamba: a selective state-space layer whose every channel has a state of its own."""

from __future__ import annotations

from typing import ClassVar, Literal

from kvcalc.fields import Dim
from kvcalc.mechanisms.base import CachedTensor, Mechanism
from kvcalc.mechanisms.states import check_state_formats, convolution, state, state_label
from kvcalc.noun import noun
from kvcalc.term import Factor


@noun(kw_only=True)
class Mamba1(Mechanism):
    """Mamba (arXiv 2312.00752): `intermediate_size` is the layer's inner width, expand x hidden_size in most."""

    title: ClassVar[str] = "Mamba"
    keeps: ClassVar[str] = (
        "the last conv_kernel - 1 inputs of the convolution, and state_size elements for each channel: a constant for "
        "each sequence"
    )
    kept_per: ClassVar[str] = "sequence"
    source: ClassVar[str] = (
        "Gu and Dao 2023, https://arxiv.org/abs/2312.00752 section 3; the classes of Mamba and Jamba in transformers, "
        "and what vLLM keeps of them"
    )
    example: ClassVar[str] = (
        "Falcon-Mamba-7B, 64 such layers of 8,192 channels with 16 elements: (3 x 8,192 + 8,192 x 16) x 64 x 2 = "
        "19,922,944 bytes a sequence with all of it in bf16 (--state-dtype bf16), 36,700,160 with the state in fp32."
    )

    kind: Literal["mamba1"] = "mamba1"
    intermediate_size: Dim
    state_size: Dim
    conv_kernel: Dim
    conv_dtype: str | None = None
    state_dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_state_formats(self.conv_dtype, self.state_dtype)

    def cached(self) -> tuple[CachedTensor, ...]:
        (channels,) = self.divided
        return (
            *convolution("conv", self.conv_kernel, channels, (), self.conv_dtype),
            state(channels, (Factor("state_size", self.state_size),), self.state_dtype),
        )

    @property
    def divided(self) -> tuple[Factor, ...]:
        return (Factor("intermediate_size", self.intermediate_size, "channel"),)

    @property
    def constant_multiply_adds(self) -> int:
        """Putting the token into the state, and reading the state."""
        return 2 * self.intermediate_size * self.state_size

    @property
    def label(self) -> str:
        formats = state_label(self.conv_dtype, self.state_dtype)
        return f"mamba1 {self.intermediate_size} x {self.state_size}, kernel {self.conv_kernel}{formats}"
