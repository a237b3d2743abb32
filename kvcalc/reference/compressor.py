"""Pooling the vectors of several tokens into one, by a gate of each channel. Letters of shapes are in base.py.

Source: DeepSeek-V4, section 2.3; transformers 5.24, models/deepseek_v4/modeling_deepseek_v4.py, DeepseekV4HCACompressor
and DeepseekV4CSACompressor; DeepSeek-V4.1-Flash, inference/model.py, Compressor and Indexer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kvcalc.reference.functional import integers, rotate, split_heads

EPSILON = 1e-6


class Compressor(nn.Module):
    """One entry for every `ratio` tokens: softmax over tokens of scores + bias, times their vectors, added up.

    With overlap a token has two vectors and two scores. Its first go into the entry after its own, its second into its
    own; so an entry reads twice as many tokens. Of the first entry, the tokens before it are none. Of one token the
    gate is 1: its entry is its vector.

    Attributes:
        vectors: that a token has.
    """

    def __init__(self, hidden_size: int, width: int, ratio: int, rope: int, *, overlap: bool) -> None:
        super().__init__()
        self.width, self.ratio, self.rope = width, ratio, min(rope, width)
        self.overlap, self.vectors = overlap, 1 + overlap
        self.kv_proj = nn.Linear(hidden_size, self.vectors * width, bias=False)
        self.gate_proj = nn.Linear(hidden_size, self.vectors * width, bias=False)
        self.position_bias = nn.Parameter(torch.empty(ratio, self.vectors * width))
        self.kv_norm = nn.RMSNorm(width, eps=EPSILON)

    def states(self, x_BTD: Tensor, at_T: Tensor) -> Tensor:
        """What waits for its entry: a token's vectors, then their scores (B, T, 2 x vectors, width)."""
        kv, scores = self.kv_proj(x_BTD), self.gate_proj(x_BTD) + self.position_bias[at_T % self.ratio]
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        return split_heads(torch.cat((kv, scores), dim=-1), 2 * self.vectors).to(wide)

    def entries(self, states_BTvC: Tensor, first: int) -> Tensor:
        """Entries first, ... (B, T, width), from the states of their tokens and, with overlap, of the entry before."""
        return self.rotated(self.latents(states_BTvC, first), first)

    def latents(self, states_BTvC: Tensor, first: int) -> Tensor:
        """The same before they are rotated."""
        tokens = states_BTvC.shape[1]
        groups = states_BTvC.reshape(-1, tokens // self.ratio, self.ratio, *states_BTvC.shape[2:])
        kv, scores = groups[:, :, :, : self.vectors], groups[:, :, :, self.vectors :]
        if self.overlap:
            kv, scores = (_with_the_group_before(each, first, none) for each, none in ((kv, 0.0), (scores, -torch.inf)))
        else:
            kv, scores = kv.squeeze(3), scores.squeeze(3)
        return self.kv_norm((torch.softmax(scores, dim=2) * kv).sum(2).to(self.kv_norm.weight.dtype))  # type: ignore[no-any-return]  # torch: Any

    def rotated(self, pooled: Tensor, first: int) -> Tensor:
        """Its last elements, at the position of the entry's first token."""
        return _rotated(pooled, self.rope, self.ratio, first)

    def textbook(self, x_BTD: Tensor, at_T: Tensor) -> Tensor:
        """Every entry of whole sequences, one after the other, from the tokens themselves."""
        return self.rotated(self.textbook_latents(x_BTD, at_T), 0)

    def textbook_latents(self, x_BTD: Tensor, at_T: Tensor) -> Tensor:
        """The same before they are rotated."""
        states = self.states(x_BTD, at_T)
        kv, scores = states[:, :, : self.vectors], states[:, :, self.vectors :]
        found = [self._one(kv, scores, number) for number in range(x_BTD.shape[1] // self.ratio)]
        if not found:
            return states[:, :0, 0].to(x_BTD.dtype)
        return torch.stack(found, dim=1).to(x_BTD.dtype)

    def _one(self, kv_BTvC: Tensor, scores_BTvC: Tensor, number: int) -> Tensor:
        start, end = number * self.ratio, (number + 1) * self.ratio
        kv, scores = kv_BTvC[:, start:end, -1], scores_BTvC[:, start:end, -1]
        if self.overlap and number:
            before = slice(start - self.ratio, start)
            kv, scores = (torch.cat((one[:, before, 0], own), 1) for one, own in ((kv_BTvC, kv), (scores_BTvC, scores)))
        return self.kv_norm((scores.softmax(1) * kv).sum(1).to(self.kv_norm.weight.dtype))  # type: ignore[no-any-return]  # torch: Any


class KeysOfEntries(nn.Module):
    """An indexer's keys, each made of an entry before that is rotated, and rotated as it is."""

    def __init__(self, width: int, entry: int, ratio: int, rope: int) -> None:
        super().__init__()
        self.ratio, self.rope = ratio, min(rope, width)
        self.k_proj = nn.Linear(entry, width, bias=False)
        self.k_norm = nn.RMSNorm(width, eps=EPSILON)

    def keys(self, latents_BTK: Tensor, first: int) -> Tensor:
        """Keys first, ... (B, T, width)."""
        return _rotated(self.k_norm(self.k_proj(latents_BTK)), self.rope, self.ratio, first)


def _rotated(pooled: Tensor, rope: int, ratio: int, first: int) -> Tensor:
    """The last elements of entries first, ..., each at the position of its first token."""
    at = ratio * integers(first, first + pooled.shape[1], pooled.device)
    still, turning = pooled[..., : pooled.shape[-1] - rope], pooled[..., pooled.shape[-1] - rope :]
    return torch.cat((still, rotate(turning.unsqueeze(2), at).squeeze(2)), dim=-1)


def _with_the_group_before(groups: Tensor, first: int, none: float) -> Tensor:
    """The first vectors of each group's predecessor, then its own second ones: (B, groups, 2 x ratio, width)."""
    before, own = groups[:, :, :, 0], groups[:, :, :, 1]
    if first == 0:
        before = torch.cat((torch.full_like(before[:, :1], none), before), 1)
        own = torch.cat((own[:, :1], own), 1)
    return torch.cat((before[:, :-1], own[:, 1:]), 2)
