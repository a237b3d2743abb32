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
    """Short convolution of LFM2 (arXiv 2511.23404): there is no recurrence, only the convolution's inputs are kept.

    Attributes:
        dilation: how far apart the inputs are that a kernel reads (3 in what Qwen3.8-Flash-Next makes of n-grams).
        whole: whether every tensor-parallel rank keeps all channels, as of a vector for each residual stream.
    """

    title: ClassVar[str] = "Short convolution"
    keeps: ClassVar[str] = (
        "the last conv_kernel - 1 inputs of the convolution, (conv_kernel - 1) x dilation where it skips some: a "
        "constant for each sequence"
    )
    kept_per: ClassVar[str] = "sequence"
    source: ClassVar[str] = (
        "Liquid AI 2025, https://arxiv.org/abs/2511.23404 section 2; LFM2's class in transformers (models/lfm2), and "
        "what vLLM keeps of it; dilated and whole: transformers 5.24, models/qwen4_exp, Qwen4ExpTextPLELayer"
    )
    example: ClassVar[str] = (
        "LFM2-1.2B, 10 such layers of kernel 3: 2 x 2,048 x 2 x 10 = 81,920 bytes a sequence in bf16. llama.cpp keeps "
        "them in fp32 (--conv-dtype fp32)."
    )

    varies: ClassVar[frozenset[str]] = frozenset({"dilation"})

    kind: Literal["short_conv"] = "short_conv"
    hidden_size: Dim
    conv_kernel: Dim
    dilation: Dim = 1
    whole: bool = False
    conv_dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_state_formats(self.conv_dtype, None)

    def cached(self) -> tuple[CachedTensor, ...]:
        channels = Factor("hidden_size", self.hidden_size, "channel")
        heads, dims = (None, (channels,)) if self.whole else (channels, ())
        return convolution("conv", self.conv_kernel, heads, dims, self.conv_dtype, self.dilation)

    @property
    def divided(self) -> tuple[Factor, ...]:
        return () if self.whole else (Factor("hidden_size", self.hidden_size, "channel"),)

    @property
    def has_parts(self) -> bool:
        return self.whole or self.dilation > 1

    @property
    def label(self) -> str:
        formats = state_label(self.conv_dtype, None)
        apart = "" if self.dilation == 1 else f" x {self.dilation}"
        whole = ", whole" if self.whole else ""
        return f"short_conv {self.hidden_size}, kernel {self.conv_kernel}{apart}{whole}{formats}"
