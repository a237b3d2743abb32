"""What pools of compressed attention hold: bytes of a token, and those that do not grow with tokens."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.engines.sglang.compressed import (
    BY_REQUESTS,
    ENTRY,
    EVICTION,
    INDEX_PAGE,
    PADDED,
    PAGES_KEPT,
    REQUESTS,
    RINGS,
    SHARING,
    TAILS,
    WINDOW,
)
from kvcalc.engines.sglang.pools import Widths
from kvcalc.mechanisms import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.content_counter import TensorRows
    from kvcalc.engines.sglang.settings import Settings
    from kvcalc.formats.element import ElementFormat


def compressed_widths(rows: Iterable[TensorRows], settings: Settings, kept: CacheFormat) -> Widths:
    """Bytes of a token on a rank, and those that do not grow with tokens."""
    formats = dict(kept.tensors)
    page, requests = settings.page_size, settings.max_running_requests or REQUESTS
    by_requests = settings.version >= BY_REQUESTS
    full, window, fixed = Fraction(0), Fraction(0), 0
    for each in rows:
        ratio = getattr(each.layer.attention, "compress_ratio", None) or 1
        if each.tensor.role is Role.STATE and ratio in RINGS:
            ring = RINGS[ratio]
            fixed += -(-((requests + 1) * ring + ring + 1) // ratio) * ratio * each.row_bytes
        elif each.tensor.role is Role.STATE and each.tensor.last is not None:
            window += Fraction(each.tensor.last.value * each.row_bytes, page if by_requests else WINDOW)
        elif each.tensor.role is Role.INDEX:
            full += Fraction(each.row_bytes, ratio)
            if ratio in SHARING and settings.version >= PAGES_KEPT:
                fixed += (page // ratio + INDEX_PAGE) * each.row_bytes
        elif each.tensor.last is None and ratio in SHARING and settings.version < PAGES_KEPT:
            full += Fraction(each.row_bytes, ratio)
        elif each.tensor.last is None:
            entry = _padded(each.row_bytes, page // ratio, settings, formats["compressed_kv"])
            full += entry / ratio
            fixed += int(page * entry) if ratio in SHARING else 0
        else:
            window += _padded(each.row_bytes, page, settings, formats["kv"])
    cap = window_tokens(settings) if by_requests and not settings.swa_ratio_given else None
    if cap is not None:
        fixed += int(cap * window)
    return Widths(full, window, fixed=fixed, window_cap=cap)


def is_reserved(rows: TensorRows, *, by_requests: bool) -> bool:
    """Whether what a sequence keeps in a tensor lies in what is reserved for it ahead."""
    if by_requests:
        return rows.tensor.last is not None
    return rows.tensor.role is Role.STATE and getattr(rows.layer.attention, "compress_ratio", None) in RINGS


def _padded(row_bytes: int, rows: int, settings: Settings, kept: ElementFormat) -> Fraction:
    """Bytes of a row of all layers as they are priced, with what a page is padded by."""
    if settings.version < BY_REQUESTS:
        return Fraction(row_bytes)
    entry, unit = ENTRY // kept.block_elems * kept.block_bytes, PADDED[kept.name]
    return Fraction(row_bytes // entry * -(-rows * entry // unit) * unit, rows)


def window_tokens(settings: Settings) -> int:
    """Those of the pool of windows where nobody gives its share (compute_swa_request_cap, _resolve_swa_cap_tokens)."""
    page, requests = settings.page_size, settings.max_running_requests or REQUESTS
    cap = (WINDOW + EVICTION + 2 * page) * requests + settings.chunks_in_flight * settings.chunked_prefill_size + page
    kept = 0 if settings.disable_radix_cache else TAILS * requests * (WINDOW + page)
    return -(-(cap + kept) // page) * page
