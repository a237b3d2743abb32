"""Latents of which an indexer chooses what a token reads (DeepSeek-V3.2, GLM-5): where such a layer holds most.

llama.cpp scores every cell, adds the mask, takes the best, and makes a second mask of them (src/models/deepseek32.cpp,
glm-dsa.cpp, with ggml_lightning_indexer): 8 bytes for each token of a micro-batch and each cell, where other attention
has a mask of 2. Logs of GLM-5.2 with micro-batches of 512 printed 2,292.07 MiB for 524,288 cells and 3,744.07 for
896,000 (stored files 61313070182 and 60797658313), as graphs of b11549 have it: 2,292.08 and 3,744.08.

Found by varying one dim after another in graphs of b11549: 16 to 128 heads, latents of 256 and 512, a hidden_size of
3,072 to 12,288, 512 to 2,048 cells chosen, 4,096 to 524,288 cells.
"""

from __future__ import annotations

from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.mechanisms import MLA

if TYPE_CHECKING:
    from kvcalc.mechanisms import Mechanism

BYTES_OF_A_CELL = MappingProxyType({True: 8, False: 16})
"""Both masks, which are inputs, and scores in f32, for each token: with flash attention (masks in f16), and without."""
_MORE = Fraction(1, 4)
"""What is held beyond that at most, of drawn shapes of 1,024 to 7,168 wide: queries of an indexer where the context is
short, and copies of a latent that is kept in another type than f16."""
_OF_CHOSEN = 4
"""Numbers of each cell that is chosen: its place while it is sorted and after, and what the second mask takes."""


def is_chosen(attention: Mechanism, *, pools_keys: bool) -> bool:
    """Whether an indexer of this layer, or of one before it, chooses cells; one that pools its keys is in pooled.py."""
    return isinstance(attention, MLA) and attention.index_topk is not None and not pools_keys


def floats_of_chosen(attention: MLA, hidden: int, cells: int) -> int:
    """Numbers of f32 for each token of a micro-batch, without masks and scores."""
    queries = attention.num_heads * attention.qk_nope_head_dim
    kept = 5 if queries >= 2 * hidden else 4
    row = attention.kv_lora_rank + attention.qk_rope_head_dim
    chosen = min(attention.index_topk or cells, cells)
    return kept * hidden + queries + 2 * attention.num_heads * row + _OF_CHOSEN * chosen


def perhaps_more(size: int) -> int:
    """Bytes that may be held beside what is counted."""
    return int(size * _MORE)
