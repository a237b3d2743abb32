"""What common operations return on the meta device, as rules of shapes.

There torch's own operations begin by loading its compiler, 820 modules, which takes longer than all else that a small
verification does. Where no rule fits, torch's own operation is called; the tests compare the rules with those.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Rule = Callable[..., Sequence[int] | None]


class ShapeRules(TorchFunctionMode):
    """Within it, operations on floating-point tensors of the meta device follow the rules; so do those on bytes."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],  # the interface's
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The result of `func`: by its rule where that gives a shape, else by torch."""
        options = kwargs or {}
        rule, operands = _RULES.get(func.__name__), _tensors((*args, *options.values()))
        known = all(operand.is_meta and (operand.is_floating_point() or rule in _OF_INTEGERS) for operand in operands)
        shape = rule(*args, **options) if rule and operands and known else None
        return func(*args, **options) if shape is None else _empty(shape, operands)


def _tensors(args: Sequence[Any]) -> list[Tensor]:
    """The tensors among arguments, those in a list of tensors too."""
    flat = [each for arg in args for each in (arg if isinstance(arg, tuple | list) else (arg,))]
    return [each for each in flat if isinstance(each, Tensor)]


def _empty(shape: Sequence[int], operands: Sequence[Tensor]) -> Tensor:
    """A tensor of that shape, and of the dtype that operands of these dtypes are promoted to."""
    dtype = operands[0].dtype
    for operand in operands[1:]:
        dtype = torch.promote_types(dtype, operand.dtype)
    return torch.empty(tuple(shape), dtype=dtype, device="meta")


# Each rule takes an operation's arguments and gives the shape of its result, or None where it does not know it.


def _elementwise(*args: Any, **options: Any) -> Sequence[int] | None:
    shape = []
    for sizes in zip_longest(
        *(reversed(operand.shape) for operand in _tensors((*args, *options.values()))), fillvalue=1
    ):
        differing = set(sizes) - {1}
        if len(differing) > 1:
            return None
        shape.append(differing.pop() if differing else 1)
    return shape[::-1]


def _bits(*codes: Any) -> Sequence[int] | None:
    """Of bytes and numbers: other operands may change the dtype."""
    plain = all(each.dtype is torch.uint8 if isinstance(each, Tensor) else type(each) is int for each in codes)
    return _elementwise(*codes) if plain else None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Sequence[int] | None:
    fits = bias is None and x.dtype == weight.dtype and x.shape[-1] == weight.shape[-1]
    return (*x.shape[:-1], weight.shape[0]) if fits else None


def _outer(left: Tensor, right: Tensor) -> Sequence[int] | None:
    return (*left.shape, *right.shape) if left.dim() == right.dim() == 1 else None


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Sequence[int] | None:
    shapes = [list(tensor.shape) for tensor in tensors]
    joined = sum(shape.pop(dim) for shape in shapes)
    if any(shape != shapes[0] for shape in shapes):
        return None
    shapes[0].insert(dim % (len(shapes[0]) + 1), joined)
    return shapes[0]


def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Sequence[int] | None:
    shape = list(tensors[0].shape)
    if any(tensor.shape != tensors[0].shape for tensor in tensors):
        return None
    shape.insert(dim % (len(shape) + 1), len(tensors))
    return shape


def _reduction(x: Tensor, dim: int | None = None, *, keepdim: bool = False) -> Sequence[int] | None:
    if dim is None:
        return None
    shape = list(x.shape)
    shape[dim] = 1
    if not keepdim:
        del shape[dim]
    return shape


def _einsum(equation: str, *operands: Tensor) -> Sequence[int] | None:
    inputs, output = equation.split("->")
    sizes: dict[str, int] = {}
    for letters, operand in zip(inputs.split(","), operands, strict=True):
        for letter, size in zip(letters, operand.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                return None
    return [sizes[letter] for letter in output]


_ELEMENTWISE = (
    *("add", "sub", "mul", "div", "__rpow__", "neg", "abs", "exp", "cos", "sin"),
    *("sigmoid", "silu", "softplus", "softmax", "normalize", "rms_norm"),
    *("reciprocal", "clamp", "nan_to_num", "trunc", "log2", "exp2", "ceil"),
)

_OF_INTEGERS = (_cat, _bits)

_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(("sum", "amax", "amin"), _reduction),
    **dict.fromkeys(("__and__", "__or__", "__xor__", "__lshift__", "__rshift__"), _bits),
    "linear": _linear,
    "outer": _outer,
    "cat": _cat,
    "stack": _stack,
    "einsum": _einsum,
}
