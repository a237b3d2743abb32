"""The engines, one file each: how many bytes a cache really takes under each of them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.engines.base import Engine, RankLoad
from kvcalc.engines.content import Content, IntegerCount, content_bytes, contents
from kvcalc.engines.exact import Exact
from kvcalc.errors import KvcalcError, nearest_or_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENGINES: Mapping[str, Engine] = MappingProxyType({engine.name: engine for engine in (Exact(),)})

__all__ = [
    "ENGINES",
    "Content",
    "Engine",
    "Exact",
    "RankLoad",
    "byte_count",
    "content_bytes",
    "contents",
    "find_engine",
]


def find_engine(name: str) -> Engine:
    """The engine of that name.

    Raises:
        KvcalcError: no such engine.
    """
    if name not in ENGINES:
        raise KvcalcError(f"--engine: unknown engine '{name[:40]}'{nearest_or_all(name, ENGINES)}")
    return ENGINES[name]


def byte_count(engine: Engine) -> Callable[[RankLoad], int]:
    """Counts the bytes of caches of one format as the engine's terms do, and without terms where it counts contents."""
    if isinstance(engine, Exact) and type(engine).rank_cache is Exact.rank_cache:
        return IntegerCount().bytes
    return lambda load: engine.rank_cache(load).bytes
