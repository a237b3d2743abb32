"""RWKV's time mixing: a recurrence whose forgetting its tokens decide, and token shifts beside it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from kvcalc.fields import Dim, Limits
from kvcalc.mechanisms.base import CachedTensor, Mechanism, Role
from kvcalc.mechanisms.states import check_state_formats, state, state_label
from kvcalc.noun import noun
from kvcalc.term import Factor

Shifts = Annotated[int, Limits(ge=1, le=2)]
"""Of time mixing, and of channel mixing where it has one."""


@noun(kw_only=True)
class RWKV(Mechanism):
    """RWKV-5, -6 and -7 (arXiv 2404.05892, 2503.14456): a square matrix for each head, and the last token's inputs."""

    title: ClassVar[str] = "RWKV"
    keeps: ClassVar[str] = (
        "the last token's input of each token shift (of time mixing, and of channel mixing), and a matrix for each "
        "head: a constant for each sequence"
    )
    kept_per: ClassVar[str] = "sequence"
    source: ClassVar[str] = (
        "Peng et al. 2024, https://arxiv.org/abs/2404.05892 sections 3 and 4; 2025, https://arxiv.org/abs/2503.14456, "
        "whose state has the same size; and what llama.cpp keeps of it (src/llama-hparams.cpp, n_embd_r and n_embd_s)"
    )
    example: ClassVar[str] = (
        "RWKV7-13.3B, 61 such layers in llama.cpp: (2 x 4,096 + 64 x 64 x 64) x 4 x 61 = 65,961,984 bytes a sequence."
    )

    kind: Literal["rwkv"] = "rwkv"
    hidden_size: Dim
    num_heads: Dim
    head_dim: Dim
    token_shifts: Shifts = 2
    conv_dtype: str | None = None
    state_dtype: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_state_formats(self.conv_dtype, self.state_dtype)

    def cached(self) -> tuple[CachedTensor, ...]:
        (heads,), width = self.divided, Factor("head_dim", self.head_dim)
        shifts = Factor("token_shifts", self.token_shifts, "input")
        hidden = Factor("hidden_size", self.hidden_size)
        return (
            CachedTensor("shift", (hidden,), None, shifts, Role.CONV, self.conv_dtype),
            state(heads, (width, width), self.state_dtype),
        )

    @property
    def divided(self) -> tuple[Factor, ...]:
        return (Factor("num_heads", self.num_heads, "head"),)

    @property
    def constant_multiply_adds(self) -> int:
        """Putting the token into the state, and reading the state."""
        return 2 * self.num_heads * self.head_dim * self.head_dim

    @property
    def label(self) -> str:
        formats = state_label(self.conv_dtype, self.state_dtype)
        return f"rwkv {self.num_heads} x {self.head_dim}, shifts {self.token_shifts} x {self.hidden_size}{formats}"
