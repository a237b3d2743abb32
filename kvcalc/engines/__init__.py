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
    "choose_engine",
    "content_bytes",
    "contents",
]


def choose_engine(text: str, options: Mapping[str, str], block_size: str | None) -> Engine:
    """The engine that a scenario is computed with.

    Args:
        text: NAME, or NAME@VERSION.
        options: as the engine names them, dashes for underscores.
        block_size: of its blocks, in tokens; None leaves its own default.

    Raises:
        KvcalcError: no such engine or version, or an option that it does not have.
    """
    name, at, version = text.partition("@")
    if name not in ENGINES:
        raise KvcalcError(f"--engine: unknown engine '{name[:40]}'{nearest_or_all(name, ENGINES)}")
    if at:
        raise KvcalcError(f"--engine: {name} has no versions, and '{version[:40]}' is asked for")
    if block_size is not None:
        raise KvcalcError(f"--block-size: engine {name} counts tokens, not blocks")
    if options:
        raise KvcalcError(f"--engine-option: engine {name} has no options, so none named '{next(iter(options))[:60]}'")
    return ENGINES[name]


def byte_count(engine: Engine) -> Callable[[RankLoad], int]:
    """Counts the bytes of caches of one format as the engine's terms do, and without terms where it counts contents."""
    if isinstance(engine, Exact) and type(engine).rank_cache is Exact.rank_cache:
        return IntegerCount().bytes
    return lambda load: engine.rank_cache(load).bytes
