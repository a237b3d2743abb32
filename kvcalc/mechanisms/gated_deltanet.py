"""Gated delta networks: linear attention whose state forgets, and corrects what it holds for a key."""

from __future__ import annotations

from typing import ClassVar, Literal

from kvcalc.fields import Dim
from kvcalc.mechanisms.base import CachedTensor, Mechanism
from kvcalc.mechanisms.states import check_state_formats, convolution, state, state_label
from kvcalc.noun import noun
from kvcalc.term import Factor


@noun(kw_only=True)
class GatedDeltaNet(Mechanism):
    """Gated delta rule (arXiv 2412.06464): one matrix for each value head, after a short convolution of q, k and v."""

    title: ClassVar[str] = "Gated delta network"
    keeps: ClassVar[str] = (
        "the last conv_kernel - 1 inputs of the convolution over queries, keys and values, and a matrix for each value "
        "head: a constant for each sequence"
    )
    kept_per: ClassVar[str] = "sequence"
    source: ClassVar[str] = (
        "Yang et al. 2024, https://arxiv.org/abs/2412.06464 section 3; Qwen3-Next's class in transformers "
        "(models/qwen3_next), and what vLLM and SGLang keep of it"
    )
    example: ClassVar[str] = (
        "Qwen3-Next, 36 such layers: (3 x 8,192 x 2 + 32 x 128 x 128 x 4) x 36 = 77,266,944 bytes a sequence, with the "
        "convolution in bf16 and the state in fp32; 39,518,208 with both in bf16 (--state-dtype bf16), which is "
        "vLLM's default. transformers keeps conv_kernel inputs, one more than the next token reads."
    )

    kind: Literal["gated_deltanet"] = "gated_deltanet"
    num_k_heads: Dim
    num_v_heads: Dim
    k_head_dim: Dim
    v_head_dim: Dim
    conv_kernel: Dim
    conv_dtype: str | None = None
    state_dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_state_formats(self.conv_dtype, self.state_dtype)
        if self.num_v_heads % self.num_k_heads:
            raise ValueError(
                f"num_k_heads must divide num_v_heads, and {self.num_k_heads} does not divide {self.num_v_heads}"
            )

    def cached(self) -> tuple[CachedTensor, ...]:
        keys = Factor("num_k_heads", self.num_k_heads, "head of keys")
        values = Factor("num_v_heads", self.num_v_heads, "head of values")
        k_width, v_width = Factor("k_head_dim", self.k_head_dim), Factor("v_head_dim", self.v_head_dim)
        return (
            *convolution("conv_q", self.conv_kernel, keys, (k_width,), self.conv_dtype),
            *convolution("conv_k", self.conv_kernel, keys, (k_width,), self.conv_dtype),
            *convolution("conv_v", self.conv_kernel, values, (v_width,), self.conv_dtype),
            state(values, (v_width, k_width), self.state_dtype),
        )

    @property
    def divided(self) -> tuple[Factor, ...]:
        return (
            Factor("num_k_heads", self.num_k_heads, "key head"),
            Factor("num_v_heads", self.num_v_heads, "value head"),
        )

    @property
    def constant_multiply_adds(self) -> int:
        """Reading the state with the key, correcting it, and reading it with the query."""
        return 3 * self.num_v_heads * self.v_head_dim * self.k_head_dim

    @property
    def label(self) -> str:
        heads = f"{self.num_k_heads}/{self.num_v_heads} x {self.k_head_dim}"
        widths = "" if self.v_head_dim == self.k_head_dim else f"+{self.v_head_dim}"
        formats = state_label(self.conv_dtype, self.state_dtype)
        return f"gated_deltanet {heads}{widths}, kernel {self.conv_kernel}{formats}"
