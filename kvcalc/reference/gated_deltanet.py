"""A gated delta network, as Qwen3-Next has it. Letters of shapes are in base.py.

Source: https://arxiv.org/abs/2412.06464 section 3; projections as in transformers' Qwen3NextGatedDeltaNet.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from kvcalc.reference.base import copy_columns, copy_entries, copy_rows, heads_of
from kvcalc.reference.delta_rule import DeltaRuleLayer
from kvcalc.reference.stored_as import INPUTS, state_in_fp32

if TYPE_CHECKING:
    from kvcalc.mechanisms import GatedDeltaNet
    from kvcalc.model.span import Span


class GatedDeltaNetLayer(DeltaRuleLayer):
    """Each head forgets at one rate, which the token decides."""

    small = {"k_head_dim": 4, "v_head_dim": 5, "conv_kernel": 6}  # noqa: RUF012  # declared as a class variable in the base
    stored_as = {  # noqa: RUF012  # likewise
        **dict.fromkeys(("conv_q", "conv_k", "conv_v"), INPUTS),
        "state": state_in_fp32("transformers, models/qwen3_next, torch_recurrent_gated_delta_rule"),
    }

    def __init__(self, mechanism: GatedDeltaNet, hidden_size: int, span: Span | None = None) -> None:
        heads, widths = (mechanism.num_k_heads, mechanism.num_v_heads), (mechanism.k_head_dim, mechanism.v_head_dim)
        super().__init__(mechanism, hidden_size, span, heads, widths)
        self.a_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        self.z_proj = nn.Linear(hidden_size, self.num_v_heads * self.v_head_dim, bias=False)
        self.A_log = nn.Parameter(torch.empty(self.num_v_heads))
        self.dt_bias = nn.Parameter(torch.empty(self.num_v_heads))

    def log_decay(self, x_BTD: Tensor) -> Tensor:
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        step_BTH = softplus((self.a_proj(x_BTD) + self.dt_bias).to(wide))
        return (-self.A_log.to(wide).exp() * step_BTH).unsqueeze(-1)

    def gate(self, x_BTD: Tensor) -> Tensor:
        return silu(self.z_proj(x_BTD))

    def shard(self, rank: int, tp: int) -> Self:
        keys, values = heads_of(rank, tp, self.num_k_heads), heads_of(rank, tp, self.num_v_heads)
        part = self.empty_part(replace(self.mechanism, num_k_heads=len(keys), num_v_heads=len(values)))
        for name in ("q_proj", "k_proj", "q_conv", "k_conv"):
            copy_rows(getattr(part, name), getattr(self, name), keys, self.k_head_dim)
        for name in ("v_proj", "v_conv", "z_proj"):
            copy_rows(getattr(part, name), getattr(self, name), values, self.v_head_dim)
        for name in ("a_proj", "b_proj"):
            copy_rows(getattr(part, name), getattr(self, name), values, 1)
        for name in ("A_log", "dt_bias"):
            copy_entries(getattr(part, name), getattr(self, name), values, 1)
        part.norm.load_state_dict(self.norm.state_dict())
        copy_columns(part.o_proj, self.o_proj, values, self.v_head_dim)
        return part
