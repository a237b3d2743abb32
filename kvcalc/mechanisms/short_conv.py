"""Gated short convolution: a layer that mixes each token with the few before it."""

from __future__ import annotations

from typing import ClassVar, Literal

from kvcalc.fields import Dim
from kvcalc.mechanisms.base import CachedTensor, Mechanism
from kvcalc.mechanisms.states import check_state_formats, convolution, state_label
from kvcalc.noun import noun
from kvcalc.term import Factor


@noun(kw_only=True)
class ShortConv(Mechanism):
    """Short convolution of LFM2 (arXiv 2511.23404): there is no recurrence, only the convolution's inputs are kept."""

    title: ClassVar[str] = "Short convolution"
    keeps: ClassVar[str] = "the last conv_kernel - 1 inputs of the convolution: a constant for each sequence"
    kept_per: ClassVar[str] = "sequence"
    source: ClassVar[str] = (
        "Liquid AI 2025, https://arxiv.org/abs/2511.23404 section 2; LFM2's class in transformers (models/lfm2), and "
        "what vLLM keeps of it"
    )
    example: ClassVar[str] = (
        "LFM2-1.2B, 10 such layers of kernel 3: 2 x 2,048 x 2 x 10 = 81,920 bytes a sequence in bf16. llama.cpp keeps "
        "them in fp32 (--conv-dtype fp32)."
    )

    kind: Literal["short_conv"] = "short_conv"
    hidden_size: Dim
    conv_kernel: Dim
    conv_dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_state_formats(self.conv_dtype, None)

    def cached(self) -> tuple[CachedTensor, ...]:
        (channels,) = self.divided
        return convolution("conv", self.conv_kernel, channels, (), self.conv_dtype)

    @property
    def divided(self) -> tuple[Factor, ...]:
        return (Factor("hidden_size", self.hidden_size, "channel"),)

    @property
    def label(self) -> str:
        formats = state_label(self.conv_dtype, None)
        return f"short_conv {self.hidden_size}, kernel {self.conv_kernel}{formats}"
