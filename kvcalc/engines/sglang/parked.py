"""What SGLang keeps of a sequence in host memory (--enable-hierarchical-cache --hicache-size).

Every rank has a pool of so many gigabytes of its own, in the pages of its pool on the accelerator, and one page beside
them. Of a sequence it has whole pages alone; latents, which all ranks of tensor parallelism have, it keeps as often.
The keys of indexers lie in a pool with as many pages beside the one that --hicache-size sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.parked import Parked
from kvcalc.engines.sglang.compressed import compresses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.engines.sglang.pools import Widths
    from kvcalc.engines.sglang.rows import SglangRows

SINCE = (0, 5, 16)
"""Before, a pool that is no larger than that on the accelerator was refused."""
OF_INDEXERS = (0, 5, 23)
"""The first that was read (pool_host/dsa.py, DSAIndexerPoolHost)."""
GIGABYTE = 10**9
"""What --hicache-size counts in, whole."""
SOURCE = "sglang/srt/mem_cache/pool_host/base.py, HostKVCache"


def parked(layout: SglangRows, widths: Sequence[Widths], tokens: int) -> Parked | str:
    """A sequence of so many tokens, or why it is not known how."""
    why = next(_why_not(layout, widths), None)
    if why is not None:
        return why
    setup, page = layout.setup, layout.settings.page_size
    pages = tokens // page
    every, index = max(_widths(layout, widths))  # sync_fixed_hicache_size: all stages have as many tokens as the widest
    return Parked(
        page * (every - index),
        pages,
        pages * page * every,
        SOURCE,
        pools=setup.deployment.tp * sum(stage.times for stage in layout.stages),
        step=GIGABYTE,
        spare=1,
        beside=page * index,
        on_disk=False,
    )


def _widths(layout: SglangRows, widths: Sequence[Widths]) -> set[tuple[int, int]]:
    """Bytes of a token on a rank of each stage, and of its index keys among them."""
    return {(int(each.full), layout.index_row(stage)) for each, stage in zip(widths, layout.stages, strict=True)}


def _why_not(layout: SglangRows, widths: Sequence[Widths]) -> Iterator[str]:
    setup, settings, each = layout.setup, layout.settings, _widths(layout, widths)
    if settings.version < SINCE:
        yield "a pool of --hicache-size is followed from sglang 0.5.16"
    if settings.disable_radix_cache:
        yield "with disable-radix-cache nothing is kept of a sequence that ends"
    yield from _of_several_pools(layout, widths)
    if setup.draft is not None:
        yield "HiCache keeps the cache of what drafts by rules of its own"
    if setup.deployment.dcp > 1:
        yield "HiCache over --dcp is not followed"
    if any(index for _, index in each):
        yield from _of_indexers(layout, stages_alike=len(each) == 1)
    if any(layout.extras(stage) for stage in layout.stages) or not all(full for full, _ in each):
        yield "HiCache's rows of layers that share a cache are not followed"


def _of_several_pools(layout: SglangRows, widths: Sequence[Widths]) -> Iterator[str]:
    """Between which the size is shared out (hybrid_pool_assembler.py, _split_hicache_size)."""
    shared = "HiCache shares --hicache-size out by the pools that the server finds room for"
    if compresses(layout.setup.model):
        yield shared
    if any(each.window for each in widths):
        yield f"{shared}, and keeps of windows what its tree of prefixes is cut into"
    if any(each.state for each in widths):
        yield f"{shared}, and as many states of a sequence as its tree of prefixes has nodes"


def _of_indexers(layout: SglangRows, *, stages_alike: bool) -> Iterator[str]:
    if layout.settings.version < OF_INDEXERS:
        yield "HiCache's pool of index keys is followed from sglang 0.5.23"
    if not stages_alike:
        yield "HiCache's pools of index keys over unlike pipeline stages are not followed"
    if any(getattr(each.attention, "index_kpool", None) for each in layout.setup.model.layout.kinds):
        yield "HiCache's rows of pooled index keys are not followed"
