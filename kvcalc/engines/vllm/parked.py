"""What vLLM keeps of a sequence in host memory (--kv-offloading-size, backend native).

Whole blocks alone are kept, each as large as on the accelerator whatever it is of: of full attention those of all
tokens, of windows and chunks those that attention reaches back to, of states the last. A block has a part of every
rank, one after another, and is rounded up to pages of the host; where all ranks would keep the same latents, one copy
is enough. Ranks of pipeline stages have parts likewise, each as large as the scheduler's, so that stages must have as
much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.parked import Parked
from kvcalc.engines.vllm.cache.span_specs import ChunkedLocal, SlidingWindow
from kvcalc.engines.vllm.cache.specs import FullAttention
from kvcalc.engines.vllm.cache.state_spec import State
from kvcalc.engines.vllm.lmcache import parked_in_lmcache
from kvcalc.engines.vllm.options import LMCACHE
from kvcalc.mechanisms import MLA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.vllm.cache.groups import Group
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.engines.vllm.layout import VllmLayout

SINCE: Version = (0, 23)
"""The first version that was read which rounds blocks to pages of the host."""
ONE_COPY: Version = (0, 27)
"""The first that was read which keeps one copy of latents (replicated_layout)."""
OF_STATES: Version = (0, 29)
"""The first that was read which keeps the last state alone (get_sliding_window_size_in_chunks, MambaSpec)."""
OVER_STAGES: Version = (0, 29)
"""The first that was read whose blocks have a part of every rank of every stage (world_size)."""
READ_AGAIN: Version = (0, 31)
"""The first that keeps what several drafting layers read again before a window: not in 0.30, there in 0.31."""
HOST_PAGE = 4096
"""mmap.PAGESIZE on x86."""
SOURCE = "vllm/v1/kv_offload/cpu/spec.py, CPUOffloadingSpec"


def parked(layout: VllmLayout, tokens: int) -> Parked | str:
    """A sequence of so many tokens, or why it is not known how."""
    if layout.settings.kv_offloading_backend == LMCACHE:
        return parked_in_lmcache(layout, tokens)
    setup = layout.setup
    deployment, version = setup.deployment, layout.settings.version
    each = [layout.blocks_of(stage) for stage in layout.stages]
    alike = len({(blocks.bytes, *(group.width for group in blocks.groups)) for blocks in each}) == 1
    why = next(_why_not(layout, alike=alike), None)
    if why is not None:
        return why
    chunks = [_blocks(group, tokens, deployment.dcp, version) for group in layout.groups]
    blocks = each[0]
    latents = all(isinstance(layer.attention, MLA) for layer in setup.model.layout.kinds)
    one_copy = version >= ONE_COPY and latents and deployment.dcp == 1 == deployment.pp
    block = blocks.bytes * (1 if one_copy else deployment.ranks)
    moved = sum(number * group.width for number, group in zip(chunks, blocks.groups, strict=True))
    return Parked(-(-block // HOST_PAGE) * HOST_PAGE, sum(chunks), moved, SOURCE)


def _why_not(layout: VllmLayout, *, alike: bool) -> Iterator[str]:
    deployment, version = layout.setup.deployment, layout.settings.version
    specs = {spec for group in layout.groups for spec in group.specs}
    if version < SINCE:
        yield "its offloading is followed from vllm 0.23"
    if deployment.pp > 1 and version < OVER_STAGES:
        yield "its offloading over pipeline stages is followed from vllm 0.29"
    if deployment.pp > 1 and not alike:
        yield "its pipeline stages have blocks of different sizes"
    if any(isinstance(spec, State) for spec in specs):
        if version < OF_STATES:
            yield "its offloading of states is followed from vllm 0.29"
        if not layout.settings.enable_prefix_caching:
            yield "states are offloaded with --enable-prefix-caching alone"
    known = FullAttention | SlidingWindow | ChunkedLocal | State
    if unknown := {spec.family for spec in specs if not isinstance(spec, known)}:
        yield f"what it offloads of {min(unknown)} is not followed"


def _blocks(group: Group, tokens: int, dcp: int, version: Version) -> int:
    """Of a group (get_sliding_window_size_in_chunks)."""
    match spec := group.specs[0]:
        case SlidingWindow():
            again = spec.window - 1 + spec.retained if version >= READ_AGAIN else 0
            needed = -(-max(spec.window, again) // spec.block_size)
        case ChunkedLocal():
            needed = -(-spec.chunk // spec.block_size)
        case State():
            needed = 1
        case _:
            return tokens // (spec.block_size * dcp)
    return min(tokens // spec.block_size, needed)
