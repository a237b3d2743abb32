"""transformers' options as text, each by its own name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from kvcalc.engines.option import Option
from kvcalc.errors import KvcalcError
from kvcalc.units import MAX_CONTEXT, parse_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.engines.base import Engine

CacheKind = Literal["dynamic", "static"]


def _cache(text: str, what: str) -> CacheKind:
    known: dict[str, CacheKind] = {"dynamic": "dynamic", "static": "static"}
    value = known.get(text.strip().lower())
    if value is None:
        raise KvcalcError(f"{what}: '{text[:40]}' is none of dynamic, static")
    return value


OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "cache": Option(
            _cache,
            "dynamic",
            "dynamic grows with the tokens; static is allocated for the whole context at the first one.",
            source="transformers, generation/configuration_utils.py, cache_implementation",
        ),
        "prefill-chunk-size": Option(
            lambda text, what: parse_count(text, what, MAX_CONTEXT, 1),
            None,
            "Tokens of a prompt that one forward pass reads.",
            otherwise="the whole prompt",
            source="transformers, generation/configuration_utils.py, prefill_chunk_size",
        ),
    }
)

GIVEN_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "cache-implementation": "--engine-option cache=dynamic or cache=static, or --cache-dtype fp8",
        "max-cache-len": "--context",
        "max-length": "--context",
        "num-beams": "--batch, which counts beams",
        "dtype": "--dtype",
        "device-map": "--pp",
    }
)
"""Options of `generate` and `from_pretrained` that kvcalc has as options of its own."""


class Settings(NamedTuple):
    """What `generate` runs with.

    Attributes:
        static: whether the cache is allocated for the whole context.
        prefill_chunk_size: tokens of a pass over a prompt; None: all of it.
    """

    static: bool
    prefill_chunk_size: int | None


def settings_of(engine: Engine) -> Settings:
    """The options of an engine."""
    return Settings(engine.option("cache") == "static", engine.option("prefill-chunk-size"))
