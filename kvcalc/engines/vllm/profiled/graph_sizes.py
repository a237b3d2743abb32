"""The batch sizes that CUDA graphs are captured for: _set_cudagraph_sizes of vllm/config/vllm.py, from 0.11.1 on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.vllm.options import INTERACTIVITY

if TYPE_CHECKING:
    from kvcalc.engines.vllm.settings import Settings

DRAFTS_COUNT = (0, 13)
"""The ceiling is of all tokens that a step decodes, drafted ones too; not in 0.12."""
BATCH_IS_A_SIZE = (0, 20)
"""max_num_batched_tokens itself is a size where it lies below the ceiling; not in 0.19."""
BLACKWELL_CAPTURES_MORE = (0, 28)
"""The ceiling is 1,024 on the compute capability family 100; not in 0.27.1."""
DECODES_ARE_SIZES = (0, 29)
"""Steps that decode whole sequences with their drafted tokens are sizes too; not in 0.28."""
SEQUENCES_ARE_A_SIZE = (0, 31)
"""max_num_seqs itself is a size where nothing is drafted; not in 0.30."""
CEILING, BLACKWELL_CEILING = 512, 1024
INTERACTIVE = 32
"""Up to which every size is captured with performance_mode interactivity."""
FAMILY_100 = 10
"""The major compute capability of the family 100."""


def capture_sizes(settings: Settings, capability: tuple[int, int] | None) -> int:
    """How many sizes there are.

    Args:
        settings: what the server runs with.
        capability: compute capability of the card; None: not known.
    """
    version, sequences, batch = settings.version, settings.max_num_seqs, settings.max_num_batched_tokens
    blackwell = version >= BLACKWELL_CAPTURES_MORE and capability is not None and capability[0] == FAMILY_100
    ceiling = BLACKWELL_CEILING if blackwell else CEILING
    each = 1 + settings.num_speculative_tokens if version >= DRAFTS_COUNT else 1
    most = min(2 * sequences * each, ceiling)
    decoding: set[int] = set()
    if each > 1 and version >= DECODES_ARE_SIZES:
        counted = min(sequences, ceiling)
        decoding = {count * each for count in (*_grid(counted), counted)}
    elif each == 1 and version >= SEQUENCES_ARE_A_SIZE:
        decoding = {sequences}
    small = range(1, min(most, batch, INTERACTIVE) + 1) if settings.performance_mode == INTERACTIVITY else ()
    sizes = {*_grid(min(most, batch)), *small, *(size for size in decoding if size <= min(most, batch))}
    if batch <= most and version >= BATCH_IS_A_SIZE:
        sizes.add(batch)
    return len(sizes)


def _grid(most: int) -> list[int]:
    """1, 2, 4, each 8 up to 256, then each 16."""
    return [size for size in (1, 2, 4, *range(8, 256, 8), *range(256, most + 1, 16)) if size <= most]
