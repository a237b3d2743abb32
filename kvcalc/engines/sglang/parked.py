"""What SGLang keeps of a sequence in host memory (--enable-hierarchical-cache --hicache-size).

Every rank has a pool of so many gigabytes of its own, in the pages of its pool on the accelerator, and one page beside
them. Of a sequence it has whole pages alone; latents, which all ranks of tensor parallelism have, it keeps as often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.parked import Parked
from kvcalc.mechanisms import MLA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.engines.sglang.pools import Widths
    from kvcalc.engines.sglang.rows import SglangRows

SINCE = (0, 5, 16)
"""Before, a pool that is no larger than that on the accelerator was refused."""
GIGABYTE = 10**9
"""What --hicache-size counts in, whole."""
SOURCE = "sglang/srt/mem_cache/pool_host/base.py, HostKVCache"


def parked(layout: SglangRows, widths: Sequence[Widths], tokens: int) -> Parked | None:
    """A sequence of so many tokens; None where it is not known how: windows, states, indexers, drafts, dcp."""
    setup, settings = layout.setup, layout.settings
    stages = layout.stages
    others = any(each.window or each.state or not each.full for each in widths)
    kinds = setup.model.layout.kinds
    indexed = any(isinstance(each.attention, MLA) and each.attention.index_head_dim for each in kinds)
    odd = setup.draft is not None or indexed or any(layout.extras(stage) for stage in stages)
    if settings.version < SINCE or settings.disable_radix_cache or setup.deployment.dcp > 1 or others or odd:
        return None
    page, pages = settings.page_size, tokens // settings.page_size
    widest = int(max(each.full for each in widths))  # sync_fixed_hicache_size: all stages have as many tokens
    moved = pages * page * widest
    pools = setup.deployment.tp * sum(stage.times for stage in stages)
    return Parked(page * widest, pages, moved, SOURCE, pools=pools, step=GIGABYTE, spare=1, on_disk=False)
