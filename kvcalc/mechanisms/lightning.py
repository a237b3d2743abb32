"""Lightning attention: linear attention with a fixed rate of forgetting for each head."""

from __future__ import annotations

from typing import ClassVar, Literal

from kvcalc.fields import Dim
from kvcalc.mechanisms.base import CachedTensor, Mechanism
from kvcalc.mechanisms.states import check_state_formats, state, state_label
from kvcalc.noun import noun
from kvcalc.term import Factor


@noun(kw_only=True)
class Lightning(Mechanism):
    """Lightning attention (arXiv 2405.17381): a square matrix for each head, and no convolution."""

    title: ClassVar[str] = "Lightning attention"
    keeps: ClassVar[str] = "a matrix for each head: a constant for each sequence"
    kept_per: ClassVar[str] = "sequence"
    source: ClassVar[str] = (
        "Qin et al. 2024, https://arxiv.org/abs/2405.17381; MiniMax-01, https://arxiv.org/abs/2501.08313 section 2.2, "
        "and what vLLM keeps of it"
    )
    example: ClassVar[str] = (
        "MiniMax-Text-01, 70 such layers: 64 x 128 x 128 x 4 x 70 = 293,601,280 bytes a sequence in fp32, 36,700,160 "
        "on one of 8 tensor-parallel ranks."
    )

    kind: Literal["lightning"] = "lightning"
    num_heads: Dim
    head_dim: Dim
    state_dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_state_formats(None, self.state_dtype)

    def cached(self) -> tuple[CachedTensor, ...]:
        (heads,), width = self.divided, Factor("head_dim", self.head_dim)
        return (state(heads, (width, width), self.state_dtype),)

    @property
    def divided(self) -> tuple[Factor, ...]:
        return (Factor("num_heads", self.num_heads, "head"),)

    @property
    def constant_multiply_adds(self) -> int:
        """Putting the token into the state, and reading the state."""
        return 2 * self.num_heads * self.head_dim * self.head_dim

    @property
    def label(self) -> str:
        return f"lightning {self.num_heads} x {self.head_dim}{state_label(None, self.state_dtype)}"
