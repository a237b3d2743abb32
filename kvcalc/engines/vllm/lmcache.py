"""What LMCache's server keeps of a sequence of vLLM (--kv-offloading-backend lmcache), which is a process of its own.

The size is the server's (`lmcache server --l1-size-gb`). It keeps whole chunks of 256 tokens alone: an object of each
rank for each chunk, rounded up to pages, and of latents one for all tensor-parallel ranks. Once four fifths are in use
it evicts a fifth of its objects, so that less than four fifths stay.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.engines.parked import Parked
from kvcalc.engines.vllm.cache.specs import FullAttention
from kvcalc.mechanisms import MLA

if TYPE_CHECKING:
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.engines.vllm.layout import VllmLayout

SINCE: Version = (0, 23)
"""vllm/config/vllm.py, _post_init_kv_transfer_config: LMCacheMPConnector, whose server has the size; before, a part of
--kv-offloading-size in each worker, by the rules of an LMCache that is not told."""
CHUNK = 256
"""Tokens: lmcache 0.5.6, lmcache/v1/multiprocess/config.py, chunk_size; a multiple of vLLM's block."""
PAGE = 4096
"""lmcache/v1/distributed/config.py, align_bytes."""
WATERMARK = Fraction(4, 5)
"""trigger_watermark there (storage_controllers/eviction_controller.py, eviction_loop)."""
SOURCE = "lmcache 0.5.6, lmcache/v1/distributed; vllm/distributed/kv_transfer/kv_connector/v1/lmcache_mp_connector.py"


def parked_in_lmcache(layout: VllmLayout, tokens: int) -> Parked | str:
    """A sequence of so many tokens, or why it is not known how."""
    setup = layout.setup
    specs = {spec for group in layout.groups for spec in group.specs}
    if layout.settings.version < SINCE:
        return (
            "before vllm 0.23 each worker has an LMCache of its own with a share of --kv-offloading-size, whose rules "
            "are those of the LMCache that is installed"
        )
    if setup.deployment.dcp > 1 or setup.draft is not None:
        return "LMCache with --dcp, or with what drafts, is not followed"
    spec, *others = specs
    if others or not isinstance(spec, FullAttention):
        return "of LMCache, layers that are all of full attention are followed alone"
    if CHUNK % spec.block_size:
        return f"LMCache's chunks of {CHUNK} tokens are no whole number of blocks of {spec.block_size}"
    each = [(stage.times, layout.blocks_of(stage).bytes * (CHUNK // spec.block_size)) for stage in layout.stages]
    copies = 1 if _are_latents(layout) else setup.deployment.tp  # extract_world_size_and_kv_rank
    objects = sum(copies * times * -(-size // PAGE) * PAGE for times, size in each)
    chunks = tokens // CHUNK
    return Parked(objects, chunks, chunks * max(size for _, size in each), SOURCE, share=WATERMARK, on_disk=False)


def _are_latents(layout: VllmLayout) -> bool:
    return all(isinstance(layer.attention, MLA) for layer in layout.setup.model.layout.kinds)
