"""A class that stands in for whatever a package of kernels has, so that what imports it can be imported on a CPU."""

from __future__ import annotations

from typing import Any


class EveryName(type):
    """A class that is also a function, a decorator, a generic, a union's member: what modules of kernels have."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        decorates = len(args) == 1 and callable(args[0]) and not kwargs and not isinstance(args[0], EveryName)
        return args[0] if decorates else cls

    def __getitem__(cls, key: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __or__

    def __iter__(cls) -> Any:
        return iter(())
