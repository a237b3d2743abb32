"""What vLLM keeps of a sequence in host memory (--kv-offloading-size, backend native).

Whole blocks alone are kept, each as large as on the accelerator whatever it is of: of full attention those of all
tokens, of windows and chunks those that attention reaches back to. A block has a part of every rank, one after another,
and is rounded up to pages of the host; where all ranks would keep the same latents, one copy is enough. Ranks of
pipeline stages have parts likewise, each as large as the scheduler's, so that stages must have as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.parked import Parked
from kvcalc.engines.vllm.cache.span_specs import ChunkedLocal, SlidingWindow
from kvcalc.engines.vllm.cache.specs import FullAttention
from kvcalc.engines.vllm.lmcache import parked_in_lmcache
from kvcalc.engines.vllm.options import LMCACHE
from kvcalc.mechanisms import MLA

if TYPE_CHECKING:
    from kvcalc.engines.vllm.cache.groups import Group
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.engines.vllm.layout import VllmLayout

SINCE: Version = (0, 23)
"""The first version that was read which rounds blocks to pages of the host."""
ONE_COPY: Version = (0, 27)
"""The first that was read which keeps one copy of latents (replicated_layout)."""
OVER_STAGES: Version = (0, 29)
"""The first that was read whose blocks have a part of every rank of every stage (world_size)."""
HOST_PAGE = 4096
"""mmap.PAGESIZE on x86."""
SOURCE = "vllm/v1/kv_offload/cpu/spec.py, CPUOffloadingSpec"


def parked(layout: VllmLayout, tokens: int) -> Parked | None:
    """A sequence of so many tokens; None where it is not known how: before 0.23, with states, over unlike stages."""
    if layout.settings.kv_offloading_backend == LMCACHE:
        return parked_in_lmcache(layout, tokens)
    setup = layout.setup
    deployment, version = setup.deployment, layout.settings.version
    each = [layout.blocks_of(stage) for stage in layout.stages]
    alike = len({(blocks.bytes, *(group.width for group in blocks.groups)) for blocks in each}) == 1
    if version < SINCE or (deployment.pp > 1 and not (alike and version >= OVER_STAGES)):
        return None
    kept = [_blocks(group, tokens, deployment.dcp) for group in layout.groups]
    if None in kept:
        return None
    chunks = [each for each in kept if each is not None]
    blocks = each[0]
    latents = all(isinstance(layer.attention, MLA) for layer in setup.model.layout.kinds)
    one_copy = version >= ONE_COPY and latents and deployment.dcp == 1 == deployment.pp
    block = blocks.bytes * (1 if one_copy else deployment.ranks)
    moved = sum(number * group.width for number, group in zip(chunks, blocks.groups, strict=True))
    return Parked(-(-block // HOST_PAGE) * HOST_PAGE, sum(chunks), moved, SOURCE)


def _blocks(group: Group, tokens: int, dcp: int) -> int | None:
    """Of a group; None where it is not known (get_sliding_window_size_in_chunks)."""
    spec = group.specs[0]
    if isinstance(spec, FullAttention):
        return tokens // (spec.block_size * dcp)
    if isinstance(spec, SlidingWindow | ChunkedLocal):
        reach = spec.window if isinstance(spec, SlidingWindow) else spec.chunk
        return min(tokens // spec.block_size, -(-reach // spec.block_size))
    return None
