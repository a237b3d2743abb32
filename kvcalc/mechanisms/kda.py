"""Kimi delta attention: a gated delta rule that forgets each channel of its keys at a rate of its own."""

from __future__ import annotations

from typing import ClassVar, Literal

from kvcalc.fields import Dim
from kvcalc.mechanisms.base import CachedTensor, Mechanism, Projection
from kvcalc.mechanisms.states import check_state_formats, convolution, state, state_label
from kvcalc.noun import noun
from kvcalc.term import Factor


@noun(kw_only=True)
class KDA(Mechanism):
    """Kimi delta attention (arXiv 2510.26692): one square matrix for each head, after short convolutions."""

    title: ClassVar[str] = "Kimi delta attention"
    keeps: ClassVar[str] = (
        "the last conv_kernel - 1 inputs of three convolutions, over queries, keys and values, and a matrix for each "
        "head: a constant for each sequence"
    )
    kept_per: ClassVar[str] = "sequence"
    source: ClassVar[str] = (
        "Kimi Team 2025, https://arxiv.org/abs/2510.26692 section 3; what vLLM and SGLang keep of Kimi-Linear"
    )
    example: ClassVar[str] = (
        "Kimi-Linear, 20 such layers: (3 x 3 x 32 x 128 x 2 + 32 x 128 x 128 x 4) x 20 = 43,417,600 bytes a sequence, "
        "with the convolutions in bf16 and the state in fp32."
    )

    kind: Literal["kda"] = "kda"
    num_heads: Dim
    head_dim: Dim
    conv_kernel: Dim
    conv_dtype: str | None = None
    state_dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_state_formats(self.conv_dtype, self.state_dtype)

    def cached(self) -> tuple[CachedTensor, ...]:
        (heads,), width = self.divided, Factor("head_dim", self.head_dim)
        return (
            *convolution("conv_q", self.conv_kernel, heads, (width,), self.conv_dtype),
            *convolution("conv_k", self.conv_kernel, heads, (width,), self.conv_dtype),
            *convolution("conv_v", self.conv_kernel, heads, (width,), self.conv_dtype),
            state(heads, (width, width), self.state_dtype),
        )

    def projections(self, hidden_size: int) -> tuple[Projection, ...]:
        """The first halves of its low-rank gates, of forgetting and of the output: whole on every rank.

        vLLM, vllm/model_executor/layers/mamba/gdn/kimi_gdn_linear_attn.py: f_a of in_proj_qkvgfab, and g_a_proj.
        """
        gate = Projection("low-rank gates", self.head_dim, hidden_size)
        return gate, gate

    @property
    def divided(self) -> tuple[Factor, ...]:
        return (Factor("num_heads", self.num_heads, "head"),)

    @property
    def constant_multiply_adds(self) -> int:
        """Reading the state with the key, correcting it, and reading it with the query."""
        return 3 * self.num_heads * self.head_dim * self.head_dim

    @property
    def label(self) -> str:
        formats = state_label(self.conv_dtype, self.state_dtype)
        return f"kda {self.num_heads} x {self.head_dim}, kernel {self.conv_kernel}{formats}"
