"""What multi-head, multi-query and grouped-query attention have in common: keys and values of heads."""

from __future__ import annotations

from kvcalc.mechanisms.base import CachedTensor, Projection
from kvcalc.term import Factor


def check_widths(head_dim: int, v_head_dim: int | None, *, k_equals_v: bool) -> None:
    """A tensor that is key and value at once has one width.

    Raises:
        ValueError: two are given.
    """
    if k_equals_v and v_head_dim not in (None, head_dim):
        raise ValueError(f"v_head_dim: is head_dim where k_equals_v is true, and {v_head_dim} is not {head_dim}")


def keys_and_values(
    heads: Factor | None, head_dim: int, v_head_dim: int | None, *, k_equals_v: bool
) -> tuple[CachedTensor, ...]:
    """A key and a value for each of `heads` heads; one tensor where they are the same."""
    key = CachedTensor("k", (Factor("head_dim", head_dim),), heads)
    if k_equals_v:
        return (key,)
    width = Factor("head_dim", head_dim) if v_head_dim is None else Factor("v_head_dim", v_head_dim)
    return key, CachedTensor("v", (width,), heads)


def key_and_value_projections(
    hidden_size: int, kv_heads: int, head_dim: int, v_head_dim: int | None, *, k_equals_v: bool = False
) -> tuple[Projection, ...]:
    """What makes the keys and the values of `kv_heads` heads."""
    name, v_width = "key and value projections", head_dim if v_head_dim is None else v_head_dim
    keys = Projection(name, kv_heads * head_dim, hidden_size, kv_heads)
    return (keys,) if k_equals_v else (keys, Projection(name, kv_heads * v_width, hidden_size, kv_heads, "v"))


def multiply_adds(num_heads: int, head_dim: int, v_head_dim: int | None) -> int:
    """Of every query head: a score over the key's width, and a weighted sum over the value's."""
    return num_heads * (head_dim + (head_dim if v_head_dim is None else v_head_dim))


def head_label(heads: str, head_dim: int, v_head_dim: int | None, *, k_equals_v: bool = False) -> str:
    """'64/8 x 128', or '64/4 x 192+128' where values are of another width."""
    widths = f"{head_dim}" if v_head_dim in (None, head_dim) else f"{head_dim}+{v_head_dim}"
    return f"{heads} x {widths}{', k = v' if k_equals_v else ''}"


def without_values(formula: str, *, k_equals_v: bool) -> str:
    """The formula of a layer that keeps one tensor for both."""
    if not k_equals_v:
        return formula
    return formula.replace("(head_dim + v_head_dim)", "head_dim").replace("head_dim + v_head_dim", "head_dim")
