"""Is all that a layer keeps used? The least change of an output when something that is kept is taken away.

What leaving out an element changes is told to first order: the largest of gradient x value, relative to that of the
element which matters most. An element that only helps to choose rows has no gradient, and is really left out. Where
what is read depends on the token, several tokens are asked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kvcalc.reference import Rows
from kvcalc.reference.cache import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.reference import ReferenceAttention, ReferenceParts, ReferenceState

_ASKED, _ASKED_STATES, _ASKED_PARTS = 24, 4, 192
"""Tokens that are asked, where what is read of rows, of a state, or of parts depends on them. Of parts, one element of
one token moves a pooled key a little, and few tokens choose otherwise."""


def needed_rows(part: ReferenceAttention, x_B1D: Tensor, start: int, rows: Rows) -> float:
    """The least change of an output at the last position: without the oldest row, and without each element."""
    choosing = sorted(part.chosen & rows.tensors.keys())
    asked = _ASKED if choosing else 1
    x_A1D = _tokens(x_B1D, asked) if choosing else x_B1D
    each = rows._replace(tensors=_for_each(rows.tensors, asked))
    right_A1D = part.attend(x_A1D, start, each)

    def change(fewer: Rows) -> float:
        return _largest_change(part.attend(x_A1D, start, fewer), right_A1D, asked)

    oldest = rows.positions_S == rows.positions_S.min()
    changes = [change(each._replace(positions_S=rows.positions_S.masked_fill(oldest, -1)))]
    for name in choosing:
        for element in range(rows.tensors[name].shape[-1]):
            without = each.tensors[name].clone()
            without[..., element] = 0
            changes.append(change(each._replace(tensors={**each.tensors, name: without})))
    read = {name: tensor for name, tensor in each.tensors.items() if name not in choosing}

    def output(tensors: Mapping[str, Tensor]) -> Tensor:
        return part.attend(x_A1D, start, each._replace(tensors={**each.tensors, **tensors}))

    return min(*changes, _least_use(output, read, asked, over=(0, 1)))


def needed_parts(part: ReferenceParts, x_B1D: Tensor, start: int, rows: Mapping[str, Rows]) -> float:
    """The least change of an output at the last position, which completes an entry.

    Without a part's oldest row, and without each element of its rows; of entries, of those before that one.
    """
    asked = _ASKED_PARTS if part.chosen & rows.keys() else 1
    x_A1D = _tokens(x_B1D, asked) if asked > 1 else x_B1D
    newest = start // part.stride
    positions = {name: found.positions_S for name, found in rows.items()}
    kept = _for_each({name: found.tensors[name] for name, found in rows.items()}, asked)
    for name in part.entries:  # the newest is made again from what its tokens left
        earlier = positions[name] < newest * part.stride
        kept[name], positions[name] = kept[name][:, earlier], positions[name][earlier]

    def output(tensors: Mapping[str, Tensor]) -> Tensor:
        each = {name: Rows({name: tensor}, positions[name]) for name, tensor in {**kept, **tensors}.items()}
        if part.entries:
            first, end = max(0, newest * part.stride - part.reach), (newest + 1) * part.stride
            made = part.pool({name: in_order(each[name], name, first, end) for name in part.pooled}, newest)
            at_1 = torch.tensor([end - 1])
            for name in part.entries:
                joined = torch.cat((each[name].tensors[name], made[name]), 1)
                each[name] = Rows({name: joined}, torch.cat((positions[name], at_1)))
        return part.attend(x_A1D, start, each)

    right_A1D, changes = output({}), []
    for name, tensor in kept.items():
        oldest = tensor.clone()
        oldest[:, positions[name] == positions[name].min()] = 0
        changes.append(_largest_change(output({name: oldest}), right_A1D, asked))
        if name in part.chosen:
            changes += [
                _largest_change(output({name: _without(tensor, element)}), right_A1D, asked)
                for element in range(math.prod(tensor.shape[2:]))
            ]
    read = {name: tensor for name, tensor in kept.items() if name not in part.chosen}
    return min(*changes, _least_use(output, read, asked, over=(0, 1)))


def _without(tensor: Tensor, element: int) -> Tensor:
    """With one element of every row zero."""
    flat = tensor.flatten(2).clone()
    flat[..., element] = 0
    return flat.view_as(tensor)


def needed_state(part: ReferenceState, x_B1D: Tensor, kept: Mapping[str, Tensor]) -> float:
    """The least change of the next outputs without an element; every element of each row of it counts."""
    x_ATD = _tokens(x_B1D.repeat(1, part.steps, 1), _ASKED_STATES)

    def output(tensors: Mapping[str, Tensor]) -> Tensor:
        return part.advance(x_ATD, tensors)[0]

    return _least_use(output, _for_each(kept, _ASKED_STATES), _ASKED_STATES, over=(0,))


def relative(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest element; of nothing but zeros, as it is."""
    return float((found - expected).abs().max() / (expected.abs().max() or 1))


def _tokens(x_B1D: Tensor, asked: int) -> Tensor:
    """As many tokens for each sequence, side by side as sequences (A = asked x B)."""
    generator = torch.Generator().manual_seed(asked)
    return torch.cat([torch.randn(x_B1D.shape, dtype=x_B1D.dtype, generator=generator) for _ in range(asked)])


def _for_each(tensors: Mapping[str, Tensor], asked: int) -> dict[str, Tensor]:
    """What every asked token reads: the same."""
    return {name: tensor.repeat(asked, *[1] * (tensor.dim() - 1)) for name, tensor in tensors.items()}


def _largest_change(found_A1D: Tensor, right_A1D: Tensor, asked: int) -> float:
    """Of the asked tokens, the largest difference relative to that token's largest output."""
    pairs = zip(found_A1D.chunk(asked), right_A1D.chunk(asked), strict=True)
    return max(relative(found, right) for found, right in pairs)


def _least_use(
    output: Callable[[Mapping[str, Tensor]], Tensor], tensors: Mapping[str, Tensor], asked: int, over: tuple[int, ...]
) -> float:
    """Of all elements, each by the token and the place (along `over`) that use it most, the one that is used least.

    The use of an element is gradient x value.
    """
    if not tensors:
        return float("inf")
    with torch.enable_grad():
        wanted = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
        found = output(wanted)
        one = (found.shape[0] // asked, *found.shape[1:])
        some = torch.randn(one, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        gradients = torch.autograd.grad(
            (found * some.repeat(asked, *[1] * (found.dim() - 1))).sum(),
            list(wanted.values()),
            allow_unused=True,
            materialize_grads=True,
        )
    uses = torch.cat(
        [
            (gradient * tensor.detach()).abs().amax(dim=over).flatten()
            for gradient, tensor in zip(gradients, wanted.values(), strict=True)
        ]
    )
    return float(uses.min() / (uses.max() or 1))
