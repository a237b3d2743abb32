"""Mamba-2: a state-space layer with heads, which is linear attention with a forgetting state."""

from __future__ import annotations

from typing import ClassVar, Literal

from kvcalc.fields import Dim
from kvcalc.mechanisms.base import CachedTensor, Mechanism, Projection
from kvcalc.mechanisms.states import check_state_formats, convolution, state, state_label
from kvcalc.noun import noun
from kvcalc.term import Factor


@noun(kw_only=True)
class Mamba2(Mechanism):
    """Mamba-2 (arXiv 2405.21060): a matrix for each head; heads of a group share B and C, which are convolved too."""

    title: ClassVar[str] = "Mamba-2"
    keeps: ClassVar[str] = (
        "the last conv_kernel - 1 inputs of the convolution over x, B and C, and a matrix for each head: a constant "
        "for each sequence"
    )
    kept_per: ClassVar[str] = "sequence"
    source: ClassVar[str] = (
        "Dao and Gu 2024, https://arxiv.org/abs/2405.21060 section 7; the classes of Mamba-2 and Nemotron-H in "
        "transformers, and what vLLM and SGLang keep of them"
    )
    example: ClassVar[str] = (
        "Nemotron-H-8B, 24 such layers: (3 x 10,240 x 2 + 128 x 64 x 128 x 4) x 24 = 102,137,856 bytes a sequence, "
        "with the convolution in bf16 and the state in fp32. With more tensor-parallel ranks than its 8 groups each "
        "rank keeps a copy of a group: on one of 16 ranks 266,752 bytes a layer, not 265,984."
    )

    kind: Literal["mamba2"] = "mamba2"
    num_heads: Dim
    head_dim: Dim
    state_size: Dim
    num_groups: Dim
    conv_kernel: Dim
    conv_dtype: str | None = None
    state_dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_state_formats(self.conv_dtype, self.state_dtype)
        if self.num_heads % self.num_groups:
            raise ValueError(
                f"num_groups must divide num_heads, and {self.num_groups} does not divide {self.num_heads}"
            )

    def cached(self) -> tuple[CachedTensor, ...]:
        (heads,), groups = self.divided, Factor("num_groups", self.num_groups, "group")
        width, size = Factor("head_dim", self.head_dim), Factor("state_size", self.state_size)
        return (
            *convolution("conv_x", self.conv_kernel, heads, (width,), self.conv_dtype),
            *convolution("conv_b", self.conv_kernel, groups, (size,), self.conv_dtype),
            *convolution("conv_c", self.conv_kernel, groups, (size,), self.conv_dtype),
            state(heads, (width, size), self.state_dtype),
        )

    def projections(self, hidden_size: int) -> tuple[Projection, ...]:
        """Of B and C: their rows of the input projection, and their channels of the convolution."""
        name, rows = "projections of B and C", 2 * self.num_groups * self.state_size
        return (
            Projection(name, rows, hidden_size, self.num_groups),
            Projection(name, rows, self.conv_kernel, self.num_groups),
        )

    @property
    def divided(self) -> tuple[Factor, ...]:
        return (Factor("num_heads", self.num_heads, "head"),)

    @property
    def constant_multiply_adds(self) -> int:
        """Putting the token into the state, and reading the state."""
        return 2 * self.num_heads * self.head_dim * self.state_size

    @property
    def label(self) -> str:
        formats = state_label(self.conv_dtype, self.state_dtype)
        heads = f"{self.num_heads}/{self.num_groups} x {self.head_dim} x {self.state_size}"
        return f"mamba2 {heads}, kernel {self.conv_kernel}{formats}"
