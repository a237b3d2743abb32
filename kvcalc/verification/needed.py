"""Is all that a layer keeps used? The least change of an output when something that is kept is taken away.

What leaving out an element changes is told to first order: the largest of gradient x value, relative to that of the
element which matters most. An element that only helps to choose rows has no gradient, and is really left out. Where
what is read depends on the token, several tokens are asked.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kvcalc.reference import ReferenceAttention, ReferenceState, Rows

_ASKED, _ASKED_STATES = 24, 4
"""Tokens that are asked, where what is read of rows, or of a state, depends on them."""


def needed_rows(part: ReferenceAttention, x_B1D: Tensor, start: int, rows: Rows) -> float:
    """The least change of an output at the last position: without the oldest row, and without each element."""
    choosing = sorted(part.chosen & rows.tensors.keys())
    tokens = _tokens(x_B1D, _ASKED) if choosing else [x_B1D]
    oldest = rows.positions_S == rows.positions_S.min()
    shorter = rows._replace(positions_S=rows.positions_S.masked_fill(oldest, -1))
    changes = [_largest_change(part, tokens, start, rows, shorter)]
    for name in choosing:
        for element in range(rows.tensors[name].shape[-1]):
            without = rows.tensors[name].clone()
            without[..., element] = 0
            fewer = rows._replace(tensors={**rows.tensors, name: without})
            changes.append(_largest_change(part, tokens, start, rows, fewer))
    read = {name: tensor for name, tensor in rows.tensors.items() if name not in choosing}

    def output(x_B1D: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        return part.attend(x_B1D, start, rows._replace(tensors={**rows.tensors, **tensors}))

    return min(*changes, _least_use(output, tokens, read, over=(0, 1)))


def needed_state(part: ReferenceState, x_B1D: Tensor, kept: Mapping[str, Tensor]) -> float:
    """The least change of the next output without an element; every element of each row of it counts."""

    def output(x_B1D: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        return part.advance(x_B1D, tensors)[0]

    return _least_use(output, _tokens(x_B1D, _ASKED_STATES), kept, over=(0,))


def relative(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest element; of nothing but zeros, as it is."""
    return float((found - expected).abs().max() / (expected.abs().max() or 1))


def _tokens(x_B1D: Tensor, number: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(number)
    return [torch.randn(x_B1D.shape, dtype=x_B1D.dtype, generator=generator) for _ in range(number)]


def _largest_change(part: ReferenceAttention, tokens: Iterable[Tensor], start: int, rows: Rows, fewer: Rows) -> float:
    return max(relative(part.attend(x, start, fewer), part.attend(x, start, rows)) for x in tokens)


def _least_use(
    output: Callable[[Tensor, Mapping[str, Tensor]], Tensor],
    tokens: Iterable[Tensor],
    tensors: Mapping[str, Tensor],
    over: tuple[int, ...],
) -> float:
    """Of all elements, each by the token and the place (along `over`) that use it most, the one that is used least."""
    if not tensors:
        return float("inf")
    each = [_uses(partial(output, x), tensors, over) for x in tokens]
    used = torch.stack(each).amax(dim=0)
    return float(used.min() / (used.max() or 1))


def _uses(
    output: Callable[[Mapping[str, Tensor]], Tensor], tensors: Mapping[str, Tensor], over: tuple[int, ...]
) -> Tensor:
    """Of one token: gradient x value of each element, the largest along `over`."""
    with torch.enable_grad():
        asked = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
        found = output(asked)
        some = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        gradients = torch.autograd.grad(
            (found * some).sum(), list(asked.values()), allow_unused=True, materialize_grads=True
        )
    uses = [
        (gradient * tensor.detach()).abs().amax(dim=over).flatten()
        for gradient, tensor in zip(gradients, asked.values(), strict=True)
    ]
    return torch.cat(uses)
