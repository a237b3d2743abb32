"""What vLLM makes of the longest request: models that it lays out alike for two lengths need be laid out once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.vllm.defaults import ENGINE_V0_GONE
from kvcalc.engines.vllm.profiled.temporary import context_of_latents
from kvcalc.engines.vllm.profiled.towers import pairs_of_frames
from kvcalc.formats.turboquant import TURBOQUANT

if TYPE_CHECKING:
    from collections.abc import Hashable

    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.settings import Settings


def made_of_longest(setup: Setup, settings: Settings) -> Hashable:
    """Settings, with what is read of the longest request in place of its length."""
    if settings.version < ENGINE_V0_GONE or setup.cache_format.name in TURBOQUANT:
        return setup.max_model_len
    read = pairs_of_frames(settings), context_of_latents(setup.max_model_len, settings)
    return settings._replace(max_model_len=0), read
