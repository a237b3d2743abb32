"""A pool of windows that follows from the requests that may run, not from the tokens of the other pool.

    tokens = (window + 128 + 2 x page) x max-running-requests + 2 x chunked-prefill-size + page, rounded up to pages;
             one chunked-prefill-size with pipeline stages, which do not overlap scheduling

Since 0.5.22, where equal prefixes are not shared and max-running-requests is given: SWARequestCapPoolConfigurator of
sglang/srt/model_executor/pool_configurator.py. The full pool has what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.sglang.model_types import WINDOW_POOLS, WINDOWS_LESS_ONE
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from kvcalc.engines.sglang.defaults import Version
    from kvcalc.engines.sglang.pools import Widths
    from kvcalc.engines.sglang.settings import Settings
    from kvcalc.model.model import Model

BY_REQUESTS: Version = (0, 5, 22)
EVICTION = 128
"""SGLANG_SWA_EVICTION_INTERVAL of sglang/srt/environ.py: tokens after which what left a window is given back."""


def holds_by_requests(model: Model, settings: Settings) -> bool:
    """Whether the pool of windows is sized so, on a stage that has layers of both pools."""
    asked = settings.disable_radix_cache and settings.max_running_requests is not None
    kinds = model.layout.kinds
    both = any(layer.span is None and layer.attention.elements_per_token for layer in kinds)
    chunks = settings.chunked_prefill_size > 0
    return settings.version >= BY_REQUESTS and settings.window_pool and asked and both and chunks


def capped(widths: Widths, model: Model, settings: Settings) -> Widths:
    """Bytes of a token, with the pool of windows among those that do not grow, where it is sized by requests.

    Raises:
        KvcalcError: it is, and what SGLang takes for the window is not known.
    """
    if not (widths.full and widths.window and holds_by_requests(model, settings)):
        return widths
    if model.model_type not in WINDOW_POOLS:
        raise KvcalcError(
            "--engine-option max-running-requests: with disable-radix-cache sglang sizes the pool of windows by it and "
            "by what the model's class calls its window, which is not known of this model; leave one of them out"
        )
    window = max(layer.span.tokens for layer in model.layout.kinds if layer.span is not None)
    window -= model.model_type in WINDOWS_LESS_ONE
    page, requests = settings.page_size, settings.max_running_requests or 1
    tokens = (
        (window + EVICTION + 2 * page) * requests + settings.chunks_in_flight * settings.chunked_prefill_size + page
    )
    tokens = -(-tokens // page) * page
    return widths._replace(fixed=tokens * int(widths.window), window_cap=tokens)
