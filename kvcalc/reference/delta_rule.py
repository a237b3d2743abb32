"""The gated delta rule, step by step and of a whole sequence, and the layers around it. Letters of shapes: base.py.

A head's memory is a matrix S (V, K), which maps keys to values. A token makes it forget, corrects what it holds for the
token's key, and reads it with the token's query:

    S <- S diag(a);  S <- S + b (v - S k) k^T;  o = S q

Unrolled, S = sum over s <= t of u_s (a_{s+1} ... a_t k_s)^T, where u_t = b_t (v_t - what the earlier u say of k_t): a
triangular system of equations, solved at once by `delta_rule`.

Sources: Gated DeltaNet, https://arxiv.org/abs/2412.06464 section 3; Kimi Linear, https://arxiv.org/abs/2510.26692.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, silu

from kvcalc.reference.base import ReferenceState
from kvcalc.reference.convolution import CausalConvolution, Convolutions
from kvcalc.reference.functional import split_heads

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from kvcalc.model.span import Span

EPSILON = 1e-6


def delta_step(
    q_BHK: Tensor, k_BHK: Tensor, v_BHV: Tensor, decay_BHK: Tensor, beta_BH: Tensor, state_BHVK: Tensor
) -> tuple[Tensor, Tensor]:
    """One token: its output (B, H, V) and the new state. `decay` may have one element for all of K."""
    state_BHVK = state_BHVK * decay_BHK.unsqueeze(-2)
    held_BHV = torch.einsum("bhvk,bhk->bhv", state_BHVK, k_BHK)
    change_BHV = beta_BH.unsqueeze(-1) * (v_BHV - held_BHV)
    state_BHVK = state_BHVK + torch.einsum("bhv,bhk->bhvk", change_BHV, k_BHK)
    return torch.einsum("bhvk,bhk->bhv", state_BHVK, q_BHK), state_BHVK


def delta_rule(q_BTHK: Tensor, k_BTHK: Tensor, v_BTHV: Tensor, log_decay_BTHK: Tensor, beta_BTH: Tensor) -> Tensor:
    """The outputs (B, T, H, V) of a whole sequence, by solving for u; one head after another, to bound memory."""
    outputs = []
    for head in range(q_BTHK.shape[2]):
        q_BTK, k_BTK, v_BTV = q_BTHK[:, :, head], k_BTHK[:, :, head], v_BTHV[:, :, head]
        beta_BT1, sums_BTK = beta_BTH[:, :, head, None], log_decay_BTHK[:, :, head].cumsum(1)
        past = torch.ones(q_BTK.shape[1], q_BTK.shape[1], dtype=torch.bool, device=q_BTK.device).tril()
        since_BTSK = sums_BTK.unsqueeze(2) - sums_BTK.unsqueeze(1)
        left_BTSK = since_BTSK.masked_fill(~past[..., None], float("-inf")).exp()
        keys_BTSK = left_BTSK * k_BTK.unsqueeze(1)
        earlier_BTS = (keys_BTSK * k_BTK.unsqueeze(2)).sum(-1).tril(-1)
        system_BTS = torch.eye(len(past), dtype=q_BTK.dtype, device=q_BTK.device) + beta_BT1 * earlier_BTS
        u_BSV = torch.linalg.solve_triangular(system_BTS, beta_BT1 * v_BTV, upper=False, unitriangular=True)
        outputs.append((keys_BTSK * q_BTK.unsqueeze(2)).sum(-1) @ u_BSV)
    return torch.stack(outputs, dim=2)


class DeltaRuleLayer(ReferenceState):
    """Queries, keys and values through short convolutions, the gated delta rule, and a gated norm of each head.

    H counts value heads, G key heads: each key head serves H/G value heads.
    """

    means = {"A_log": -2.0}  # noqa: RUF012  # declared as a class variable in the base; forgets slowly

    def __init__(
        self, mechanism: Any, hidden_size: int, span: Span | None, heads: tuple[int, int], widths: tuple[int, int]
    ) -> None:
        super().__init__(mechanism, hidden_size, span)
        (self.num_k_heads, self.num_v_heads), (self.k_head_dim, self.v_head_dim) = heads, widths
        keys, values = self.num_k_heads * self.k_head_dim, self.num_v_heads * self.v_head_dim
        self.q_proj = nn.Linear(hidden_size, keys, bias=False)
        self.k_proj = nn.Linear(hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(hidden_size, values, bias=False)
        self.b_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        self.q_conv = CausalConvolution(keys, mechanism.conv_kernel)
        self.k_conv = CausalConvolution(keys, mechanism.conv_kernel)
        self.v_conv = CausalConvolution(values, mechanism.conv_kernel)
        self.norm = nn.RMSNorm(self.v_head_dim, eps=EPSILON)
        self.o_proj = nn.Linear(values, hidden_size, bias=False)

    @abstractmethod
    def log_decay(self, x_BTD: Tensor) -> Tensor:
        """What each token makes each head forget: (B, T, H, K), or (B, T, H, 1) where all of K forgets alike."""

    @abstractmethod
    def gate(self, x_BTD: Tensor) -> Tensor:
        """What outputs are multiplied by: (B, T, H V)."""

    @property
    def convolutions(self) -> Convolutions:
        return Convolutions(conv_q=self.q_conv, conv_k=self.k_conv, conv_v=self.v_conv)

    def begin(self, sequences: int) -> dict[str, Tensor]:
        """Inputs of convolutions (B, L - 1, G K) twice and (B, L - 1, H V), and the state (B, 1, H, V, K)."""
        shape = sequences, 1, self.num_v_heads, self.v_head_dim, self.k_head_dim
        return {**self.convolutions.begin(sequences), "state": self.b_proj.weight.new_zeros(shape).float()}

    def advance(self, x_BTD: Tensor, kept: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        inputs = {"conv_q": self.q_proj(x_BTD), "conv_k": self.k_proj(x_BTD), "conv_v": self.v_proj(x_BTD)}
        mixed, new = self.convolutions.advance(inputs, dict(kept))
        q_BTHK, k_BTHK, v_BTHV = self._heads(mixed["conv_q"], mixed["conv_k"], mixed["conv_v"])
        decay, beta_BTH = self.log_decay(x_BTD).exp(), torch.sigmoid(self.b_proj(x_BTD)).to(v_BTHV.dtype)
        state_BHVK, outputs = kept["state"].to(v_BTHV.dtype).squeeze(1), []
        for t in range(x_BTD.shape[1]):
            o_BHV, state_BHVK = delta_step(
                q_BTHK[:, t], k_BTHK[:, t], v_BTHV[:, t], decay[:, t], beta_BTH[:, t], state_BHVK
            )
            outputs.append(o_BHV)
        return self._output(torch.stack(outputs, dim=1), x_BTD), {**new, "state": state_BHVK.unsqueeze(1)}

    def forward(self, x_BTD: Tensor, last: int | None = None) -> Tensor:
        q_BTHK, k_BTHK, v_BTHV = self._heads(
            self.q_conv(self.q_proj(x_BTD)), self.k_conv(self.k_proj(x_BTD)), self.v_conv(self.v_proj(x_BTD))
        )
        beta_BTH = torch.sigmoid(self.b_proj(x_BTD)).to(v_BTHV.dtype)
        o_BTHV = delta_rule(q_BTHK, k_BTHK, v_BTHV, self.log_decay(x_BTD), beta_BTH)
        return self._output(o_BTHV, x_BTD)[:, -(last or x_BTD.shape[1]) :]

    def _heads(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k (B, T, H, K), of length 1 but for the query's scale, and v (B, T, H, V), in float32 or better."""
        wide = torch.promote_types(v.dtype, torch.float32)
        repeats = self.num_v_heads // self.num_k_heads
        q_BTGK, k_BTGK = (
            normalize(split_heads(silu(each).to(wide), self.num_k_heads), dim=-1, eps=EPSILON) for each in (q, k)
        )
        q_BTHK = q_BTGK.repeat_interleave(repeats, dim=2) * self.k_head_dim**-0.5
        return q_BTHK, k_BTGK.repeat_interleave(repeats, dim=2), split_heads(silu(v).to(wide), self.num_v_heads)

    def _output(self, o_BTHV: Tensor, x_BTD: Tensor) -> Tensor:
        normal = self.norm(o_BTHV.to(x_BTD.dtype)).flatten(-2)
        return self.o_proj(normal * self.gate(x_BTD))  # type: ignore[no-any-return]  # torch: Any
