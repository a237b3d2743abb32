"""Kimi delta attention. Letters of shapes are in base.py.

Source: Kimi Linear, https://arxiv.org/abs/2510.26692 section 3; projections as in transformers' KimiLinear.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from kvcalc.reference.base import copy_columns, copy_entries, copy_rows, heads_of
from kvcalc.reference.delta_rule import DeltaRuleLayer
from kvcalc.reference.functional import split_heads
from kvcalc.reference.stored_as import INPUTS, state_in_fp32

if TYPE_CHECKING:
    from kvcalc.mechanisms import KDA
    from kvcalc.model.span import Span


class KimiDeltaAttention(DeltaRuleLayer):
    """Each channel of a head's keys forgets at a rate of its own, which the token decides."""

    small = {"head_dim": 4, "conv_kernel": 6}  # noqa: RUF012  # declared as a class variable in the base
    stored_as = {  # noqa: RUF012  # likewise
        **dict.fromkeys(("conv_q", "conv_k", "conv_v"), INPUTS),
        "state": state_in_fp32("vLLM, model_executor/layers/mamba/mamba_utils.py, kda_state_dtype"),
    }

    def __init__(self, mechanism: KDA, hidden_size: int, span: Span | None = None) -> None:
        heads, width = mechanism.num_heads, mechanism.head_dim
        super().__init__(mechanism, hidden_size, span, (heads, heads), (width, width))
        self.f_a_proj = nn.Linear(hidden_size, width, bias=False)
        self.f_b_proj = nn.Linear(width, heads * width, bias=False)
        self.g_a_proj = nn.Linear(hidden_size, width, bias=False)
        self.g_b_proj = nn.Linear(width, heads * width, bias=False)
        self.A_log = nn.Parameter(torch.empty(heads))
        self.dt_bias = nn.Parameter(torch.empty(heads * width))

    def log_decay(self, x_BTD: Tensor) -> Tensor:
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        step = softplus((self.f_b_proj(self.f_a_proj(x_BTD)) + self.dt_bias).to(wide))
        return -self.A_log.to(wide).exp().unsqueeze(-1) * split_heads(step, self.num_v_heads)

    def gate(self, x_BTD: Tensor) -> Tensor:
        return torch.sigmoid(self.g_b_proj(self.g_a_proj(x_BTD)))

    def shard(self, rank: int, tp: int) -> Self:
        heads, width = heads_of(rank, tp, self.num_v_heads), self.v_head_dim
        part = self.empty_part(replace(self.mechanism, num_heads=len(heads)))
        for name in ("q_proj", "k_proj", "v_proj", "q_conv", "k_conv", "v_conv", "f_b_proj", "g_b_proj"):
            copy_rows(getattr(part, name), getattr(self, name), heads, width)
        for name in ("f_a_proj", "g_a_proj", "norm"):
            getattr(part, name).load_state_dict(getattr(self, name).state_dict())
        copy_rows(part.b_proj, self.b_proj, heads, 1)
        copy_entries(part.A_log, self.A_log, heads, 1)
        copy_entries(part.dt_bias, self.dt_bias, heads, width)
        copy_columns(part.o_proj, self.o_proj, heads, width)
        return part
