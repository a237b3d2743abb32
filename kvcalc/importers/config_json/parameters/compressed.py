"""Parameters of compressed attention, and of the residual streams around its layers.

Source: transformers 5.24.0, models/deepseek_v4/modeling_deepseek_v4.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.importers.config import Config
    from kvcalc.importers.config_json.parameters.anatomy import Anatomy
    from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer


def compressed(config: Config, block: AttentionBlock) -> int:
    """Queries through a latent, one entry, an output through groups of low rank, sinks, compressors, an indexer."""
    sizes, hidden = block.sizes, config.count(*HIDDEN).value
    heads, width, latent = sizes["num_heads"], sizes["head_dim"], sizes["q_lora_rank"]
    total: int = hidden * latent + latent + latent * heads * width + hidden * width + width + heads
    outputs = config.count("o_groups").value * config.count("o_lora_rank").value
    total += outputs * heads * width // config.count("o_groups").value + hidden * outputs
    if "compress_ratio" in sizes:
        total += _compressor(hidden, width, sizes)
    if "index_head_dim" in sizes:
        queries = sizes["index_n_heads"]
        total += _compressor(hidden, sizes["index_head_dim"], sizes)
        total += latent * queries * sizes["index_head_dim"] + hidden * queries
    return total


def _compressor(hidden: int, width: int, sizes: dict[str, int]) -> int:
    """Vectors and scores of a token, a bias of the scores at each place, and a norm."""
    vectors = (2 if sizes.get("overlap") else 1) * width
    return 2 * hidden * vectors + sizes["compress_ratio"] * vectors + width


def hyper_connections(config: Config, _: Anatomy, layers: Sequence[ImportedLayer]) -> int:
    """Of hc_mult residual streams: what mixes them before attention and before the experts, and at the end."""
    streams, hidden = config.count("hc_mult").value, config.count(*HIDDEN).value
    mixed = (streams + 2) * streams
    each = mixed * streams * hidden + mixed + 3
    return int(2 * len(layers) * each + streams * streams * hidden + streams + 1)
