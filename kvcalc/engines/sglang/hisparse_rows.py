"""What HiSparse reserves on a rank of SGLang beyond hot sets and index keys, and what it takes elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.sglang.hisparse import COORDINATOR, HiSparse
from kvcalc.mechanisms import Role
from kvcalc.note import note, register
from kvcalc.term import Factor, Product
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.load import Load
    from kvcalc.engines.sglang.rows import SglangRows
    from kvcalc.model.stages import Stage
    from kvcalc.note import Note

register(
    {
        "hisparse-host-pool": "host memory that HiSparse keeps latents in",
        "hisparse-buffers": "what HiSparse keeps of each request that may run beside the pools is not counted",
    }
)

POOL = "sglang/srt/mem_cache/hisparse_memory_pool.py, HiSparseDSATokenToKVPool"
ALLOCATOR = "sglang/srt/mem_cache/allocator/hisparse.py, HiSparseTokenToKVPoolAllocator"
INT16, INT32, INT64 = 2, 4, 8


def hisparse_excess(layout: SglangRows, hisparse: HiSparse, stage: Stage, load: Load, tokens: int) -> Iterator[Product]:
    """Each excess of pools with so many tokens on the device."""
    page, every = layout.settings.page_size, tokens * hisparse.host_to_device_ratio
    hot = sum(sequences * hisparse.hot(context, page) for sequences, context in load.alike)
    kept = sum(sequences * min(context, hisparse.device_buffer_size) for sequences, context in load.alike)
    held = sum(sequences * -(-context // page) * page for sequences, context in load.alike)
    on_device = hisparse.on_device(load.alike, page)
    of_latents = (
        ("pages of hot sets for new tokens", hot - kept, COORDINATOR),
        ("the longest prompt as it is read", on_device - hot, ALLOCATOR),
        ("pool kept in its ratio to index keys", tokens - on_device, POOL),
    )
    of_keys = (
        ("rounding to pages", held - load.tokens, POOL),
        ("pool kept in its ratio to latents", every - held, POOL),
    )
    for rows in layout.grown_rows(stage):
        row, label = Factor("row", rows.row_bytes, "byte"), f"{rows.layer.label}: {rows.tensor.name}"
        for name, unused, source in of_latents if rows.tensor.role is Role.CACHE else of_keys:
            yield Product(f"{label}, {name}", (Factor("unused_tokens", unused, "token unused"), row), source)
    for extra in layout.extras(stage):
        row = Factor("row", extra.row, "byte")
        yield Product(extra.name, (Factor("tokens", every, "token"), row), POOL)


def host_pool_bytes(layout: SglangRows, hisparse: HiSparse, stage: Stage, tokens: int) -> int:
    """Host memory of a rank beside a device pool of so many tokens (pool_host/base.py, HostKVCache)."""
    page = layout.settings.page_size
    return (tokens * hisparse.host_to_device_ratio // page + 1) * page * latents_row(layout, stage)


def latents_row(layout: SglangRows, stage: Stage) -> int:
    """Bytes of a token's latents in all layers of a rank."""
    return sum(each.row_bytes for each in layout.grown_rows(stage) if each.tensor.role is Role.CACHE)


def buffer_bytes(layout: SglangRows, hisparse: HiSparse) -> int:
    """What a request that may run has on the device whether it runs or not (HiSparseCoordinator.__init__)."""
    setup, buffer, page = layout.setup, hisparse.device_buffer_size, layout.settings.page_size
    top_k = max(layer.attention.positions_read or 0 for layer in setup.model.layout.kinds)
    of_a_layer = 2 * INT32 * (buffer + page) + INT16 * buffer
    of_all = INT64 * (buffer + page) + INT64 * (setup.max_model_len + page) + 2 * INT32 * top_k
    return setup.model.num_layers * of_a_layer + of_all


def hisparse_notes(layout: SglangRows, hisparse: HiSparse, load: Load) -> Iterator[Note]:
    """Its host memory for such a load, and what is not counted."""
    (stage,) = layout.stages
    of_a_token = hisparse.host_to_device_ratio * latents_row(layout, stage)
    tokens, ratio = hisparse.tokens(load.alike, layout.settings.page_size), hisparse.host_to_device_ratio
    host, ranks = host_pool_bytes(layout, hisparse, stage, tokens), layout.setup.deployment.tp
    yield note(
        "hisparse-host-pool",
        f"HiSparse keeps the latents of {load.sequences:,} x {load.context:,} tokens in at least "
        f"{format_size(host, 'GiB')} GiB of host memory for each GPU, {format_size(host * ranks, 'GiB')} GiB a "
        f"replica: {ratio} tokens for each of the {tokens:,} that the GPU's pool needs, and a page. A server takes as "
        f"much for all tokens of its pool: {of_a_token:,} bytes of each that it prints, for each GPU",
        bytes=host,
        replica_bytes=host * ranks,
        tokens=tokens,
        bytes_per_token=of_a_token,
        host_to_device_ratio=ratio,
    )
    each = buffer_bytes(layout, hisparse)
    slots = layout.settings.max_running_requests
    known = (
        f"{format_size(each * (slots + 1), 'GiB')} GiB for {slots:,} that may run"
        if slots is not None
        else "of 2,048 to 4,096 that may run; --engine-option max-running-requests=N makes it less"
    )
    yield note(
        "hisparse-buffers",
        f"HiSparse's tables take {format_size(each, 'MiB')} MiB on each GPU of a request, {known} ({COORDINATOR}); "
        "they lie in what mem-fraction-static leaves free, and are not counted",
        bytes_per_request=each,
        max_running_requests=slots,
    )
