"""Parameters of compressed attention, and of the residual streams around its layers.

Source: transformers 5.24.0, models/deepseek_v4/modeling_deepseek_v4.py; DeepSeek-V4.1-Flash, inference/model.py.
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
    if "compress_ratio" in sizes and "shared_entries" not in sizes:
        total += _gated(hidden, width, sizes) if "index_of_entries" in sizes else _compressor(hidden, width, sizes)
    if "index_head_dim" in sizes:
        queries, keys = sizes["index_n_heads"], sizes["index_head_dim"]
        total += latent * queries * keys + hidden * queries
        if "index_of_entries" in sizes:
            total += width * keys + keys
        elif "shared_entries" not in sizes:
            total += _compressor(hidden, keys, sizes)
    return total


def _gated(hidden: int, width: int, sizes: dict[str, int]) -> int:
    """Vectors of a token and a norm, and a gate where several tokens are pooled."""
    return hidden * width * (1 if sizes["compress_ratio"] == 1 else 2) + width


def _compressor(hidden: int, width: int, sizes: dict[str, int]) -> int:
    """Vectors and scores of a token, a bias of the scores at each place, and a norm."""
    vectors = (2 if sizes.get("overlap") else 1) * width
    return 2 * hidden * vectors + sizes["compress_ratio"] * vectors + width


def hyper_connections(config: Config, layers: int) -> int:
    """Of hc_mult residual streams: what mixes them before attention and before the experts, and at the end."""
    streams, hidden = config.count("hc_mult").value, config.count(*HIDDEN).value
    return averaged_connections(config, layers) + int(streams * streams * hidden + streams + 1)


def averaged_connections(config: Config, layers: int) -> int:
    """The same of streams whose mean is what the last layer gives (glm5_next), as of DeepSeek-V4.1."""
    streams, hidden = config.count("hc_mult").value, config.count(*HIDDEN).value
    mixed = (streams + 2) * streams
    return int(2 * layers * (mixed * streams * hidden + mixed + 3))


def streams_and_ngrams(config: Config, _: Anatomy, layers: Sequence[ImportedLayer]) -> int:
    """Of DeepSeek-V4.1: what mixes residual streams, and tables of n-grams with what puts their rows into the streams.

    A token looks up a row of each of engram_n_heads heads for n-grams of 2 to engram_max_ngram_size tokens.

    Raises:
        KvcalcError: not a table for each place.
    """
    streams, hidden = config.count("hc_mult").value, config.count(*HIDDEN).value
    rows = config.count("engram_n_heads").value * (config.count("engram_max_ngram_size").value - 1)
    width = rows * config.count("engram_head_dim").value
    joined = width * hidden * (streams + 1) + 2 * streams * hidden
    places, tables = (len(config.numbers(f"engram_{each}")) for each in ("layer_ids", "num_embeddings"))
    if places != tables:
        raise config.refusal(f"engram_layer_ids has {places} layers, and engram_num_embeddings {tables} tables")
    return averaged_connections(config, len(layers)) + ngram_tables(config) + int(places * joined)


def ngram_tables(config: Config) -> int:
    """The tables' rows, of which a token reads a few."""
    return int(sum(config.numbers("engram_num_embeddings")) * config.count("engram_head_dim").value)
