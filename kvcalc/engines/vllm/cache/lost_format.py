"""Formats that pages of some layers are not laid out for, in versions of vLLM that forget to.

Such a cache would have other bytes than its format says, and its kernels would not find them; it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.vllm.cache.span_specs import ChunkedLocal, SlidingWindow
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvcalc.engines.vllm.cache.specs import Spec
    from kvcalc.engines.vllm.defaults import Version

PACKED_IN_WINDOWS: dict[str, Version] = {"int4_per_token_head": (0, 28), "nvfp4": (0, 21)}
"""SlidingWindowSpec.real_page_size_bytes counts a whole byte of each element up to 0.27.1 and 0.20.2
(vllm/v1/kv_cache_interface.py)."""
PACKED_IN_CHUNKS: dict[str, Version] = {"nvfp4": (0, 21)}
"""ChunkedLocalAttentionSpec has AttentionSpec's, which does so in 0.20.2."""
SCALES_OF_CHUNKS: Version = (0, 29)
"""Up to 0.28 unify_hybrid_kv_cache_specs makes chunks of FullAttentionSpec without kv_quant_mode, and so without scales
(vllm/v1/core/kv_cache_utils.py; asked of 0.26's planner)."""


def check_pages(specs: Iterable[Spec], cache_format: str, version: Version, *, promoted: bool) -> None:
    """Refuses pages that are not laid out for the format.

    Args:
        specs: as layers tell them, before windows and chunks are promoted to keep every token.
        cache_format: what elements are kept in.
        version: of vLLM.
        promoted: whether they are.

    Raises:
        KvcalcError: there are such.
    """
    for spec in specs:
        if isinstance(spec, SlidingWindow) and not promoted:
            since = PACKED_IN_WINDOWS.get(cache_format)
        elif isinstance(spec, ChunkedLocal) and promoted:
            since = SCALES_OF_CHUNKS if cache_format.endswith("_per_token_head") else None
        elif isinstance(spec, ChunkedLocal):
            since = PACKED_IN_CHUNKS.get(cache_format)
        else:
            continue
        if since is not None and version < since:
            raise KvcalcError(
                f"--cache-dtype: vllm before {'.'.join(map(str, since))} lays out no {cache_format} for "
                f"{spec.family}s (vllm/v1/kv_cache_interface.py and vllm/v1/core/kv_cache_utils.py); --cache-dtype fp8 "
                "or --engine vllm@0.33"
            )
