"""The rest of a layer: norms, and a feed-forward network of the model's widths, dense or of experts.

Every mechanism has the same. Letters of shapes are in kvcalc/reference/base.py; here E is experts that are used, C
tokens of each and F the width of a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import gelu, rms_norm, silu

from kvcalc.engines.gated import is_gated
from kvcalc.speed.storage import fill

if TYPE_CHECKING:
    from kvcalc.model.model import Model


class Network(NamedTuple):
    """Widths of a layer's feed-forward network.

    Attributes:
        hidden_size: of the model.
        width: of the dense network, or of one expert.
        gated: whether a third matrix gates it: down(silu(gate x) * up x), else down(gelu(up x)).
        experts: 0 of a dense network.
        per_token: experts of each token.
        shared: width of the network that every token uses beside its experts.
    """

    hidden_size: int
    width: int
    gated: bool
    experts: int = 0
    per_token: int = 0
    shared: int = 0

    @property
    def label(self) -> str:
        """As the screen names it."""
        gate = "gated" if self.gated else "not gated"
        if not self.experts:
            return f"{self.hidden_size:,} x {self.width:,}, {gate}"
        beside = f" and {self.shared:,} for every token" if self.shared else ""
        experts = f"{self.per_token:,} of {self.experts:,} experts, dealt out in turn,"
        return f"{experts} of {self.hidden_size:,} x {self.width:,}{beside}, {gate}"

    def used(self, tokens: int) -> int:
        """Experts of so many tokens, which choose as differently as they can; 1 of a dense network."""
        return min(self.experts, tokens * self.per_token) if self.experts else 1

    def _parameters(self, width: int) -> int:
        return (3 if self.gated else 2) * self.hidden_size * width

    def parameters(self, tokens: int) -> int:
        """Weights that a step of so many tokens reads."""
        routers = self.experts * self.hidden_size
        return self.used(tokens) * self._parameters(self.width) + self._parameters(self.shared) + routers

    def multiply_adds(self, tokens: int) -> int:
        """Of a step of so many tokens."""
        each = (self.per_token or 1) * self._parameters(self.width) + self._parameters(self.shared)
        return tokens * (each + self.experts * self.hidden_size)


def network_of(model: Model) -> Network | str:
    """The network of most of its layers; or why it is not known."""
    hidden, gated = model.hidden_size, is_gated(model)
    if hidden is None:
        return "the model's file has no hidden_size"
    if not model.is_mixture_of_experts:
        width = model.intermediate_size or (None if gated else 4 * hidden)  # as the classes of GPT-2, BLOOM and Falcon
        return "the model's file has no intermediate_size" if width is None else Network(hidden, width, gated)
    width, experts, used = model.moe_intermediate_size, model.num_experts, model.num_experts_per_tok
    if width is None or experts is None or used is None:
        return "the model's file lacks moe_intermediate_size, num_experts or num_experts_per_tok"
    return Network(hidden, width, gated, experts, used, width * (model.num_shared_experts or 0))


class FeedForward:
    """Random weights of a network, and a step of it.

    Which experts a token chooses depends on training, so the router's scores are computed, and the experts are dealt
    out in turn. All that are used have equally many places for tokens; those beyond the tokens' choices weigh nothing.
    """

    def __init__(self, network: Network, tokens: int, device: torch.device, dtype: torch.dtype) -> None:
        self.network = network
        self.used = network.used(tokens)
        generator = torch.Generator(device=device)
        generator.seed()

        def drawn(*shape: int) -> Tensor:
            weight = torch.empty(*shape, device=device, dtype=dtype)
            fill({"weight": weight}, generator)
            return weight.mul_(shape[-1] ** -0.5)

        hidden, ups = network.hidden_size, 2 if network.gated else 1
        self.router_ED = drawn(network.experts, hidden) if network.experts else None
        self.up_EFD = drawn(self.used, ups * network.width, hidden)
        self.down_EDF = drawn(self.used, hidden, network.width)
        self.shared_up_FD = drawn(ups * network.shared, hidden) if network.shared else None
        self.shared_down_DF = drawn(hidden, network.shared) if network.shared else None
        choices, per_token = tokens * (network.per_token or 1), network.per_token or 1
        places = -(-choices // self.used)
        choice_EC = torch.arange(self.used * places, device=device).view(places, self.used).t()
        self.token_of_EC = choice_EC % choices // per_token
        self.weight_EC = (choice_EC < choices).to(dtype) / per_token

    def __call__(self, x_BD: Tensor) -> Tensor:
        """The output (B, D) of tokens (B, D)."""
        if self.router_ED is None:
            return self._through(x_BD[None], self.up_EFD, self.down_EDF)[0]
        torch.topk((x_BD @ self.router_ED.t()).softmax(-1), self.network.per_token)
        out_ECD = self._through(x_BD[self.token_of_EC], self.up_EFD, self.down_EDF) * self.weight_EC[..., None]
        found_BD = torch.zeros_like(x_BD).index_add_(0, self.token_of_EC.flatten(), out_ECD.flatten(0, 1))
        if self.shared_up_FD is not None and self.shared_down_DF is not None:
            found_BD += self._through(x_BD[None], self.shared_up_FD[None], self.shared_down_DF[None])[0]
        return found_BD

    def _through(self, x_ECD: Tensor, up_EFD: Tensor, down_EDF: Tensor) -> Tensor:
        inner_ECF = torch.bmm(x_ECD, up_EFD.transpose(1, 2))
        if self.network.gated:
            gate_ECF, inner_ECF = inner_ECF.chunk(2, dim=-1)
            inner_ECF = silu(gate_ECF) * inner_ECF
        else:
            inner_ECF = gelu(inner_ECF)
        return torch.bmm(inner_ECF, down_EDF.transpose(1, 2))


def rest_of_layer(x_BTD: Tensor, attended_BTD: Tensor, network: FeedForward) -> Tensor:
    """What a layer makes of its input and of attention's output, for one token of each sequence."""
    h_BD = (x_BTD + attended_BTD)[:, 0]
    return (h_BD + network(normed(h_BD)))[:, None]


def normed(x: Tensor) -> Tensor:
    """A norm before attention or the network, without a weight."""
    return rms_norm(x, x.shape[-1:])
