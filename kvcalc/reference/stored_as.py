"""How published implementations store what a layer keeps, where nobody asks for another element format.

A declaration is a packing, in torch's dtypes, with the code that it was read from; nothing here knows what kvcalc's
formulas take for granted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from kvcalc.reference.packing import Packing
from kvcalc.reference.packing.entries import EntriesOf512
from kvcalc.reference.packing.plain import Plain
from kvcalc.reference.packing.scaled import ByteBlocks

if TYPE_CHECKING:
    from collections.abc import Callable


class StoredAs(NamedTuple):
    """How one tensor is stored.

    Attributes:
        source: whose code stores it so.
        packing: None: as the layer computes it, in the model's dtype.
    """

    source: str
    packing: Callable[[], Packing] | None = None

    def pack(self, computed_in: torch.dtype) -> Packing:
        """A fresh packing, of a model that computes in this dtype."""
        return Plain(computed_in) if self.packing is None else self.packing()


KEYS_AND_VALUES = StoredAs("transformers, cache_utils.py, DynamicLayer")
INPUTS = StoredAs("transformers, cache_utils.py, LinearAttentionLayer.update_conv_state")
LATENT = StoredAs("DeepSeek-V3, inference/model.py, class MLA: kv_cache, pe_cache")
COMPRESSED = StoredAs(
    "transformers 5.24, models/deepseek_v4/modeling_deepseek_v4.py, DeepseekV4HCACache: keys, compressed_kv"
)
INDEX_KEYS = StoredAs(
    "DeepSeek-V3.2-Exp, inference/model.py, class Indexer: k_cache, k_scale_cache",
    partial(ByteBlocks, torch.float8_e4m3fn, torch.float32, 128),
)
BF16_INDEX_KEYS = StoredAs(
    "vLLM 0.33.0, vllm/models/minimax_m3/common/indexer.py, MiniMaxM3IndexerCache: indexer_kv_dtype bf16",
    partial(Plain, torch.bfloat16),
)
INDEX_TAIL = StoredAs(
    "vLLM 0.33.0, vllm/models/glm5next/common/attention.py, Glm5NextTailCache: bf16",
    partial(Plain, torch.bfloat16),
)
_FLASH_MLA = "FlashMLA, README.md, FP8 KV Cache"
FP8_DS_MLA = {
    "c_kv": StoredAs(_FLASH_MLA, partial(ByteBlocks, torch.float8_e4m3fn, torch.float32, 128)),
    "k_rope": StoredAs(_FLASH_MLA, partial(Plain, torch.bfloat16)),
}
"""The layout of that name: 512 e4m3 values, 4 fp32 scales and 64 bf16 values, 656 bytes."""
FP8_DS_V4 = dict.fromkeys(
    ("kv", "compressed_kv"), StoredAs("vLLM 0.33.0, vllm/models/deepseek_v4/compressor.py", EntriesOf512)
)
"""What that layout is for entries of 448 + 64 elements: 584 bytes."""


def state_in_fp32(source: str) -> StoredAs:
    """What a recurrence carries."""
    return StoredAs(source, partial(Plain, torch.float32))
