"""Causal convolutions of each channel by itself, in two ways. Letters of shapes are in base.py."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad


class CausalConvolution(nn.Module):
    """Each channel is mixed with its own last L - 1 inputs, or every so many of them. No bias: it has no memory."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.dilation = dilation
        self.weight: Tensor = nn.Parameter(torch.empty(channels, kernel))

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Of the whole sequence, with zeros before it: (B, T, C)."""
        channels, kernel = self.weight.shape
        padded_BCT = pad(x_BTC.transpose(1, 2), ((kernel - 1) * self.dilation, 0))
        return conv1d(padded_BCT, self.weight.unsqueeze(1), dilation=self.dilation, groups=channels).transpose(1, 2)

    def begin(self, sequences: int) -> Tensor:
        """What is kept before the first token: zeros (B, L - 1, C)."""
        channels, kernel = self.weight.shape
        return self.weight.new_zeros(sequences, (kernel - 1) * self.dilation, channels)

    def advance(self, x_BTC: Tensor, kept_BLC: Tensor) -> tuple[Tensor, Tensor]:
        """Of the next tokens, from the inputs that were kept: (B, T, C), and the inputs to keep."""
        inputs_BSC = torch.cat((kept_BLC.to(x_BTC.dtype), x_BTC), dim=1)
        reach = (self.weight.shape[1] - 1) * self.dilation + 1
        windows_BTCL = inputs_BSC.unfold(1, reach, 1)[..., :: self.dilation]
        return (windows_BTCL * self.weight).sum(-1), inputs_BSC[:, x_BTC.shape[1] :]


class Convolutions:
    """Several convolutions by the names under which their inputs are kept; of a kernel of one, nothing is."""

    def __init__(self, **named: CausalConvolution) -> None:
        self._named = named

    def begin(self, sequences: int) -> dict[str, Tensor]:
        """What is kept before the first token."""
        first = {name: each.begin(sequences) for name, each in self._named.items()}
        return {name: kept for name, kept in first.items() if kept.shape[1]}

    def advance(
        self, inputs: dict[str, Tensor], kept: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Each one's outputs for the next tokens, and the inputs to keep."""
        outputs, new = {}, {}
        for name, each in self._named.items():
            outputs[name], new[name] = each.advance(inputs[name], kept.get(name, each.begin(len(inputs[name]))))
        return outputs, {name: new[name] for name in new if name in kept}
