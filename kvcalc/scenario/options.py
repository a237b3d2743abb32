"""The keyword arguments of `make_scenario`, for the functions that pass them on: to type checkers and to `help`."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from fractions import Fraction

    from kvcalc.gpu import Gpu
    from kvcalc.note import Note

F = TypeVar("F", bound="Callable[..., object]")


class Everywhere(TypedDict, total=False):
    """What any question may say."""

    context: int | str | None
    utilization: float | str | Fraction
    allow_pp: bool
    engine: str
    engine_option: Mapping[str, str | float] | None
    block_size: int | str | None
    dtype: str | None
    parameters: int | str | None
    weight_dtype: str | None
    state_dtype: str | None
    conv_dtype: str | None
    weights: int | str | None
    temporary: int | str | None
    overhead: int | str | None
    reserve: Mapping[str, int | str] | None
    shared_prefix: int | str | None
    assume: Mapping[str, Any] | None
    origin: str | None
    notes: tuple[Note, ...]


class Varied(Everywhere, total=False):
    """Where the deployment is what is looked for."""

    cache_dtype: str | None


class Asked(Everywhere, total=False):
    """Where the format of the cache may be several."""

    batch: int | str
    gpu: Gpu | str
    gpu_memory: int | str | None
    tp: int | str | None
    pp: int | str | None
    dp: int | str | None
    ep: int | str | None
    dcp: int | str | None
    dp_attention: bool
    gpus: int | str | None
    node_size: int | str | None
    spill: bool


class Options(Asked, total=False):
    """All of them."""

    cache_dtype: str | None


def takes(source: Callable[..., object], options: type[Any]) -> Callable[[F], F]:
    """Shows the options that a function passes on in its signature, and refuses others.

    Args:
        source: has them, with their defaults.
        options: a TypedDict of those that are passed on.
    """
    passed_on = options.__optional_keys__

    def decorated(function: F) -> F:
        own = inspect.signature(function)
        named = [each for each in own.parameters.values() if each.kind is not each.VAR_KEYWORD]
        others = [each for name, each in inspect.signature(source).parameters.items() if name in passed_on]
        known = {each.name for each in (*named, *others)}

        @wraps(function)
        def checked(*args: Any, **given: Any) -> object:
            if unknown := given.keys() - known:
                raise TypeError(f"{function.__name__}() got an unexpected keyword argument '{min(unknown)}'")
            return function(*args, **given)

        checked.__signature__ = own.replace(parameters=[*named, *others])  # type: ignore[attr-defined]
        return cast("F", checked)

    return decorated
